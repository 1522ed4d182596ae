"""Views: stores that create their collection, or are bound to a filter."""

from __future__ import annotations

import pytest

from trivec.document import Document
from trivec.errors import CollectionNotFoundError, InvalidDocumentError, SchemaMismatchError
from trivec.filters import F
from trivec.search import MODES
from trivec.stores.store import Store
from trivec.testing.contract.base import ContractBase
from trivec.testing.contract.corpus import SCHEMA, Corpus, small_vectors

BOUND = F("year") >= 2020


class ViewRules(ContractBase):
    """Views of a collection: what they show, and what they leave alone."""

    def test_the_first_write_of_a_view_creates_the_collection(self, fresh: Store) -> None:
        view = fresh.view(creates=True, model="small", fields={"lang": str})
        assert view.count() == 0
        assert view.get(["a"]).documents == []
        assert list(view.scan()) == []
        view.delete(["a"])
        with pytest.raises(CollectionNotFoundError):
            fresh.describe()
        view.upsert([Document("a", "", {"lang": "en"})], small_vectors())
        assert fresh.count(F("lang") == "en") == 1
        assert fresh.schema.model == "small"
        with pytest.raises(SchemaMismatchError, match="other"):
            fresh.view(creates=True, model="other").upsert([Document("b", "")], small_vectors())

    def test_a_bound_view_shows_only_what_satisfies_the_bound(
        self, filled: Store, oracle: Store, corpus: Corpus
    ) -> None:
        view = filled.view(bound=lambda: BOUND)
        inside = [d for d in corpus.documents if BOUND.matches(d.metadata)]
        outside = [d for d in corpus.documents if not BOUND.matches(d.metadata)]
        assert view.count() == len(inside)
        assert view.get([d.id for d in corpus.documents]).documents == inside
        ids = [d.id for page in view.scan(batch_size=50) for d in page.documents]
        assert sorted(ids) == [d.id for d in inside]
        german = F("lang") == "de"
        assert view.count(german) == sum(german.matches(d.metadata) for d in inside)
        for mode in MODES:
            hits = view.search(corpus.queries[0], mode=mode, k=20)
            expected = oracle.search(corpus.queries[0], mode=mode, k=20, filter=BOUND)
            self.assert_same_hits(hits, expected)
        assert outside

    def test_a_bound_view_writes_and_deletes_within_the_bound(
        self, store: Store, corpus: Corpus
    ) -> None:
        store.upsert(corpus.documents[:40], corpus.vectors.slice(0, 40))
        view = store.view(bound=lambda: BOUND)
        inside, outside = (
            [d for d in corpus.documents[:40] if BOUND.matches(d.metadata) == within]
            for within in (True, False)
        )
        one = corpus.vectors.slice(0, 1)
        with pytest.raises(InvalidDocumentError, match="does not satisfy the filter"):
            view.upsert([Document("new", "", {"year": 2000})], one)
        with pytest.raises(InvalidDocumentError, match="outside"):
            view.upsert([Document(outside[0].id, "", {"year": 2024})], one)
        view.delete([outside[0].id, inside[0].id])
        view.delete_where(F("year") == inside[1].metadata["year"])
        left = [d for d in inside[1:] if d.metadata["year"] != inside[1].metadata["year"]]
        assert store.count() == len(left) + len(outside)
        view.clear()
        assert sorted(d.id for p in store.scan() for d in p.documents) == [d.id for d in outside]

    def test_clear_keeps_the_collection(self, store: Store, corpus: Corpus) -> None:
        store.upsert(corpus.documents[:5], corpus.vectors.slice(0, 5))
        fields = dict(store.fields)
        store.clear()
        assert store.count() == 0
        assert store.schema == SCHEMA
        assert dict(store.fields) == fields
