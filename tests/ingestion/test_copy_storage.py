"""Copies that shrink token vectors on the way, and those that must not."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest

from trivec import ColbertStorage, Document, F, Store, Vectors, copy, ingest, open_store
from trivec.collection import Collection
from trivec.errors import (
    CollectionNotFoundError,
    InvalidOptionError,
    InvalidVectorsError,
    JournalError,
    SchemaMismatchError,
)
from trivec.rows import TokenRows
from trivec.stores.limits import Limits
from trivec.stores.memory import MemoryBackend
from trivec.stores.options import StoreOptions
from trivec.stores.overflow import fit_rows
from trivec.stores.reduction import reduced
from trivec.testing import HashEncoder
from trivec.token_codes import TokenCodes

SMALL = ColbertStorage(bits=1, pool=2)
OpenNew = Callable[..., Store]


@pytest.fixture
def open_new(tmp_path: Path) -> Iterator[OpenNew]:
    """Return what opens a new collection of a scheme, with the options of `open_store`."""
    stores: list[Store] = []

    def opened(scheme: str = "memory", **options: object) -> Store:
        name = f"new_{uuid4().hex}"
        url = f"memory:/{name}" if scheme == "memory" else f"{scheme}:{tmp_path}/{name}"
        stores.append(open_store(url, **options))
        return stores[-1]

    yield opened
    for store in stores:
        store.drop()
        store.close()


def _documents(count: int = 40) -> list[Document]:
    """Return documents of 1 to 40 tokens."""
    return [
        Document(f"d{i:03d}", " ".join(f"w{i % 7}x{j}" for j in range(i % 40)), {"n": i})
        for i in range(count)
    ]


def _filled(store: Store, encoder: HashEncoder, storage: ColbertStorage | None = None) -> Store:
    documents = _documents()
    vectors = encoder.encode_documents([document.text for document in documents])
    store.create(encoder.schema, colbert=storage)
    store.upsert(documents, vectors)
    return store


def _tokens(store: Store) -> TokenRows:
    """Return the token vectors of all documents, in the order of their ids."""
    ids = sorted(document.id for page in store.scan() for document in page.documents)
    vectors = store.get(ids, with_vectors=True).vectors
    assert vectors is not None
    assert vectors.colbert is not None
    return vectors.colbert


def _as_kept(rows: TokenRows, storage: ColbertStorage) -> TokenRows:
    """Return token vectors as a collection of this storage returns them."""
    rows = reduced(rows, storage)
    return rows if storage.bits >= 16 else TokenCodes.encode(rows, storage.bits).decoded()


def _exists(store: Store) -> bool:
    try:
        store.describe()
    except CollectionNotFoundError:
        return False
    return True


def _storages(count: int) -> list[tuple[ColbertStorage, ColbertStorage]]:
    """Return pairs of storages; half of them can be converted or nearly so."""
    rng = np.random.default_rng(16)

    def drawn() -> ColbertStorage:
        bits, pool = rng.choice(ColbertStorage.BITS), rng.choice([1, 1, 2, 3, 4, 6])
        return ColbertStorage(int(bits), int(pool), float(rng.choice([0, 0, 1 / 3])))

    pairs = [(drawn(), drawn()) for _ in range(count)]
    return [
        (a, replace(b, bits=min(a.bits, b.bits), prune=a.prune) if i % 2 else b)
        for i, (a, b) in enumerate(pairs)
    ]


@pytest.mark.parametrize(("before", "after"), _storages(40), ids=str)
def test_a_copy_holds_the_reduced_source_or_is_refused(
    open_new: OpenNew, encoder: HashEncoder, before: ColbertStorage, after: ColbertStorage
) -> None:
    source, destination = _filled(open_new(), encoder, before), open_new()
    rows = _tokens(source)
    try:
        expected = _as_kept(rows, after)
    except InvalidVectorsError:
        with pytest.raises(InvalidVectorsError, match=r"what was left out is gone|without"):
            copy(source, destination, colbert=after)
        assert not _exists(destination)
        return
    report = copy(source, destination, colbert=after, sample=40)
    # A few vectors of 16 numbers lose much of their order; all else is as it should be.
    assert [p for p in report.verification.problems if "best ten" not in p] == []
    assert report.verification.colbert_drift == 0
    assert destination.describe().colbert == after
    copied = _tokens(destination)
    assert copied.storage == (after if after.reduces else None)
    np.testing.assert_array_equal(copied.indptr, expected.indptr)
    np.testing.assert_array_equal(copied.values, expected.values)


@pytest.mark.parametrize("scheme", ["memory", "archive"])
def test_a_small_collection_stays_small_to_the_bit(
    open_new: OpenNew, encoder: HashEncoder, scheme: str
) -> None:
    source, destination = _filled(open_new(), encoder, SMALL), open_new(scheme)
    report = copy(source, destination)
    assert (report.verification.problems, report.verification.top10_overlap) == ((), 1)
    assert not report.verification.shrunk
    assert destination.describe().colbert == SMALL
    before, after = (TokenCodes.encode(_tokens(store), 1) for store in (source, destination))
    assert after.packed.tobytes() == before.packed.tobytes()
    assert after.factors.tobytes() == before.factors.tobytes()


def test_pooled_vectors_are_only_packed(open_new: OpenNew, encoder: HashEncoder) -> None:
    source = _filled(open_new(), encoder, ColbertStorage(pool=2))
    destination = open_new("archive", colbert="bits=1,pool=2")  # an option of the destination
    report = copy(source, destination)
    pooled = _tokens(source)
    codes = TokenCodes.encode(_tokens(destination), 1)
    assert codes.packed.tobytes() == TokenCodes.encode(pooled, 1).packed.tobytes()
    assert report.verification.shrunk


@pytest.mark.parametrize("bits", [16, 32])
def test_whole_vectors_are_whole_in_either_format(
    open_new: OpenNew, encoder: HashEncoder, bits: int
) -> None:
    source, destination = _filled(open_new(), encoder, ColbertStorage(bits)), open_new()
    assert copy(source, destination, colbert=ColbertStorage(48 - bits)).verification.problems == ()
    assert destination.describe().colbert == ColbertStorage(48 - bits)
    assert copy(source, open_new("archive")).verification.problems == ()


def test_an_existing_destination_says_how_small(open_new: OpenNew, encoder: HashEncoder) -> None:
    source, destination = _filled(open_new(), encoder), open_new()
    destination.create(encoder.schema, colbert=SMALL)
    with pytest.raises(SchemaMismatchError, match="keeps token vectors as 'bits=1,pool=2'"):
        copy(source, destination, colbert=ColbertStorage(bits=2))
    assert destination.count() == 0
    assert copy(source, destination).written.documents == 40
    assert _tokens(destination).storage == SMALL
    # And never up: neither to one that exists, nor to a new one.
    for wanted in (None, ColbertStorage(), ColbertStorage(bits=4, pool=2), ColbertStorage(bits=1)):
        full = open_new()
        if wanted is None:
            full.create(encoder.schema)
        with pytest.raises(InvalidVectorsError, match="what was left out is gone"):
            copy(destination, full, colbert=wanted)
        assert wanted is None or not _exists(full)
        assert wanted is not None or full.count() == 0


class Unrecorded(MemoryBackend):
    """Does not record how it keeps token vectors, like collections of earlier versions."""

    def create(self, collection: Collection, *, adopt: bool) -> Collection:
        return super().create(replace(collection, colbert=None), adopt=adopt)


def test_a_collection_that_records_nothing_keeps_whole_vectors(
    open_new: OpenNew, encoder: HashEncoder, tmp_path: Path
) -> None:
    full, small = _filled(open_new(), encoder), _filled(open_new(), encoder, SMALL)
    with Store(Unrecorded(f"unrecorded-{uuid4().hex}")) as store:
        journal = tmp_path / "copy.journal"
        assert copy(full, store, journal=journal).verification.problems == ()
        assert copy(full, store, journal=journal).written.unchanged == 40
        assert copy(store, open_new(), colbert=SMALL).verification.problems == ()
        with pytest.raises(InvalidVectorsError, match="what was left out is gone"):
            copy(small, store)
        page = small.get(["d001"], with_vectors=True)
        assert page.vectors is not None
        with pytest.raises(InvalidVectorsError, match="what was left out is gone"):
            store.upsert(page.documents, page.vectors)
        store.drop()


class Narrow(MemoryBackend):
    """Offers few numbers of bits."""

    limits = Limits(database="Narrow", colbert_bits=(16, 8))


def test_bits_that_the_destination_lacks(open_new: OpenNew, encoder: HashEncoder) -> None:
    with Store(Narrow(f"narrow-{uuid4().hex}")) as narrow:
        source = _filled(open_new(), encoder, SMALL)
        with pytest.raises(InvalidOptionError, match="no 1 bits for a number; choose a database"):
            copy(source, narrow)
        source = _filled(open_new(), encoder, ColbertStorage(pool=2, bits=32))
        with pytest.raises(InvalidOptionError, match="the nearest is 'bits=16,pool=2'"):
            copy(source, narrow, colbert=ColbertStorage(pool=2, bits=32))
        assert not _exists(narrow)
        copy(source, narrow)
        assert narrow.describe().colbert == ColbertStorage(pool=2)
        narrow.drop()
    with Store(type("Few", (Narrow,), {"limits": Limits(colbert_bits=(8, 2))})("few")) as few:
        source = _filled(open_new(), encoder, ColbertStorage(bits=4))
        with pytest.raises(InvalidOptionError, match="pass colbert='bits=2', which keeps less"):
            copy(source, few)
        assert not _exists(few)


@pytest.mark.parametrize("scheme", ["memory", "archive"])
def test_pruning_on_the_way(open_new: OpenNew, encoder: HashEncoder, scheme: str) -> None:
    storage = ColbertStorage(bits=1, pool=2, prune=1 / 3)
    source, destination = _filled(open_new(scheme), encoder), open_new()
    only_dense = Vectors(dense=encoder.encode_documents([""]).dense)
    source.upsert([Document("without-tokens", "")], only_dense)
    report = copy(source, destination, colbert=storage, sample=41)
    assert report.verification.colbert_drift == 0
    expected = _as_kept(_tokens(source), storage)
    np.testing.assert_array_equal(_tokens(destination).values, expected.values)
    with pytest.raises(InvalidVectorsError, match="what was left out is gone"):
        copy(destination, open_new(), colbert=ColbertStorage(bits=1, pool=2, prune=1 / 2))


def test_pruning_needs_weights(open_new: OpenNew, encoder: HashEncoder) -> None:
    source, destination = _filled(open_new("qdrant+edge"), encoder), open_new()
    with pytest.raises(InvalidVectorsError, match=r"qdrant.*prune needs the lexical weight"):
        copy(source, destination, colbert=ColbertStorage(prune=1 / 3))
    assert not _exists(destination)
    # Nothing to prune is no error.
    copy(source, destination, colbert=ColbertStorage(prune=1 / 3), filter=F("n") < 0)
    assert destination.count() == 0


class Careless(MemoryBackend):
    """Writes token vectors of other tokens."""

    def write(
        self, collection: Collection, documents: Sequence[Document], vectors: Vectors
    ) -> None:
        assert vectors.colbert is not None
        values = vectors.colbert.values.copy()
        values[::20] = np.roll(values[::20], 1, axis=1)
        super().write(
            collection, documents, replace(vectors, colbert=replace(vectors.colbert, values=values))
        )


def test_a_damaged_small_copy_is_told(open_new: OpenNew, encoder: HashEncoder) -> None:
    source = _filled(open_new(), encoder)
    with Store(Careless(f"careless-{uuid4().hex}")) as destination:
        report = copy(source, destination, colbert=SMALL, sample=40)
        assert "a ColBERT score differs by" in "; ".join(report.verification.problems)
        destination.drop()


@pytest.mark.parametrize("bits", [8, 4])
def test_a_codec_of_the_database_has_its_own_bound(
    open_new: OpenNew, encoder: HashEncoder, monkeypatch: pytest.MonkeyPatch, bits: int
) -> None:
    source, destination = _filled(open_new(), encoder), open_new("qdrant+edge")
    if bits not in destination.limits.colbert_bits:
        pytest.skip(f"this qdrant-edge has no {bits} bits")
    storage = ColbertStorage(bits, pool=2)
    checked = copy(source, destination, colbert=storage, sample=40).verification
    assert checked.problems == ()
    assert checked.shrunk
    assert destination.limits.codec_cosines[bits] < checked.colbert_cosine < 1
    with Store(Careless(f"careless-{uuid4().hex}")) as careless:
        monkeypatch.setattr(Careless, "limits", destination.limits)
        report = copy(source, careless, colbert=storage, sample=40)
        assert "the cosine of a token vector is" in "; ".join(report.verification.problems)
        careless.drop()


def test_the_best_ten_may_differ_where_token_vectors_shrink(
    open_new: OpenNew, encoder: HashEncoder
) -> None:
    source, destination = _filled(open_new(), encoder), open_new()
    checked = copy(source, destination, colbert=ColbertStorage(bits=1)).verification
    assert checked.top10_overlap is not None
    assert checked.problems == ()
    assert replace(checked, top10_overlap=0.6).problems == ()
    assert "only 40.0% of the best ten" in replace(checked, top10_overlap=0.4).problems[0]
    assert replace(checked, shrunk=False, top10_overlap=0.9).problems != ()


# --- journals ----------------------------------------------------------------------------------


def test_the_storage_is_part_of_a_journal(
    open_new: OpenNew, encoder: HashEncoder, tmp_path: Path
) -> None:
    journal = tmp_path / "copy.journal"
    source, destination = _filled(open_new(), encoder), open_new()
    copy(source, destination, colbert=SMALL, journal=journal)
    again = copy(source, destination, journal=journal)
    assert (again.written.requests, again.written.unchanged) == (0, 40)
    destination.drop()
    with pytest.raises(
        JournalError, match="colbert_storage was 'bits=1,pool=2' and is 'bits=2,pool=2'"
    ):
        copy(source, destination, colbert=ColbertStorage(bits=2, pool=2), journal=journal)


@pytest.mark.parametrize("bits", [16, 32, 1])
def test_a_journal_of_before_is_one_of_whole_vectors(
    open_new: OpenNew, encoder: HashEncoder, tmp_path: Path, bits: int
) -> None:
    store, journal = open_new(), tmp_path / "articles.journal"
    store.create(encoder.schema, colbert=ColbertStorage(bits))
    ingest(_documents(), encoder, store, journal=journal)
    with closing(sqlite3.connect(journal)) as database, database:
        deleted = database.execute("DELETE FROM identity WHERE key = 'colbert_storage'")
        assert deleted.rowcount == 1
    if bits == 1:
        with pytest.raises(JournalError, match="colbert_storage was 'bits=16' and is 'bits=1'"):
            ingest(_documents(), encoder, store, journal=journal)
    else:
        assert ingest(_documents(), encoder, store, journal=journal).unchanged == 40


@pytest.mark.parametrize("scheme", ["memory", "archive"])
def test_changed_metadata_reduces_nothing_twice(
    open_new: OpenNew, encoder: HashEncoder, tmp_path: Path, scheme: str
) -> None:
    store, journal = open_new(scheme), tmp_path / "articles.journal"
    store.create(encoder.schema, colbert=ColbertStorage(bits=1, pool=2, prune=1 / 3))
    ingest(_documents(), encoder, store, journal=journal)
    before = _tokens(store)
    changed = [replace(document, metadata={"n": -1}) for document in _documents()]
    report = ingest(changed, encoder, store, journal=journal)
    assert (report.touched, encoder.encoded) == (40, 40)
    after = _tokens(store)
    np.testing.assert_array_equal(after.indptr, before.indptr)
    np.testing.assert_array_equal(after.values, before.values)


# --- what travels with token vectors -------------------------------------------------------------


def test_shortened_vectors_say_how_they_were_kept(encoder: HashEncoder) -> None:
    rows = encoder.encode_documents(["one two three", ""]).colbert
    assert rows is not None
    kept = reduced(rows, ColbertStorage(bits=8))
    fitted, changed = fit_rows(kept, 2, "truncate")
    assert (fitted.storage, changed.tolist()) == (ColbertStorage(bits=8), [0])


def test_texts_without_token_vectors_need_no_weights(encoder: HashEncoder) -> None:
    vectors = encoder.encode_documents(["one two", "three"])
    none = replace(vectors.slice(0, 1), colbert=TokenRows.from_arrays([np.zeros((0, 16))]))
    joined = Vectors.concatenate([none, vectors, none]).colbert
    assert joined is not None
    assert joined.weights is not None
    assert len(joined.weights) == 5
    assert none.colbert is not None
    assert len(reduced(none.colbert, ColbertStorage(prune=1 / 2)).values) == 0


def test_a_view_says_how_it_creates(open_new: OpenNew, encoder: HashEncoder) -> None:
    store = open_new(colbert="bits=2")
    assert store.colbert == ColbertStorage(bits=2)
    assert store.view(creates=True).colbert == ColbertStorage(bits=2)
    plain = Store(MemoryBackend("any"), StoreOptions())
    assert plain.colbert is None
    assert plain.view(creates=True, colbert=SMALL).colbert == SMALL
    with pytest.raises(InvalidOptionError, match="for one collection; give one of them"):
        copy(_filled(open_new(), encoder), store, colbert=SMALL)
    assert not _exists(store)
