"""Copies between stores, and what is said when a copy is not like its source."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from typer.testing import CliRunner

from trivec import (
    CopyReport,
    Document,
    F,
    Hit,
    Store,
    Vector,
    Vectors,
    copy,
    ingest,
    open_store,
)
from trivec.cli.app import app
from trivec.colbert_storage import Overflow
from trivec.collection import Collection, Page
from trivec.errors import (
    AuthenticationError,
    InvalidOptionError,
    JournalError,
    SchemaMismatchError,
)
from trivec.ingestion import verification
from trivec.rows import SparseRows, TokenRows
from trivec.stores.limits import Limits
from trivec.stores.memory import MemoryBackend
from trivec.stores.options import StoreOptions
from trivec.testing import HashEncoder

FIELDS = {"lang": str, "n": int}
OpenNew = Callable[[str], Store]


def _documents(n: int) -> list[Document]:
    return [
        Document(f"d{i:04d}", f"word{i % 7} word{i % 11} other{i}", {"n": i, "lang": "en"})
        for i in range(n)
    ]


@pytest.fixture
def source(encoder: HashEncoder) -> Iterator[Store]:
    """300 documents, of which the last two lack a part each, and one has tiny lexical weights."""
    with open_store(f"memory:/source-{uuid4().hex}") as store:
        store.create(encoder.schema, fields=FIELDS)
        documents = _documents(300)
        vectors = encoder.encode_documents([d.text for d in documents])
        assert vectors.dense is not None
        assert vectors.colbert is not None
        dense = vectors.dense.copy()
        dense[-1] = 0
        rows = [vectors.colbert.row(i) for i in range(300)]
        rows[-2] = rows[-2][:0]
        weights = [dict(vectors.sparse.row(i)) for i in range(300)] if vectors.sparse else []
        weights[0] = {term: weight / 1000 for term, weight in weights[0].items()}
        vectors = replace(vectors, dense=dense, colbert=TokenRows.from_arrays(rows))
        store.upsert(documents, replace(vectors, sparse=SparseRows.from_dicts(weights)))
        yield store
        store.drop()


@pytest.fixture
def open_new(tmp_path: Path) -> Iterator[OpenNew]:
    """Return what opens an empty collection of a kind."""
    stores: list[Store] = []

    def opened(kind: str) -> Store:
        name = f"new_{uuid4().hex}"
        stores.append(
            open_store(f"memory:/{name}" if kind == "memory" else f"{kind}:{tmp_path}/{name}")
        )
        return stores[-1]

    yield opened
    for store in stores:
        store.drop()
        store.close()


def _everything(store: Store) -> dict[str, Document]:
    return {d.id: d for page in store.scan() for d in page.documents}


KINDS = ["memory", "archive", "qdrant+edge"]


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back_again(
    source: Store, open_new: OpenNew, encoder: HashEncoder, kind: str
) -> None:
    there, back = open_new(kind), open_new("memory")
    for one, other in ((source, there), (there, back)):
        report = copy(one, other)
        assert report.written.documents == 300
        assert report.verification.problems == ()
        assert report.verification.top10_overlap == 1
        assert report.verification.sampled == 100
    assert _everything(back) == _everything(source)
    assert dict(back.fields) == dict(source.fields)
    for text in ("word3 word4", "other17 word1", "nothing"):
        query = encoder.encode_query(text)
        for mode in ("dense", "sparse", "colbert", "hybrid"):
            before = source.search(query, mode=mode, k=300, candidates=300)
            after = back.search(query, mode=mode, k=300, candidates=300)
            scores = {hit.document.id: hit.score for hit in after}
            assert scores.keys() == {hit.document.id for hit in before}
            for hit in before:
                assert scores[hit.document.id] == pytest.approx(hit.score, abs=2e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_copy_writes_nothing(
    source: Store, open_new: OpenNew, tmp_path: Path, encoder: HashEncoder, kind: str
) -> None:
    destination, journal = open_new(kind), tmp_path / "copy.journal"
    assert copy(source, destination, journal=journal).written.documents == 300
    again = copy(source, destination, journal=journal)
    assert (again.written.requests, again.written.unchanged) == (0, 300)
    assert again.verification.problems == ()
    changed = [Document("d0001", "new words"), Document("new", "others")]
    source.upsert(changed, encoder.encode_documents([d.text for d in changed]))
    third = copy(source, destination, journal=journal)
    assert third.written.documents == 2
    assert third.verification.problems == ()
    assert _everything(destination) == _everything(source)


def test_a_part_of_it_with_other_metadata(source: Store, open_new: OpenNew) -> None:
    destination = open_new("memory")
    report = copy(source, destination, filter=F("n") < 50, set_fields={"lang": "de", "new": [1]})
    assert report.written.documents == destination.count() == 50
    assert report.verification.problems == ()
    assert destination.get(["d0007"]).documents[0].metadata == {"n": 7, "lang": "de", "new": [1]}
    # The rest comes to it; now the destination has more than what was copied.
    report = copy(source, destination, filter=F("n") >= 290)
    assert (destination.count(), report.verification.problems) == (60, ())
    assert report.verification.top10_overlap is None


def test_a_copy_that_was_cut_off_goes_on(source: Store, open_new: OpenNew, tmp_path: Path) -> None:
    destination, journal = open_new("memory"), tmp_path / "copy.journal"
    calls = []

    class Failing(MemoryBackend):
        def write(
            self, collection: Collection, documents: Sequence[Document], vectors: Vectors
        ) -> None:
            calls.append(len(documents))
            if len(calls) == 2:
                raise AuthenticationError("the key has expired")
            super().write(collection, documents, vectors)

    failing = Store(Failing(destination.name), address=destination.address)
    with pytest.raises(AuthenticationError):
        copy(source, failing, journal=journal)
    before = destination.count()
    assert 0 < before < 300
    report = copy(source, destination, journal=journal)
    assert (report.written.unchanged, report.written.documents) == (before, 300 - before)
    assert report.verification.problems == ()


def test_what_cannot_be_copied(
    source: Store, open_new: OpenNew, tmp_path: Path, encoder: HashEncoder
) -> None:
    with pytest.raises(InvalidOptionError, match="are the same"):
        copy(source, source)
    other = open_new("memory")
    other.create(HashEncoder(dense=8).schema)
    with pytest.raises(SchemaMismatchError, match="dense is 8, expected 32"):
        copy(source, other)
    journal = tmp_path / "copy.journal"
    copy(source, open_new("memory"), journal=journal)
    with pytest.raises(JournalError, match="store was"):
        copy(source, open_new("memory"), journal=journal)


def test_parts_stay_small_however_long_the_texts_become(
    open_new: OpenNew, encoder: HashEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Short documents first, so that nothing but their texts tells that the others are long."""
    texts = ["short"] * 300 + ["many words " * 3000] * 30
    documents = [Document(f"d{i:03d}", text) for i, text in enumerate(texts)]
    long = open_new("memory")
    long.create(encoder.schema)
    long.upsert(documents, encoder.encode_documents(texts))
    largest: list[int] = []
    real = long.get

    def get(ids: Iterable[str], *, with_vectors: bool = False) -> Page:
        page = real(ids, with_vectors=with_vectors)
        if with_vectors and page.vectors is not None and len(largest) < 60:
            largest.append(int(page.vectors.row_bytes().sum()))
        return page

    monkeypatch.setattr(long, "get", get)
    report = copy(long, open_new("memory"), sample=1)
    assert (report.written.documents, report.verification.problems) == (330, ())
    one = int(encoder.encode_documents(texts[-1:]).row_bytes()[0])
    assert max(largest) < 3 * one


class Lossy(MemoryBackend):
    """Writes something else than it is given."""

    damage = ""

    def write(
        self, collection: Collection, documents: Sequence[Document], vectors: Vectors
    ) -> None:
        documents, rng = list(documents), np.random.default_rng(0)
        match self.damage:
            case "lost":
                documents, vectors = documents[1:], vectors.slice(1, len(vectors))
            case "text":
                documents[0] = replace(documents[0], text="changed")
            case "dense" if vectors.dense is not None:
                noise = rng.normal(0, 0.1, vectors.dense.shape)
                vectors = replace(vectors, dense=vectors.dense + noise)
            case "sparse" if vectors.sparse is not None:
                sparse = replace(vectors.sparse, values=vectors.sparse.values * 1.01)
                vectors = replace(vectors, sparse=sparse)
            case "a flag":
                documents = [
                    replace(d, metadata={"n": False, "lang": "en"}) if d.id == "d0000" else d
                    for d in documents
                ]
            case "length" if vectors.dense is not None:
                vectors = replace(vectors, dense=vectors.dense * 1.01)
            case "small weights" if vectors.sparse is not None:
                values = np.maximum(vectors.sparse.values, 1e-3)
                vectors = replace(vectors, sparse=replace(vectors.sparse, values=values))
            case "no colbert" if vectors.colbert is not None:
                none = [vectors.colbert.row(i)[:0] for i in range(len(documents))]
                vectors = replace(vectors, colbert=TokenRows.from_arrays(none, dim=16))
            case "colbert" if vectors.colbert is not None:
                tokens = replace(vectors.colbert, values=vectors.colbert.values * 1.01)
                vectors = replace(vectors, colbert=tokens)
        super().write(collection, documents, vectors)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ("lost", "the destination has 3 documents less"),
        ("text", "of the sample differ"),
        ("dense", "a dense cosine is"),
        ("sparse", "a lexical weight differs by 1"),
        ("colbert", "a ColBERT score differs by 1"),
        ("a flag", "1 of the sample differ: ('d0000',)"),
        ("length", "a dense cosine is 0.99"),
        ("small weights", "a lexical weight differs by"),
        ("no colbert", "of the sample differ"),
    ],
)
def test_a_damaged_copy_is_told(source: Store, damage: str, problem: str) -> None:
    lossy = Lossy(f"lossy-{uuid4().hex}")
    lossy.damage = damage
    with Store(lossy) as destination:
        report: CopyReport = copy(source, destination, sample=300)
        assert problem in "; ".join(report.verification.problems)
        destination.drop()


def test_the_command_line(source: Store, tmp_path: Path) -> None:
    archive = f"archive:{tmp_path}/saved"
    args = [source.address, archive, "--filter", "n < 20", "--set-fields", "lang=de"]
    args += ["--set-fields", "n=5", "--journal", str(tmp_path / "copy.journal")]
    done = CliRunner().invoke(app, ["copy", *args, "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["written"]["documents"] == report["verification"]["source_count"] == 20
    assert report["problems"] == []
    again = CliRunner().invoke(app, ["copy", *args])
    assert "0 documents" in again.stderr
    assert "20 documents in the source, 20 in the destination" in " ".join(again.stderr.split())
    with open_store(archive) as saved:
        assert saved.get(["d0007"]).documents[0].metadata == {"n": 5, "lang": "de"}
    wrong = CliRunner().invoke(app, ["copy", source.address, archive, "--set-fields", "lang"])
    assert (wrong.exit_code, "expected name=value" in wrong.stderr) == (1, True)


def test_tuples_and_the_last_bits_of_floats_are_no_difference(
    open_new: OpenNew, encoder: HashEncoder
) -> None:
    source, destination = open_new("memory"), open_new("qdrant+edge")
    source.create(encoder.schema)
    documents = [Document(f"d{i}", f"word{i}", {"price": i / 7}) for i in range(200)]
    source.upsert(documents, encoder.encode_documents([d.text for d in documents]))
    report = copy(source, destination, set_fields={"tags": ("a", "b")})
    assert report.verification.problems == ()


def test_ties_at_the_cut_of_the_candidates_are_no_difference(
    open_new: OpenNew, encoder: HashEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(0)
    texts = [" ".join(f"w{rng.randrange(60)}" for _ in range(4)) for _ in range(400)]
    documents = [Document(f"d{i:03}", text) for i, text in enumerate(texts)]
    vectors = encoder.encode_documents(texts)
    source, turned = open_new("memory"), open_new("memory")
    source.create(encoder.schema)
    source.upsert(documents, vectors)
    turned.create(encoder.schema)  # the same with other ids, so that ties go to other documents
    names = {d.id: f"d{399 - i:03}" for i, d in enumerate(documents)}
    turned.upsert([Document(names[d.id], d.text) for d in documents], vectors)

    def search_many(queries: Sequence[Vector], **options: Any) -> list[list[Hit]]:
        old = {new: one for one, new in names.items()}
        return [
            [replace(hit, document=replace(hit.document, id=old[hit.document.id])) for hit in hits]
            for hits in turned.search_many(queries, **options)
        ]

    destination = open_new("memory")
    copy(source, destination)
    monkeypatch.setattr(destination, "search_many", search_many)
    monkeypatch.setattr(verification, "CANDIDATES", 20)
    ids = [d.id for d in documents[:10]]
    assert verification.verify(source, destination, ids).problems == ()

    def without_the_first(queries: Sequence[Vector], **options: Any) -> list[list[Hit]]:
        return [hits[1:] for hits in search_many(queries, **options)]

    monkeypatch.setattr(destination, "search_many", without_the_first)
    assert "of the best ten" in verification.verify(source, destination, ids).problems[0]


class Limited(MemoryBackend):
    """Holds two token vectors of a document, and no exclamation marks."""

    limits = Limits(colbert_rows=2)

    def as_stored(self, document: Document) -> Document:
        return replace(document, text=document.text.replace("!", "?"))

    def write(
        self, collection: Collection, documents: Sequence[Document], vectors: Vectors
    ) -> None:
        stored = [self.as_stored(document) for document in documents]
        super().write(collection, stored, vectors)


@pytest.mark.parametrize("overflow", ["pool", "truncate", "drop"])
def test_what_the_destination_was_told_to_change_is_no_difference(
    open_new: OpenNew, encoder: HashEncoder, overflow: Overflow, tmp_path: Path
) -> None:
    source = open_new("memory")
    source.create(encoder.schema)
    documents = [Document(f"d{i}", f"stop{'!' * (i % 2)} word{i} other{i}") for i in range(40)]
    source.upsert(documents, encoder.encode_documents([d.text for d in documents]))
    journal = tmp_path / "copy.journal"
    with Store(
        Limited(f"limited-{uuid4().hex}"), StoreOptions(colbert_overflow=overflow)
    ) as destination:
        report = copy(source, destination, journal=journal, sample=40)
        assert report.verification.problems == ()
        assert (report.verification.shortened, report.written.overflowed) == (40, 40)
        assert destination.get(["d1"]).documents[0].text == "stop? word1 other1"
        again = copy(source, destination, journal=journal, sample=40)
        assert (again.written.unchanged, again.verification.problems) == (40, ())
        # What it was not told to change is one.
        page = destination.get(["d1", "d2"], with_vectors=True)
        assert page.vectors is not None
        assert page.vectors.colbert is not None
        changed = [replace(page.documents[0], text="stop. word1 other1"), page.documents[1]]
        fewer = [page.vectors.colbert.row(i)[:i] for i in (1, 0)]
        tokens = TokenRows.from_arrays(fewer, dim=16)
        destination.upsert(changed, replace(page.vectors, colbert=tokens))
        found = verification.verify(source, destination, [d.id for d in documents])
        # With "drop" there are no token vectors that one could lack.
        assert set(found.different) == ({"d1"} if overflow == "drop" else {"d1", "d2"})
        destination.drop()


def test_metadata_is_rewritten_also_where_the_text_was_changed(
    encoder: HashEncoder, tmp_path: Path
) -> None:
    with Store(Limited(f"limited-{uuid4().hex}")) as store:
        store.create(encoder.schema)
        for n in (1, 2):
            one = Document("a", "stop!", {"n": n})
            report = ingest([one], encoder, store, journal=tmp_path / "journal")
        assert (report.touched, encoder.encoded) == (1, 1)
        assert store.get(["a"]).documents == [Document("a", "stop?", {"n": 2})]
        store.drop()
