"""The pipeline from documents to a collection."""

from __future__ import annotations

import io
import re
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from trivec import Document, IngestReport, Schema, Store, Vectors, aingest, ingest
from trivec.collection import Collection
from trivec.errors import (
    DocumentRefusedError,
    InvalidDocumentError,
    SchemaMismatchError,
    StoreError,
)
from trivec.stores.memory import MemoryBackend
from trivec.testing import HashEncoder


@pytest.fixture
def store(encoder: HashEncoder) -> Iterator[Store]:
    with Store(MemoryBackend(f"ingest-{uuid4().hex}")) as store:
        store.create(encoder.schema)
        yield store
        store.drop()


def _documents(n: int) -> Iterator[Document]:
    return (Document(f"d{i:03d}", f"words of document {i}", {"n": i}) for i in range(n))


def test_everything_is_encoded_once_and_found(encoder: HashEncoder, store: Store) -> None:
    seen: list[IngestReport] = []
    report = ingest(_documents(200), encoder, store, part_bytes=1000, progress=seen.append)
    assert report.documents == store.count() == encoder.encoded == 200
    assert report.requests == len(seen) > 3
    assert [r.documents for r in seen] == sorted(r.documents for r in seen)
    assert report.bytes > 200 * (32 + 16) * 4
    assert store.get(["d123"]).documents == list(_documents(124))[123:]


def test_a_collection_gets_the_parts_that_it_holds(encoder: HashEncoder, tmp_path: Path) -> None:
    with Store(MemoryBackend(f"ingest-{uuid4().hex}")) as store:
        store.create(replace(encoder.schema, colbert=None))
        journal = tmp_path / "parts.journal"
        assert ingest(_documents(3), encoder, store, journal=journal).documents == 3
        assert ingest(_documents(3), encoder, store, journal=journal).unchanged == 3
        vectors = store.get(["d000"], with_vectors=True).vectors
        assert vectors is not None
        assert vectors.dense is not None
        assert vectors.colbert is None
        store.drop()


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        (Schema(32, True, 16, "other"), "they are of 'hash', the collection's of 'other'"),
        (Schema(8, True, 16, "hash"), "dense vectors have 32 numbers, the collection's 8"),
        (Schema(None, False, 8, "hash"), "ColBERT vectors have 16 numbers, the collection's 8"),
    ],
)
def test_vectors_that_do_not_fit_are_not_made(
    encoder: HashEncoder, schema: Schema, problem: str
) -> None:
    with Store(MemoryBackend(f"ingest-{uuid4().hex}")) as store:
        store.create(schema)
        with pytest.raises(SchemaMismatchError, match=problem):
            ingest(_documents(3), encoder, store)
        assert encoder.encoded == 0
        store.drop()


def test_nothing_is_read_far_ahead(encoder: HashEncoder, store: Store) -> None:
    read: list[int] = []

    def endless() -> Iterator[Document]:
        i = 0
        while True:
            read.append(i)
            yield Document(f"d{i}", "x" * 100)
            i += 1

    def stop(report: IngestReport) -> None:
        # Of parts of ten one is written, one encoded, one waits, two are being read.
        assert len(read) <= report.documents + 51
        if report.documents >= 50:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(endless(), encoder, store, part_bytes=1000, progress=stop)
    assert store.count() >= 50


def test_writing_goes_on_while_the_next_part_is_encoded(store: Store) -> None:
    inside = threading.Event()
    overlapped = threading.Event()

    class SlowEncoder(HashEncoder):
        def encode_documents(self, texts: Sequence[str]) -> Vectors:
            # From the second part on a write must begin before this returns.
            if self.encoded and inside.wait(5):
                overlapped.set()
            return super().encode_documents(texts)

    class Slow(MemoryBackend):
        def write(
            self, collection: Collection, documents: Sequence[Document], vectors: Vectors
        ) -> None:
            inside.set()
            time.sleep(0.01)
            super().write(collection, documents, vectors)

    ingest(_documents(20), SlowEncoder(), Store(Slow(store.name)), part_bytes=100)
    assert overlapped.is_set()
    assert store.count() == 20


def test_of_the_same_id_the_last_one_stays(encoder: HashEncoder, store: Store) -> None:
    documents = [Document("a", "first"), Document("b", "other"), Document("a", "last")]
    report = ingest(documents, encoder, store)
    assert (report.documents, report.replaced) == (2, 1)
    assert store.get(["a"]).documents[0].text == "last"
    ingest(documents, encoder, store, part_bytes=1)
    assert store.get(["a"]).documents[0].text == "last"


def test_a_failure_keeps_what_was_acknowledged(encoder: HashEncoder, store: Store) -> None:
    class Failing(MemoryBackend):
        def write(
            self, collection: Collection, documents: Sequence[Document], vectors: Vectors
        ) -> None:
            if any(d.id == "d050" for d in documents):
                raise StoreError("refused")
            super().write(collection, documents, vectors)

    with pytest.raises(DocumentRefusedError, match="document 'd050' was refused: refused"):
        ingest(_documents(100), encoder, Store(Failing(store.name)), part_bytes=200)
    assert store.count() == 50
    assert ingest(_documents(100), encoder, store).documents == 100
    assert store.count() == 100


def test_what_is_no_document_is_named(encoder: HashEncoder, store: Store) -> None:
    with pytest.raises(InvalidDocumentError, match="got str 'b' after 1 others"):
        ingest([Document("a", ""), "b"], encoder, store)  # type: ignore[list-item]
    assert ingest([], encoder, store).documents == 0


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_how_far_a_run_is(
    encoder: HashEncoder, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("COLUMNS", "200")
    ingest(list(_documents(100)), encoder, store, part_bytes=500)
    shown = re.sub(r"\s+", " ", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue()))
    assert re.search(
        r"ingest ━+ 100% 100 read \([\d,]+/s\), 100 stored, [\d,]+ tokens/s, \d+\.\d MB "
        r"written, 0:00:00 left",
        shown,
    )


def test_nothing_is_shown_elsewhere(
    encoder: HashEncoder, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    ingest(_documents(100), encoder, store)
    assert capsys.readouterr() == ("", "")


async def test_async_leaves_the_loop_free(
    encoder: HashEncoder, store: Store, loop_gap: Any
) -> None:
    async def work() -> None:
        report = await aingest(_documents(100), encoder, store, part_bytes=1000)
        assert report.documents == 100

    assert await loop_gap(work) < 0.05
