"""Compressed files: recognised by their content, read to the end, or an error."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import random
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import zstandard

from trivec import Document
from trivec.errors import InvalidDocumentError
from trivec.ingestion.report import Rejected
from trivec.ingestion.sources import Source

NOISE = random.Random(1)
ROWS = [{"id": str(i), "text": NOISE.randbytes(150).hex()} for i in range(2000)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
DOCUMENTS = [Document(row["id"], row["text"]) for row in ROWS]


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def _alone(data: bytes) -> bytes:
    return lzma.compress(data, lzma.FORMAT_ALONE)


PACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": _gzip,
    "zst": zstandard.ZstdCompressor().compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
}


@pytest.mark.parametrize("pack", PACK.values(), ids=PACK)
@pytest.mark.parametrize("size", [len(LINES), 100_000, 999])
def test_parts_follow_each_other(tmp_path: Path, pack: Callable[[bytes], bytes], size: int) -> None:
    path = tmp_path / "a.jsonl"  # a name that does not say it
    path.write_bytes(b"".join(pack(LINES[i : i + size]) for i in range(0, len(LINES), size)))
    source = Source(path)
    assert list(source) == DOCUMENTS
    assert source.fraction() == 1


def test_the_older_format_of_xz_is_known_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.lzma"
    path.write_bytes(_alone(LINES))
    assert list(Source(path)) == DOCUMENTS


def test_the_content_decides_and_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(bz2.compress(LINES))
    assert list(Source(path)) == DOCUMENTS


def test_compressed_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    for pack in PACK.values():
        buffer = io.BytesIO(pack(LINES))
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=buffer))
        assert list(Source("-")) == DOCUMENTS


@pytest.mark.parametrize("name", ["bz2", "xz"])
def test_padding_and_what_follows_the_last_part(tmp_path: Path, name: str) -> None:
    path, packed = tmp_path / f"a.jsonl.{name}", PACK[name](LINES)
    for rest in (b"more", b"\0" * 3 + b"x"):
        path.write_bytes(packed + rest)
        with pytest.raises(InvalidDocumentError, match=r"is damaged|ends in the middle"):
            list(Source(path))
    path.write_bytes(packed + bytes(8) + packed)
    if name == "xz":
        assert list(Source(path)) == DOCUMENTS * 2
    else:
        with pytest.raises(InvalidDocumentError, match="is damaged"):
            list(Source(path))


@pytest.mark.parametrize("name", ["bz2", "xz"])
@pytest.mark.parametrize("kept", [0.5, 0.99, 0.99999])
def test_what_was_cut_off_is_an_error(tmp_path: Path, name: str, kept: float) -> None:
    path, packed = tmp_path / f"a.jsonl.{name}", PACK[name](LINES)
    path.write_bytes(packed[: int(kept * len(packed))])
    read: list[Document | Rejected] = []
    with pytest.raises(InvalidDocumentError) as error:
        read.extend(Source(path))
    assert str(error.value) == f"{str(path)!r} ends in the middle; it was cut off"
    assert read == DOCUMENTS[: len(read)]


@pytest.mark.parametrize("name", ["bz2", "xz"])
def test_what_is_damaged_is_an_error(tmp_path: Path, name: str) -> None:
    path, packed = tmp_path / f"a.jsonl.{name}", bytearray(PACK[name](LINES))
    packed[len(packed) // 2] ^= 0xFF
    path.write_bytes(packed)
    with pytest.raises(InvalidDocumentError, match="is damaged and cannot be decompressed"):
        list(Source(path))


@pytest.mark.parametrize("name", [*PACK, "lzma"])
def test_files_that_are_only_named_so(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"a.jsonl.{name}"
    path.write_bytes(b"plain text")
    with pytest.raises(InvalidDocumentError, match=r"is damaged|was cut off"):
        list(Source(path))
    path.write_bytes(b"")
    assert list(Source(path, allow_empty=True)) == []


@pytest.mark.parametrize("name", ["bz2", "xz"])
def test_little_memory_for_much_content(tmp_path: Path, name: str) -> None:
    """A bomb of blank lines: 100 MB in some kB."""
    path = tmp_path / f"a.jsonl.{name}"
    path.write_bytes(PACK[name]((b" " * 9_999 + b"\n") * 10_000 + LINES[: LINES.index(b"\n") + 1]))
    tracemalloc.start()
    try:
        assert list(Source(path)) == DOCUMENTS[:1]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 30_000_000
