"""The base of all rules: flags, the store under test, comparisons."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import pytest

from trivec.colbert_storage import ColbertStorage
from trivec.document import Document
from trivec.filters import Filter
from trivec.hit import Hit
from trivec.search import PARTS
from trivec.stores.memory import MemoryBackend
from trivec.stores.store import Store
from trivec.testing.contract.corpus import FIELDS, SCHEMA, SMALL, STORAGES, Corpus, corpus
from trivec.testing.contract.library import Handles, Library
from trivec.vectors import Vector, Vectors

EXACT = 1e-6  # a tolerance of more lets documents of nearly equal scores change places

_LIBRARY = pytest.StashKey[Library]()

F = TypeVar("F", bound=Callable[..., object])


def needs(flag: str) -> Callable[[F], F]:
    """Mark a test as one that fails where a flag of the contract is False."""

    def mark(test: F) -> F:
        test.__dict__["needs"] = flag
        return test

    return mark


def with_batches(store: Store, batch_bytes: int) -> Store:
    """Return a store of the same backend with batches of this size; not to be closed."""
    handle = store._handle
    options = replace(handle.options, batch_bytes=batch_bytes)
    return Store(handle.backend, options, address=store.address)


def scanned_ids(store: Store, **options: Any) -> list[str]:
    """Return the sorted ids of a scan, which ends at the first id that comes twice."""
    seen: set[str] = set()
    for page in store.scan(**options):
        for document in page.documents:
            assert document.id not in seen, f"a scan yields {document.id!r} twice"
            seen.add(document.id)
    return sorted(seen)


def check_random_filters(filters: str, check: Callable[[Filter], None], examples: int) -> None:
    """Check random filters, or skip the test where hypothesis is not installed.

    Args:
        filters: Which ones: a name in `strategies.FILTERS`.
        check: Raises if a filter is answered wrongly.
        examples: How many to check.
    """
    pytest.importorskip("hypothesis", reason="random filters need it: pip install hypothesis")
    from trivec.testing.contract import strategies

    strategies.for_all(strategies.FILTERS[filters], check, examples)


class ContractBase:
    """The flags and the fixtures of the contract; see `StoreContract`."""

    tolerance: ClassVar[float] = EXACT
    persistent: ClassVar[bool] = True
    concurrent: ClassVar[bool] = True
    single: ClassVar[bool] = False
    float64_fields: ClassVar[bool] = False
    colbert: ClassVar[ColbertStorage | None] = None
    storages: ClassVar[Sequence[ColbertStorage]] = STORAGES
    secrets: ClassVar[tuple[str, ...]] = ()
    not_yet: ClassVar[Mapping[str, str]] = {}
    examples: ClassVar[int] = 50

    def open(self, folder: Path, name: str) -> Store:
        """Return a store for a collection that may not exist yet.

        Args:
            folder: An empty folder at first, the same for all stores of one class of tests; for
                databases that keep files.
            name: The collection.
        """
        raise NotImplementedError(f"{type(self).__name__} overrides open(self, folder, name)")

    def stored(self, vectors: Vectors) -> Vectors:
        """Return vectors as the database keeps them, where it rounds more than `tolerance`."""
        return vectors

    def colbert_tolerance(self, bits: int) -> float:
        """Return how far ColBERT and hybrid scores may be from those of `memory:`.

        By default `tolerance`, and 2e-3 for 16 bits beside a class that uses other ones. A database
        with a codec of its own for few bits overrides it; one that keeps `TokenCodes` need not.

        Args:
            bits: The bits of one number, of a collection of any `ColbertStorage`.
        """
        usual = self.colbert or ColbertStorage()
        return max(self.tolerance, 2e-3) if bits == 16 != usual.bits else self.tolerance

    def token_tolerance(self, bits: int) -> float:
        """Return how far numbers of token vectors may be from those of `memory:`.

        By default as far as scores may be.

        Args:
            bits: The bits of one number.
        """
        return self.colbert_tolerance(bits)

    # --- fixtures --------------------------------------------------------------------------------

    @pytest.fixture(autouse=True)
    def _not_yet(self, request: pytest.FixtureRequest) -> None:
        """Expect the failures that the flags announce; a test that passes all the same fails."""
        test = request.function
        name: str = request.node.name
        reason = self.not_yet.get(name, self.not_yet.get(name.partition("[")[0]))
        flag: str = getattr(test, "needs", "")
        if flag and not getattr(self, flag):
            reason = f"{flag} = False"
        if reason is not None:
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))

    @pytest.fixture
    def library(
        self, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
    ) -> Library:
        """Return the collections that the tests of this class share."""
        owner = request.node.getparent(pytest.Class)
        assert owner is not None, "subclass StoreContract; its tests are methods"
        library: Library | None = owner.stash.get(_LIBRARY, None)
        if library is None:
            library = Library(tmp_path_factory.mktemp("store"), single=self.single)
            owner.stash[_LIBRARY] = library
            owner.addfinalizer(library.close)
        return library

    @pytest.fixture
    def corpus(self) -> Corpus:
        """Return the documents and queries of most tests."""
        return corpus()

    @pytest.fixture
    def store(self, library: Library) -> Store:
        """Return a collection that exists and is empty."""
        store = self.share(library, "scratch", [], corpus().vectors.slice(0, 0))[0]
        store.delete(scanned_ids(store))
        return store

    @pytest.fixture
    def filled(self, library: Library, corpus: Corpus) -> Store:
        """Return a collection that holds the corpus, to be read only."""
        return self.share(library, "corpus", corpus.documents, corpus.vectors)[0]

    @pytest.fixture
    def oracle(self, library: Library, corpus: Corpus) -> Store:
        """Return the same collection in memory: the definition."""
        return self.share(library, "corpus", corpus.documents, corpus.vectors)[1]

    @pytest.fixture
    def fresh(self, library: Library) -> Iterator[Store]:
        """Yield a store whose collection does not exist yet."""
        with self.open(library.folder, library.name("fresh")) as store:
            yield store
            store.drop()

    # --- what tests call -------------------------------------------------------------------------

    def share(
        self,
        library: Library,
        contents: str,
        documents: Sequence[Document],
        vectors: Vectors,
    ) -> Handles:
        """Return a shared collection of the contract's schema and fields, and the same in memory.

        Args:
            library: The collections of this class.
            contents: What it holds, in a word, which its name begins with.
            documents: What is written into it.
            vectors: One row for each.
        """
        if contents not in library.shared:
            name = library.name(contents)
            store = self.open(library.folder, name)
            oracle = Store(MemoryBackend(f"oracle-{name}"))
            library.shared[contents] = store, oracle
            store.create(SCHEMA, fields=FIELDS, colbert=self.colbert, exist_ok=True)
            store.upsert(documents, vectors)
            oracle.create(SCHEMA, fields=FIELDS)
            oracle.upsert(documents, self.stored(vectors))
        return library.shared[contents]

    @contextmanager
    def handles(self, library: Library) -> Iterator[Handles]:
        """Yield two stores that both know one collection, which holds the document "a"."""
        name = library.name("handles")
        with self.open(library.folder, name) as one, self.open(library.folder, name) as two:
            try:
                one.create(SMALL, fields={"lang": str}, exist_ok=True)
                vectors = Vectors(dense=np.eye(1, 4, dtype=np.float32))
                one.upsert([Document("a", "", {"lang": "en"})], vectors)
                assert two.count() == 1
                query = Vector(dense=np.eye(1, 4, dtype=np.float32)[0])
                assert [hit.document.id for hit in two.search(query, mode="dense")] == ["a"]
                yield one, two
            finally:
                one.drop()
                two.drop()

    def assert_same_hits(self, got: Sequence[Hit], expected: Sequence[Hit]) -> None:
        """Compare hits with those of the oracle: ids, order, documents, every part of a score."""
        assert sorted(h.document.id for h in got) == sorted(h.document.id for h in expected)
        by_id = {hit.document.id: hit for hit in expected}
        for hit, at_this_rank in zip(got, expected, strict=True):
            same = by_id[hit.document.id]
            # Stored in 16 bits, documents nearer than the precision may change places.
            assert same.score == pytest.approx(at_this_rank.score, abs=2 * self.tolerance)
            if self.tolerance <= EXACT:
                assert hit.document.id == at_this_rank.document.id
            assert hit.document == same.document
            assert hit.score == pytest.approx(same.score, abs=self.tolerance)
            for part in (*PARTS, "hybrid"):
                score, wanted = getattr(hit.scores, part), getattr(same.scores, part)
                assert (score is None) == (wanted is None), part
                if wanted is not None:
                    assert score == pytest.approx(wanted, abs=self.tolerance), part

    def assert_same_vectors(self, got: Vectors | None, wanted: Vectors) -> None:
        """Compare vectors that came back with those that were written."""
        assert got is not None
        assert got.dense is not None
        assert wanted.dense is not None
        np.testing.assert_allclose(got.dense, wanted.dense, atol=self.tolerance)
        assert got.sparse is not None
        assert wanted.sparse is not None
        np.testing.assert_array_equal(got.sparse.indptr, wanted.sparse.indptr)
        np.testing.assert_array_equal(got.sparse.indices, wanted.sparse.indices)
        np.testing.assert_allclose(got.sparse.values, wanted.sparse.values, atol=self.tolerance)
        assert got.colbert is not None
        assert wanted.colbert is not None
        np.testing.assert_array_equal(got.colbert.indptr, wanted.colbert.indptr)
        np.testing.assert_allclose(got.colbert.values, wanted.colbert.values, atol=self.tolerance)
