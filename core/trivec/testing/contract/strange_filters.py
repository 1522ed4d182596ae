"""Filters against `matches()` on values that databases read in ways of their own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import pytest

from trivec.document import Document
from trivec.errors import InvalidDocumentError, InvalidFilterError
from trivec.filters import F, Filter
from trivec.filters.declared import fit_filter
from trivec.search import Mode
from trivec.stores.store import Store
from trivec.testing.contract.base import ContractBase, check_random_filters, scanned_ids
from trivec.testing.contract.corpus import Corpus
from trivec.testing.contract.library import Library
from trivec.testing.contract.strange_values import DECLARED, DOCUMENTS


class Strange(NamedTuple):
    """A collection and what it holds."""

    store: Store
    documents: Sequence[Document]


class StrangeFilterRules(ContractBase):
    """Filters on values that databases read in ways of their own."""

    @pytest.fixture
    def strange(self, library: Library, corpus: Corpus) -> Strange:
        """Return a collection of strange values, to be read only."""
        documents = DOCUMENTS
        if self.float64_fields:
            prices = [document.metadata.get("price") for document in DOCUMENTS]
            documents = [
                document
                for document, price in zip(DOCUMENTS, prices, strict=True)
                if not isinstance(price, int) or int(float(price)) == price
            ]
        rows = corpus.vectors.take(np.arange(len(documents)) % 120)
        return Strange(self.share(library, "strange", documents, rows)[0], documents)

    def test_an_integer_that_a_float_field_would_round_is_refused(
        self, store: Store, corpus: Corpus
    ) -> None:
        rounded = Document("rounded", "", {"price": 2**53 + 1})
        if self.float64_fields:
            with pytest.raises(InvalidDocumentError, match="would round"):
                store.upsert([rounded], corpus.vectors.slice(0, 1))
        else:
            store.upsert([rounded], corpus.vectors.slice(0, 1))
            assert repr(store.get(["rounded"]).documents) == repr([rounded])

    def test_single_comparisons_of_strange_values(self, strange: Strange) -> None:
        check_random_filters(
            "strange comparisons", lambda given: _check(strange, given), self.examples
        )

    def test_trees_of_strange_values(self, strange: Strange) -> None:
        check_random_filters("strange trees", lambda given: _check(strange, given), self.examples)

    def test_strange_metadata_comes_back_unchanged(self, strange: Strange) -> None:
        found = {d.id: d for page in strange.store.scan() for d in page.documents}
        assert len(found) == len(strange.documents)
        for document in strange.documents:
            assert repr(found[document.id]) == repr(document)  # 1 == 1.0 == True in Python

    @pytest.mark.parametrize("mode", ["dense", "sparse", "hybrid", "rrf"])
    def test_searches_see_the_same_instants(
        self, strange: Strange, corpus: Corpus, mode: Mode
    ) -> None:
        path = "when" if strange.store.limits.declared_fields_only else "x"
        condition = F(path) >= datetime(2020, 6, 1, tzinfo=UTC)
        matching = {d.id for d in strange.documents if condition.matches(d.metadata)}
        every, some = (
            strange.store.search(corpus.queries[0], mode=mode, k=500, candidates=500, filter=f)
            for f in (None, condition)
        )
        assert {hit.document.id for hit in some} == {hit.document.id for hit in every} & matching
        assert some


def _check(strange: Strange, condition: Filter) -> None:
    store = strange.store
    paths = {comparison.path for comparison in condition.comparisons()}
    if store.limits.declared_fields_only and not paths <= set(DECLARED):
        with pytest.raises(InvalidFilterError, match="declared fields only"):
            store.count(condition)
        return
    typed = fit_filter(condition, store.fields)
    expected = sorted(d.id for d in strange.documents if typed.matches(d.metadata))
    assert scanned_ids(store, filter=condition) == expected
    assert store.count(condition) == len(expected)
