"""The files of a source, and their formats: paths, patterns and folders."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trivec.errors import InvalidOptionError, TrivecError
from trivec.ingestion.sources.lines import Text
from trivec.ingestion.sources.opening import STDIN, OpenFile, plain_suffix
from trivec.ingestion.sources.texts import HTML_SUFFIXES, TEXT_SUFFIXES

FORMATS = ("jsonl", "json", "csv", "tsv", "parquet", "text", "folder")
TABLES = ("csv", "tsv")
HIDDEN = "hidden"
REJECTS_SUFFIX = ".rejects.jsonl"
"""The end of the names of files of rejects, which patterns and folders leave out."""

SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    **dict.fromkeys((*TEXT_SUFFIXES, *HTML_SUFFIXES), "text"),
}
"""The format by the suffix of a file's name."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file, or a folder, as it was given or as it was found below a folder.

    Args:
        path: The file.
        format: One of `FORMATS`.
        size: Its bytes; 0 for a pipe, standard input or a folder.
        folder: The folder or pattern's folder that it was found in, if any.
    """

    path: str
    format: str
    size: int = 0
    folder: str = ""

    @property
    def name(self) -> str:
        """The name in ids: the path below the folder, otherwise its last part."""
        if self.path == STDIN:
            return "stdin"
        if self.folder:
            return Path(self.path).relative_to(self.folder).as_posix()
        return Path(self.path).name

    @property
    def place(self) -> str:
        """The file in the positions of rejects; the folder of a text file, which has one row."""
        return self.folder if self.folder and self.format == "text" else self.path

    @property
    def is_stream(self) -> bool:
        """Whether it can be read only once."""
        return self.path == STDIN or Path(self.path).is_fifo()


@dataclass(slots=True)
class Listing:
    """What was found below the folders of a source.

    Attributes:
        files (list[SourceFile]): The files to read, in the order of their names in each folder.
        passed_over (Counter[str]): The number of other files by kind, such as "*.pdf".
        unlisted (list[tuple[str, OSError]]): The folders that could not be listed.
        texts_left (bool): Whether text files are among the others, since data was found.
    """

    files: list[SourceFile] = field(default_factory=list[SourceFile])
    passed_over: Counter[str] = field(default_factory=Counter[str])
    unlisted: list[tuple[str, OSError]] = field(default_factory=list[tuple[str, OSError]])
    texts_left: bool = False


def given_files(paths: Sequence[str], format: str | None) -> list[SourceFile]:
    """Return the files and folders that paths and patterns name, in the order of the paths.

    Args:
        paths: Paths, patterns such as `corpus/*.parquet` or `corpus/**/*.txt`, or "-".
        format: The format that was given, or None.

    Raises:
        InvalidOptionError: If a path does not exist, or its format is not clear.
    """
    if format not in (None, *FORMATS):
        raise InvalidOptionError(f"format={format!r}; expected one of {', '.join(FORMATS)}")
    if not paths:
        raise InvalidOptionError("there is no path to read")
    return [file for path in paths for file in _named(path, format)]


def listed_files(
    given: Sequence[SourceFile], format: str | None, *, rows_named: bool = False
) -> Listing:
    """Return the files of a source with those below its folders.

    Of a folder, the files of documents are read, such as Parquet and JSON Lines; if it has none,
    the text files are. The format "folder" takes the text files, and another format its files.

    Args:
        given: The result of `given_files`.
        format: The format that was given, or None.
        rows_named: Whether rows have ids with the names of files.

    Raises:
        InvalidOptionError: If a file is given twice, or two files have one name in ids.
    """
    listing = Listing()
    for file in given:
        if file.format == "folder":
            _add_folder(file.path, format, listing)
        else:
            listing.files.append(file)
    _check_distinct(listing.files, rows_named=rows_named)
    return listing


def _named(path: str, format: str | None) -> Iterator[SourceFile]:
    if path == STDIN:
        if format in ("parquet", "folder", "text"):
            raise InvalidOptionError(f"standard input cannot be read as {format}")
        yield SourceFile(STDIN, format or "jsonl")
    elif Path(path).exists() or not glob.has_magic(path):
        yield _file(path, format)
    else:
        matches = sorted(
            match for match in glob.glob(path, recursive=True) if not match.endswith(REJECTS_SUFFIX)
        )
        if not matches:
            raise InvalidOptionError(f"no file matches {path!r}")
        parts = Path(path).parts
        fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
        folder = str(Path(*parts[:fixed]))
        is_deep = "**" in parts  # which matches the folders between too
        for match in matches:
            if not is_deep or not Path(match).is_dir():
                yield _file(match, format, folder=folder)


def _file(path: str, format: str | None, *, folder: str = "") -> SourceFile:
    """Return a file that exists with its format, or raise `InvalidOptionError`."""
    if not Path(path).exists():
        raise InvalidOptionError(f"there is no file {path!r}")
    if Path(path).is_dir():
        return SourceFile(path, "folder")
    if format == "folder":
        raise InvalidOptionError(f"{path!r} is not a folder")
    format = format or SUFFIXES.get(plain_suffix(path)) or _format_inside(path)
    if format is None:
        raise InvalidOptionError(
            f"the format of {path!r} is not clear from its name; say which of "
            f"{', '.join(FORMATS)} it is (--format)"
        )
    return SourceFile(path, format, _size(path), folder)


def _size(path: str) -> int:
    return Path(path).stat().st_size if Path(path).is_file() else 0


def _format_inside(path: str) -> str | None:
    """Return the format of a file by its first bytes, if they are clear."""
    if not Path(path).is_file():
        return None
    try:
        with OpenFile(path) as file:
            if file.head.startswith(b"PAR1"):
                return "parquet"
            head = Text(file.stream, path).head
    except (OSError, EOFError, TrivecError):
        return None
    return "json" if head.lstrip()[:1] in ("{", "[") else None


# --- folders -----------------------------------------------------------------------------------


def _add_folder(folder: str, format: str | None, listing: Listing) -> None:
    """Add the files below a folder to a listing."""
    data: list[SourceFile] = []
    texts: list[SourceFile] = []
    others: Counter[str] = Counter()
    for path in _walk(folder, others, listing):
        if kind := _unread(path):
            others[kind] += 1
            continue
        suffix = plain_suffix(path)
        found = SUFFIXES.get(suffix) if suffix else _format_inside(path)
        if found is None:
            others[_kind(path)] += 1
        elif found == "text":
            texts.append(SourceFile(path, found, _size(path), folder))
        elif format in (None, found) or {format, found} == {"json", "jsonl"}:
            data.append(SourceFile(path, found, _size(path), folder))
        else:
            others[_kind(path)] += 1
    if format in ("folder", "text") or (format is None and not data):
        data, texts = texts, data
    else:
        listing.texts_left |= bool(texts)
    listing.files += data
    listing.passed_over += others + Counter(_kind(file.path) for file in texts)


def _walk(folder: str, others: Counter[str], listing: Listing) -> Iterator[str]:
    """Yield the files below a folder by name; those of a folder come before those below it."""

    def unlisted(error: OSError) -> None:
        listing.unlisted.append((folder, error))

    for parent, folders, names in os.walk(folder, onerror=unlisted):
        for name in folders:
            if name.startswith("."):
                others[HIDDEN] += 1
            elif Path(parent, name).is_symlink():  # os.walk does not follow links
                others["links to folders"] += 1
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (str(Path(parent, name)) for name in sorted(names))


def _unread(path: str) -> str:
    """Return the kind of a file that is never read, or ""."""
    file = Path(path)
    if file.name.startswith("."):
        return HIDDEN
    if file.name.endswith(REJECTS_SUFFIX):
        return f"*{REJECTS_SUFFIX}"
    if plain_suffix(path) in SUFFIXES and file.exists() and not file.is_file():
        return "pipes and devices"  # reading one might never end
    return ""


def _kind(path: str) -> str:
    suffix = Path(path).suffix.lower()
    return f"*{suffix}" if suffix else "without a suffix"


def _check_distinct(files: Sequence[SourceFile], *, rows_named: bool) -> None:
    """Raise `InvalidOptionError` if a file occurs twice, or two files have one name in ids."""
    if len({file.folder for file in files}) == 1 and files[0].place != files[0].path:
        return  # text below one folder, where two links may lead to one file
    seen: dict[object, str] = {}
    for file in files:
        try:
            status = None if file.path == STDIN else os.stat(file.path)
        except OSError:  # reading it says why
            continue
        key = STDIN if status is None else (status.st_dev, status.st_ino)
        if key in seen:
            raise InvalidOptionError(f"{file.path!r} is given twice, also as {seen[key]!r}")
        seen[key] = file.path
        if rows_named or file.format == "text":
            name = f"name {file.name}"
            if name in seen:
                raise InvalidOptionError(
                    f"{file.path!r} and {seen[name]!r} have the same name, of which ids are made; "
                    "give a folder that both are in"
                )
            seen[name] = file.path


# --- messages ----------------------------------------------------------------------------------


def passed_over(listing: Listing) -> str:
    """Return which files were not read, or ""; hidden ones are not worth a note."""
    kinds = {kind: n for kind, n in listing.passed_over.items() if kind != HIDDEN}
    if not kinds:
        return ""
    note = f"passed over: {_counted(kinds)}"
    if listing.texts_left:
        read = Counter(_kind(file.path) for file in listing.files)
        note = f"read: {_counted(read)}; {note}; format='folder' (--format folder) reads text files"
    return note


def reason_for_nothing(given: Sequence[SourceFile], listing: Listing) -> str:
    """Return why no row was read."""
    formats = {file.format for file in listing.files}
    if formats and formats <= set(TABLES):
        return "it holds no record under a header"
    if formats == {"parquet"}:
        return "it holds no row"
    if formats or not any(file.format == "folder" for file in given):
        return "it is empty"
    data = ", ".join(suffix for suffix, format in SUFFIXES.items() if format != "text")
    texts = ", ".join((*TEXT_SUFFIXES, *HTML_SUFFIXES))
    why = f"a folder gives its files of documents, {data}, or its text files, {texts}"
    if listing.passed_over:
        why += f"; passed over: {_counted(listing.passed_over)}"
    return why


def _counted(kinds: Mapping[str, int]) -> str:
    """Return the number of each kind as text, the most frequent first.

    >>> _counted({"*.pdf": 3, "hidden": 12})
    '12 hidden, 3 *.pdf'
    """
    most = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    texts = [f"{count} {kind}" for kind, count in most[:8]]
    if rest := sum(count for _, count in most[8:]):
        texts.append(f"{rest} others")
    return ", ".join(texts)
