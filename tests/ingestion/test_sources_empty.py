"""Where nothing was read it is an error that names what was passed over, unless that is allowed."""

from __future__ import annotations

import gzip
import io
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from trivec import Document, ingest, open_store
from trivec.errors import InvalidOptionError
from trivec.ingestion.report import Rejected
from trivec.ingestion.sources import Source
from trivec.stores.store import Store
from trivec.testing import HashEncoder


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.jsonl", b"", "it is empty"),
        ("a.jsonl", b"\xef\xbb\xbf", "it is empty"),
        ("a.jsonl", b"\n \r\n", "it is empty"),
        ("a.jsonl.gz", b"", "it is empty"),
        ("a.jsonl.gz", gzip.compress(b"", mtime=0), "it is empty"),
        ("a.jsonl.zst", b"", "it is empty"),
        ("a.jsonl.zst", zstandard.ZstdCompressor().compress(b""), "it is empty"),
        ("a.csv", b"", "it holds no record under a header"),
        ("a.csv", b"\n\n", "it holds no record under a header"),
        ("a.csv", b"id,text\r\n", "it holds no record under a header"),
        ("a.tsv", b"id\ttext", "it holds no record under a header"),
    ],
)
def test_files_without_a_row(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    for read in (lambda s: list(s), lambda s: list(s.documents()), lambda s: s.check()):
        with pytest.raises(InvalidOptionError) as error:
            read(Source(path))
        assert str(error.value) == (
            f"nothing was read from {str(path)!r}: {why}; "
            "allow_empty=True (--allow-empty) allows that"
        )
    source = Source(path, allow_empty=True)
    source.check()
    assert list(source) == []
    assert list(source) == []


def test_parquet_without_a_row(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    strings = pa.array([], pa.string())
    pq.write_table(pa.table({"id": strings, "text": strings}), path)
    with pytest.raises(InvalidOptionError, match="it holds no row"):
        list(Source(path))
    assert list(Source(path, allow_empty=True)) == []


def test_an_empty_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO()))
    with pytest.raises(InvalidOptionError, match="nothing was read from standard input"):
        list(Source("-"))
    assert list(Source("-", allow_empty=True)) == []


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text(name, encoding="utf-8")


def test_a_folder_of_other_files(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    touch(folder, "a.pdf", "b/b.PDF", "b/c.docx", "d.tar.gz", "README", ".git/x", ".e.txt")
    (tmp_path / "elsewhere").mkdir()
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidOptionError) as error:
        list(Source(folder))
    assert str(error.value) == (
        f"nothing was read from {str(folder)!r}: a folder gives its files of documents, .jsonl, "
        ".ndjson, .json, .csv, .tsv, .parquet, or its text files, .txt, .md, .markdown, .rst, "
        ".text, .html, .htm; passed over: 2 *.pdf, 2 hidden, 1 *.docx, 1 *.gz, 1 links to folders, "
        "1 without a suffix; allow_empty=True (--allow-empty) allows that"
    )
    source = Source(folder, allow_empty=True)
    assert list(source) == []
    assert source.passed_over["*.pdf"] == 2


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match=r"\.html, \.htm; allow_empty=True"):
        list(Source(tmp_path))


def test_a_folder_of_some_other_files_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path, "a.txt", "b.md", "c.pdf", "d.pdf", "e.docx", ".hidden")
    source = Source(tmp_path)
    with caplog.at_level(logging.WARNING, "trivec"):
        assert len(list(source)) == 2
    assert caplog.messages == [f"{tmp_path}: passed over: 2 *.pdf, 1 *.docx"]
    assert source.passed_over == {"*.pdf": 2, "*.docx": 1, "hidden": 1}
    caplog.clear()
    touch(tmp_path / "only", "a.txt", ".DS_Store")
    with caplog.at_level(logging.WARNING, "trivec"):
        list(Source(tmp_path / "only"))
    assert not caplog.messages


def test_what_is_no_file_of_text_is_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "a.txt")
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "broken.txt").symlink_to(tmp_path / "nothing")
    (tmp_path / "wide.txt").write_bytes("wide".encode("utf-16-le"))
    source = Source(tmp_path)
    first, broken, wide = source
    assert first == Document("a.txt", "a.txt")
    assert isinstance(broken, Rejected)
    assert isinstance(wide, Rejected)
    assert (broken.content, wide.content) == ("broken.txt", "wide.txt")
    assert "NUL bytes, as does text in UTF-16" in wide.problem
    assert source.passed_over == {"pipes and devices": 1}


def test_a_name_that_is_no_utf_8_can_be_told(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/gr\xfcn.txt"
    try:
        with open(path, "wb"):
            pass
    except OSError:
        pytest.skip("this file system takes only names in UTF-8")
    (reject,) = Source(tmp_path)
    assert isinstance(reject, Rejected)
    assert (reject.where, reject.content) == (f"{tmp_path}, gr\\xfcn.txt", r"gr\xfcn.txt")


def test_a_source_that_was_checked_loses_no_row(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(f'{{"id": "{i}", "text": ""}}\n' for i in range(3)), encoding="utf-8")
    source = Source(path)
    source.check()
    source.check()
    for _ in range(2):
        assert [document.id for document in source.documents()] == ["0", "1", "2"]


def test_standard_input_that_was_checked_loses_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = b"".join(b'{"id": "%d", "text": ""}\n' % i for i in range(3))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(lines)))
    source = Source("-")
    source.check()
    source.check()
    assert [document.id for document in source.documents()] == ["0", "1", "2"]


@pytest.fixture
def collection(encoder: HashEncoder, tmp_path: Path) -> Iterator[Store]:
    with open_store(f"memory:/{tmp_path.name}") as store:
        store.create(encoder.schema)
        yield store
        store.drop()


def test_ingest_of_nothing(tmp_path: Path, encoder: HashEncoder, collection: Store) -> None:
    """A list may be empty; a file that is may be a mistake, and then nothing is pruned."""
    assert ingest([], encoder, collection).documents == 0
    path, journal = tmp_path / "a.jsonl", tmp_path / "a.journal"
    path.write_text('{"id": "1", "text": ""}', encoding="utf-8")
    ingest(Source(path), encoder, collection, journal=journal)
    path.write_bytes(b"")
    with pytest.raises(InvalidOptionError, match="nothing was read"):
        ingest(Source(path), encoder, collection, journal=journal, on_error="skip", prune=True)
    assert collection.count() == 1
    assert (
        ingest(Source(path, allow_empty=True), encoder, collection, journal=journal).documents == 0
    )
