"""The text files below a folder."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from trivec.ingestion.sources.records import Records, Row

TEXT_SUFFIXES = (".txt", ".md", ".rst", ".text")
HIDDEN = "hidden"


def read_folder(path: str, passed_over: Counter[str]) -> Records:
    """Return one row per text file below a folder, by name; count skipped files by their kinds."""
    return Records(None, _rows(path, passed_over))


def _rows(path: str, passed_over: Counter[str]) -> Iterator[Row]:
    unlisted: list[OSError] = []
    for folder, folders, names in os.walk(path, onerror=unlisted.append):
        for name in folders:
            if name.startswith("."):
                passed_over[HIDDEN] += 1
            elif Path(folder, name).is_symlink():  # os.walk does not follow links
                passed_over["links to folders"] += 1
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            file = Path(folder, name)
            if kind := _other_kind(file):
                passed_over[kind] += 1
                continue
            where = file.relative_to(path).as_posix()
            try:
                text = file.read_text(encoding="utf-8-sig")
                if "\0" in text:
                    raise ValueError("it holds NUL bytes, as does text in UTF-16")
                yield Row(where, {"id": where, "text": text}, where)
            except (ValueError, OSError) as error:
                yield Row(where, None, where, f"not text in UTF-8: {error}")
    for problem in unlisted:
        where = Path(problem.filename).relative_to(path).as_posix()
        yield Row(where, None, where, f"a folder that cannot be listed: {problem}")


def _other_kind(file: Path) -> str:
    """Return the kind of a file that is not a text file, or "" for a text file."""
    if file.name.startswith("."):
        return HIDDEN
    suffix = file.suffix.lower()
    if suffix not in TEXT_SUFFIXES:
        return f"*{suffix}" if suffix else "without a suffix"
    if file.exists() and not file.is_file():
        return "pipes and devices"  # reading one might never end
    return ""
