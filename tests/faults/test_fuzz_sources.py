"""Damaged files: an error of trivec comes out, or every record does, as a document or a reject.

The records of a damaged file are counted by other means than trivec's. TRIVEC_FUZZ_CASES says how
many cases there are in ten files of this one, TRIVEC_FUZZ_SEED which ones.
"""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import json
import logging
import lzma
import os
import re
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest
import zstandard
from pyarrow import parquet

from trivec import Document, Store, ingest, open_store
from trivec.errors import TrivecError
from trivec.ingestion.report import Rejected
from trivec.ingestion.sources import Source
from trivec.testing import HashEncoder

CASES = int(os.environ.get("TRIVEC_FUZZ_CASES", "10000")) // 10
SEED = os.environ.get("TRIVEC_FUZZ_SEED", "0")
FORMATS = ("jsonl", "json", "data", "csv", "semicolon", "tsv", "parquet", "txt", "md", "html")
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252", "latin-1")
TEXTS = ["whale", "", "Größe", 'a "b"', "a,b;c\td", "l1\nl2", "x" * 300, "it's", "\\", "{}", "[1]"]


def _unpacked_zstd(data: bytes) -> bytes:
    with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
        return bytes(reader.read())


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".zst": zstandard.compress,
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}
UNPACKED: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".zst": _unpacked_zstd,
    ".gz": gzip.decompress,
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
}


def _rows(rng: Random) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for number in range(rng.choice([1, 2, 7, 30])):
        row: dict[str, Any] = {"id": str(number), "text": rng.choice(TEXTS), "n": number}
        if rng.random() < 0.05:
            row["id"] = rng.choice(["", None, "0", 1.5])
        rows.append(row)
    return rows


def _written(rng: Random, format: str) -> str:
    """Return the rows as a text in a format."""
    rows = _rows(rng)
    if format == "jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if format in ("json", "data"):
        whole: Any = rows if format == "json" else {"page": 1, "data": rows}
        return json.dumps(whole, ensure_ascii=False, indent=rng.choice([None, 1]))
    if format == "tsv":
        cells = [[str(value).replace("\t", " ").replace("\n", " ") for value in row.values()]
                 for row in rows]  # fmt: skip
        return "\n".join(["id\ttext\tn", *map("\t".join, cells)]) + "\n"
    if format in ("csv", "semicolon"):
        file = io.StringIO()
        writer = csv.writer(file, delimiter="," if format == "csv" else ";")
        writer.writerows([["id", "text", "n"], *(row.values() for row in rows)])
        return file.getvalue()
    return " ".join(TEXTS)


def _damaged(rng: Random, data: bytes, other: bytes) -> bytes:
    """Return data that was cut off, hit by wrong bytes, or joined with other data."""
    damaged = bytearray(data)
    match rng.randrange(6):
        case 0:
            return bytes(data[: rng.randrange(len(data) + 1)])
        case 1:
            for _ in range(rng.randint(1, 8)):
                damaged[rng.randrange(len(data))] = rng.randrange(256)
        case 2:
            damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        case 3:
            position = rng.randrange(len(data) + 1)
            inserted = [b"\n", b'"', b"\t", b"\0", b"}", b"]", b",", b"\r", b"\xff", b"[", b"\n\n"]
            damaged[position:position] = rng.choice(inserted) * rng.choice([1, 1, 2, 5])
        case 4:
            position = rng.randrange(len(data) + 1)
            return bytes(data[:position] + other)
        case _:
            return data + other
    return bytes(damaged)


def _expected(format: str, data: bytes, suffix: str, encoding: str) -> int | None:
    """Count the records of a damaged file; None if nothing but trivec can."""
    try:
        plain = UNPACKED[suffix](data)
    except (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error, zstandard.ZstdError):
        return None
    if format == "parquet":
        try:
            return int(parquet.read_table(io.BytesIO(plain)).num_rows)
        except (pa.ArrowException, OSError, ValueError):
            return None
    if format in ("txt", "md", "html"):
        return 1
    text = codecs.decode(plain, encoding, "replace").removeprefix("\ufeff")
    first = text[: text.find("\n") + 1 or len(text)]
    end = "\r" if "\r" in first.removesuffix("\n").removesuffix("\r") else "\n"
    lines = [line for line in text.split(end) if line.strip()]
    if format in ("json", "data", "jsonl"):
        is_lines = format == "jsonl" and (not lines or _values(lines[0]) == 1)
        if is_lines:
            return len(lines)
        # An object on the first line with something after it is a line of JSON Lines, rejected.
        count = _values(text)
        return count if format == "json" or len(lines) != 1 or _is_json(text) else None
    if format == "tsv":
        return len([line for line in text.split(end) if line.strip("\r")]) - 1
    # The other sign is an ordinary character; Python's csv takes both for the end of a line.
    text = re.sub("\r(?!\n)", "_", text) if end == "\n" else text.replace("\n", "_")
    mark = "," if format == "csv" else ";"
    try:
        records = list(csv.reader(io.StringIO(text, newline=""), delimiter=mark))
    except csv.Error:
        return None
    return len([record for record in records if record]) - 1


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _values(text: str) -> int | None:
    """Return the records of JSON values one after the other; None if the text is something else."""
    count, position = 0, 0
    while position < len(text):
        if text[position] in " \t\r\n":
            position += 1
            continue
        try:
            value, position = json.JSONDecoder().raw_decode(text, position)
        except (ValueError, RecursionError):
            return None
        listed = value.get("data", value) if isinstance(value, dict) else value
        count += len(listed) if isinstance(listed, list) else 1
    return count


def _case(rng: Random, folder: Path) -> tuple[Path, dict[str, Any], int | None]:
    """Write a damaged file; return it with its options and the number of its records."""
    format = rng.choice(FORMATS)
    encoding = "utf-8" if rng.random() < 0.6 else rng.choice(ENCODINGS)
    suffix = "" if rng.random() < 0.5 else rng.choice(list(PACKED))
    if format == "parquet":
        encoding = suffix = ""
        files = list[bytes]()
        for _ in range(2):
            rows = _rows(rng)
            file = io.BytesIO()
            columns = {"id": [str(row["id"]) for row in rows], "text": [r["text"] for r in rows]}
            parquet.write_table(pa.table(columns), file)
            files.append(file.getvalue())
        data, other = files
    else:
        data, other = (_written(rng, format).encode(encoding, "replace") for _ in range(2))
        if format in ("txt", "md", "html"):
            suffix = ""
    before = rng.random() < 0.6  # damaged before it was compressed
    if before:
        data = PACKED[suffix](_damaged(rng, data, other))
    else:
        data = _damaged(rng, PACKED[suffix](data), PACKED[suffix](other))
    name = {"data": "json", "semicolon": "csv"}.get(format, format)
    path = folder / f"damaged.{name}{suffix}"
    path.write_bytes(data)
    options: dict[str, Any] = {"allow_empty": True}
    if encoding and encoding not in ("utf-8", "utf-8-sig"):
        options["encoding"] = encoding
    if format == "semicolon" and rng.random() < 0.5:
        options["delimiter"] = ";"
    return path, options, _expected(format, data, suffix, encoding)


@pytest.fixture
def store() -> Iterator[Store]:
    with open_store("memory:/fuzz-sources") as store:
        store.create(HashEncoder().schema)
        yield store
        store.drop()


def test_nothing_is_lost_silently(
    tmp_path: Path, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    outcomes: Counter[str] = Counter()
    for number in range(CASES):
        name = f"{SEED}/sources/{number}"
        rng = Random(name)
        path, options, expected = _case(rng, tmp_path)
        try:
            outcome = _checked(path, options, expected)
            if rng.random() < 0.1:
                _ingested(path, options, store)
        except TrivecError as error:
            if len(str(error)) > 5_000:
                pytest.fail(f"case {name!r}: a message of {len(str(error))} characters")
            outcome = "refused"
        except Exception as error:
            kept = path.read_bytes()[:600]
            trace = "".join(traceback.format_exception(error)[-8:])
            pytest.fail(f"case {name!r}, {path.name}, {options}, {kept!r}:\n{trace}")
        outcomes[outcome] += 1
    if CASES >= 500:  # no way out is the only one
        assert min(outcomes[way] for way in ("refused", "counted", "rejected")) > CASES / 20


def _checked(path: Path, options: dict[str, Any], expected: int | None) -> str:
    """Read a file, and compare the number of its documents and rejects with that of its records."""
    documents, rejects = 0, 0
    for record in Source(path, **options):
        documents += isinstance(record, Document)
        if isinstance(record, Rejected):
            rejects += 1
            assert record.where.startswith(str(path)), record
            assert record.problem, record
    if expected is None:
        # Whoever else cannot read it: what trivec read without an error has a reject at least.
        assert rejects, f"{documents} documents came of a file that nothing else can read"
        return "rejected"
    assert documents + rejects == max(0, expected), (documents, rejects, expected)
    return "rejected" if rejects else "counted"


def _ingested(path: Path, options: dict[str, Any], store: Store) -> None:
    """Ingest a file, and compare the records with what became of them."""
    rejects: list[Rejected] = []
    report = ingest(
        Source(path, **options),
        HashEncoder(),
        store,
        on_error="skip",
        rejected=rejects.append,
        part_bytes=200,
    )
    assert report.failed == len(rejects)
    fates = report.documents + report.unchanged + report.replaced + report.failed
    # A document that was written before another one with its id came has two fates.
    assert report.records <= fates <= report.records + report.replaced
