"""How a collection keeps token vectors: in few bits, pooled and pruned, as `memory:` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from trivec.colbert_storage import ColbertStorage, Overflow
from trivec.collection import Page
from trivec.document import Document
from trivec.errors import (
    CollectionNotFoundError,
    InvalidDocumentError,
    InvalidOptionError,
    InvalidVectorsError,
    SchemaMismatchError,
)
from trivec.filters import F
from trivec.hit import Hit
from trivec.rows import TokenRows
from trivec.search import MODES, Mode, Search
from trivec.stores.memory import MemoryBackend
from trivec.stores.reduction import reduced
from trivec.stores.store import Store
from trivec.testing.contract.base import EXACT, ContractBase, needs
from trivec.testing.contract.corpus import FIELDS, SCHEMA, Corpus, corpus, unit
from trivec.testing.contract.library import Library
from trivec.vectors import Vectors

_TEXTS = 40
_LONGEST = 24  # token vectors
_FILTER = (F("year") >= 2018) & ~(F("flag") == True)  # noqa: E712


@lru_cache(maxsize=1)
def token_corpus() -> Corpus:
    """Return texts of up to 24 tokens with lexical weights, so that there is something to pool.

    Each 9th text has no token vector. Lengths and directions differ, as do the factors of tokens.
    """
    rng = np.random.default_rng(12)
    whole = corpus()
    tokens = [
        unit(rng, 0 if row % 9 == 8 else int(rng.integers(1, _LONGEST + 1)), 16)
        for row in range(_TEXTS)
    ]
    tokens[1::2] = [values * np.abs(values) for values in tokens[1::2]]
    rows = TokenRows.from_arrays(tokens, dim=16)
    rows = replace(rows, weights=rng.random(len(rows.values)).astype(np.float32))
    vectors = replace(whole.vectors.slice(0, _TEXTS), colbert=rows)
    return Corpus(whole.documents[:_TEXTS], vectors, whole.queries)


@dataclass(frozen=True)
class Kept:
    """A collection that keeps token vectors in some way, and the same in memory."""

    storage: ColbertStorage
    store: Store
    oracle: Store


class StorageRules(ContractBase):
    """How a collection keeps token vectors."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run the tests of `kept` for each of `storages`."""
        if "kept" in metafunc.fixturenames:
            metafunc.parametrize("kept", self.storages, ids=str, indirect=True)

    @pytest.fixture
    def kept(self, request: pytest.FixtureRequest, library: Library) -> Kept:
        """Return a collection that keeps its token vectors as the parameter says."""
        storage: ColbertStorage = request.param
        contents = f"kept {storage}"
        if contents not in library.shared:
            documents, vectors = token_corpus().documents, token_corpus().vectors
            name = library.name("kept")
            store = self.open(library.folder, name)
            if not _creates(store, storage):
                store.close()
                pytest.skip(f"this database does not offer {storage.bits} bits")
            oracle = Store(MemoryBackend(f"oracle-{name}"))
            library.shared[contents] = store, oracle
            store.upsert(documents, vectors)
            oracle.create(SCHEMA, fields=FIELDS, colbert=storage)
            oracle.upsert(documents, self._reduced(vectors, storage))
        return Kept(storage, *library.shared[contents])

    @pytest.fixture
    def smallest(self, fresh: Store) -> ColbertStorage:
        """Create the collection with the fewest bits that the database offers, and return how."""
        return create_smallest(fresh)

    def _reduced(self, vectors: Vectors, storage: ColbertStorage) -> Vectors:
        """Return vectors as the database gets them, rounded as it rounds dense vectors and 16 bits.

        Fewer bits are levels and factors, which need no rounding.
        """
        assert vectors.colbert is not None
        tokens = reduced(vectors.colbert, storage)
        stored = self.stored(replace(vectors, colbert=tokens))
        assert stored.colbert is not None
        values = stored.colbert.values if storage.bits == 16 else tokens.values
        return replace(stored, colbert=replace(tokens, values=values))

    # --- the same as in memory -------------------------------------------------------------------

    def test_hits_are_those_of_memory_with_the_same_storage(self, kept: Kept) -> None:
        queries = list(token_corpus().queries)[:2]
        for mode, condition in [*((mode, None) for mode in MODES), ("hybrid", _FILTER)]:
            options: dict[str, Any] = {"mode": mode, "k": 1000, "filter": condition}
            answers = kept.store.search_many(queries, **options)
            expected = kept.oracle.search_many(queries, **options)
            for got, wanted in zip(answers, expected, strict=True):
                self._assert_same_hits(kept, mode, got, wanted)
        best = kept.store.search(queries[0], mode="colbert", k=5)
        wanted = kept.oracle.search(queries[0], mode="colbert", k=5)
        tolerance = self.colbert_tolerance(kept.storage.bits)
        np.testing.assert_allclose(
            [hit.score for hit in best], [hit.score for hit in wanted], atol=tolerance
        )

    def test_vectors_are_those_of_memory_with_the_same_storage(self, kept: Kept) -> None:
        documents = token_corpus().documents
        wanted = kept.oracle.get([d.id for d in documents], with_vectors=True)
        self._assert_same_page(kept, self._everything(kept.store), wanted)
        scanned = list(kept.store.scan(batch_size=25, with_vectors=True))
        assert sum(len(page.documents) for page in scanned) == len(documents)
        for page in scanned:
            same = kept.oracle.get([d.id for d in page.documents], with_vectors=True)
            self._assert_same_page(kept, page, same)

    def test_vectors_that_were_read_can_be_written_again(self, kept: Kept) -> None:
        """Nothing is pruned, pooled or rounded twice."""
        before = self._everything(kept.store)
        for page in list(kept.store.scan(batch_size=25, with_vectors=True)):
            assert page.vectors is not None
            kept.store.upsert(page.documents, page.vectors)
        self._assert_same_page(kept, self._everything(kept.store), before)

    # --- a property of the collection ------------------------------------------------------------

    def test_a_collection_says_how_it_keeps_token_vectors(
        self, fresh: Store, smallest: ColbertStorage
    ) -> None:
        assert fresh.describe().colbert == smallest
        fresh.create(SCHEMA, fields=FIELDS, colbert=smallest, exist_ok=True)
        fresh.create(SCHEMA, fields=FIELDS, exist_ok=True)
        for other in (
            replace(smallest, pool=3),
            replace(smallest, pool=1),
            replace(smallest, prune=0),
            replace(smallest, prune=0.5),
            *(replace(smallest, bits=b) for b in fresh.limits.colbert_bits if b != smallest.bits),
        ):
            with pytest.raises(SchemaMismatchError, match=f"keeps token vectors as '{smallest}'"):
                fresh.create(SCHEMA, fields=FIELDS, colbert=other, exist_ok=True)
        assert fresh.describe().colbert == smallest
        fresh.upsert(token_corpus().documents, token_corpus().vectors)
        fresh.clear()
        assert fresh.describe().colbert == smallest

    @needs("persistent")
    def test_how_token_vectors_are_kept_is_known_to_the_next_store(self, library: Library) -> None:
        name = library.name("kept")
        documents, vectors = token_corpus().documents[:9], token_corpus().vectors.slice(0, 9)
        with self.open(library.folder, name) as store:
            storage = create_smallest(store)
            store.upsert(documents[:4], vectors.slice(0, 4))
        with self.open(library.folder, name) as store:
            try:
                assert store.describe().colbert == storage
                store.upsert(documents[4:], vectors.slice(4, 9))
                assert vectors.colbert is not None
                expected = [storage.kept(int(n)) for n in np.diff(vectors.colbert.indptr)]
                assert _lengths(self._everything(store)) == expected
            finally:
                store.drop()

    def test_bits_that_are_not_offered_are_refused(self, fresh: Store) -> None:
        offered = fresh.limits.colbert_bits
        assert set(offered) <= set(ColbertStorage.BITS)
        for bits in set(ColbertStorage.BITS) - set(offered):
            with pytest.raises(InvalidOptionError, match=f"got bits={bits}; the nearest is"):
                fresh.create(SCHEMA, fields=FIELDS, colbert=ColbertStorage(bits))
        if min(offered) < 8:
            odd = replace(SCHEMA, colbert=17)
            with pytest.raises(InvalidOptionError, match="multiple of"):
                fresh.create(odd, fields=FIELDS, colbert=ColbertStorage(min(offered)))
        with pytest.raises(CollectionNotFoundError):
            fresh.describe()

    # --- writes that are refused -----------------------------------------------------------------

    def test_vectors_that_hold_less_than_the_collection_keeps_are_refused(
        self, fresh: Store, smallest: ColbertStorage
    ) -> None:
        documents, vectors = token_corpus().documents[:9], token_corpus().vectors.slice(0, 9)
        assert vectors.colbert is not None
        smaller_ones = [replace(smallest, pool=4), replace(smallest, prune=0.5)]
        if smallest.bits > 1:
            smaller_ones.append(replace(smallest, bits=min(8, smallest.bits // 2)))
        for less in smaller_ones:
            kept = replace(vectors, colbert=reduced(vectors.colbert, less))
            with pytest.raises(InvalidVectorsError, match=f"kept as {less} cannot be kept as"):
                fresh.upsert(documents, kept)
            assert fresh.count() == 0

    def test_pruning_needs_lexical_weights(self, fresh: Store, smallest: ColbertStorage) -> None:
        documents, vectors = token_corpus().documents[:9], token_corpus().vectors.slice(0, 9)
        assert vectors.colbert is not None
        without = replace(vectors, colbert=replace(vectors.colbert, weights=None))
        with pytest.raises(InvalidVectorsError, match="prune needs the lexical weight"):
            fresh.upsert(documents, without)
        assert fresh.count() == 0
        fresh.upsert([], without.slice(0, 0))
        fresh.upsert(documents[8:], without.slice(8, 9))  # a text without tokens
        assert fresh.count() == 1

    @pytest.mark.parametrize("policy", ["pool", "truncate", "drop", "error"])
    def test_what_is_too_long_after_pooling_overflows(self, fresh: Store, policy: Overflow) -> None:
        limit = fresh.limits.max_colbert_rows(16)
        if limit is None or limit > 5000:
            pytest.skip("no document of a test has as many token vectors as this database takes")
        handle = fresh._handle
        options = replace(handle.options, colbert_overflow=policy)
        store = Store(handle.backend, options, address=fresh.address)
        store.create(SCHEMA, fields=FIELDS, colbert=ColbertStorage(pool=2))
        rng = np.random.default_rng(3)
        tokens = TokenRows.from_arrays([unit(rng, n, 16) for n in (2 * limit, 2 * limit + 2)])
        vectors = replace(token_corpus().vectors.slice(0, 2), colbert=tokens)
        documents = [Document("fits", ""), Document("over", "")]
        if policy == "error":
            with pytest.raises(InvalidDocumentError, match=f"'over': {limit + 1} ColBERT vectors"):
                store.upsert(documents, vectors)
            assert store.count() == 0
            return
        assert store.upsert(documents, vectors).overflowed == ("over",)
        page = store.get(["fits", "over"], with_vectors=True)
        assert _lengths(page) == [limit, 0 if policy == "drop" else limit]

    # --- comparisons -----------------------------------------------------------------------------

    def _everything(self, store: Store) -> Page:
        """Return all documents of the corpus that the collection holds, with their vectors."""
        return store.get([d.id for d in token_corpus().documents], with_vectors=True)

    def _assert_same_page(self, kept: Kept, got: Page, wanted: Page) -> None:
        assert got.documents == wanted.documents
        assert got.vectors is not None
        assert wanted.vectors is not None
        assert got.vectors.colbert is not None
        assert wanted.vectors.colbert is not None
        if kept.storage.reduces:
            assert got.vectors.colbert.storage == kept.storage
        assert _lengths(got) == _lengths(wanted)
        np.testing.assert_allclose(
            got.vectors.colbert.values.astype(np.float32),
            wanted.vectors.colbert.values.astype(np.float32),
            atol=self.token_tolerance(kept.storage.bits),
        )
        self.assert_same_vectors(
            replace(got.vectors, colbert=wanted.vectors.colbert), wanted.vectors
        )

    def _assert_same_hits(
        self, kept: Kept, mode: Mode, got: Sequence[Hit], wanted: Sequence[Hit]
    ) -> None:
        """Compare all hits: documents nearer than the tolerance may change places."""
        assert sorted(h.document.id for h in got) == sorted(h.document.id for h in wanted)
        parts = Search(mode=mode).parts
        part_tolerance = self.colbert_tolerance(kept.storage.bits)
        by_id = {hit.document.id: hit for hit in wanted}
        tolerance = self.tolerance
        if "colbert" in parts and mode != "rrf":
            tolerance = max(tolerance, part_tolerance)
        for hit, at_this_rank in zip(got, wanted, strict=True):
            same = by_id[hit.document.id]
            assert hit.document == same.document
            assert hit.score == pytest.approx(same.score, abs=tolerance)
            assert same.score == pytest.approx(at_this_rank.score, abs=2 * tolerance)
            if tolerance <= EXACT:
                assert hit.document.id == at_this_rank.document.id
            for part in ("dense", "sparse", "colbert"):
                score, expected = getattr(hit.scores, part), getattr(same.scores, part)
                assert (score is None) == (expected is None), part
                near = part_tolerance if part == "colbert" else self.tolerance
                if expected is not None:
                    assert score == pytest.approx(expected, abs=near), part


def _creates(store: Store, storage: ColbertStorage) -> bool:
    """Create a collection unless the database, in its version, does not offer the bits."""
    if storage.bits not in store.limits.colbert_bits:
        return False
    try:
        store.create(SCHEMA, fields=FIELDS, colbert=storage, exist_ok=True)
    except InvalidOptionError:
        with pytest.raises(CollectionNotFoundError):
            store.describe()
        return False
    return True


def create_smallest(store: Store) -> ColbertStorage:
    """Create a collection with the fewest bits that the database offers; return how it keeps."""
    for bits in sorted(store.limits.colbert_bits):
        storage = ColbertStorage(bits, pool=2, prune=1 / 3)
        if _creates(store, storage):
            return storage
    raise AssertionError(f"no collection can be created with bits of {store.limits.colbert_bits}")


def _lengths(page: Page) -> list[int]:
    """Return how many token vectors each document has."""
    assert page.vectors is not None
    assert page.vectors.colbert is not None
    return [int(length) for length in np.diff(page.vectors.colbert.indptr)]
