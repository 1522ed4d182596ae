"""Filters against `matches()` on values that databases read in ways of their own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from itertools import compress
from typing import Any, NamedTuple

import numpy as np
import pytest
from filter_trees import comparisons, trees
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spellings import INSTANTS as SPELLINGS
from spellings import NO_INSTANTS

from trivec import Document, F, Filter, Store
from trivec.errors import InvalidDocumentError, InvalidFilterError
from trivec.filters.declared import fit_filter
from trivec.search import Mode

P = 2**53
INTS = [-(2**63), -P - 1, -P, -1, 0, 1, 2, P - 1, P, P + 1, P + 2, P + 3, 10**16, 2**63 - 1]
FLOATS = [
    *(-0.0, 5e-324, 0.3, 0.1 + 0.2, 1.0, 2.5, 16777217.0, float(np.float32(0.1)), 0.1),
    *(float(P), float(P + 2), 1e16, 1e308, -1.7976931348623157e308, 2.0**63, -(2.0**63)),
]
STRINGS = [
    *("", " ", "a", "A", "a ", " a", "ab", "true", "True", "1", "1.0", "null", "it's", 'say "hi"'),
    *("50%", "5_%", "*", "?", "back\\slash", "\\", "a,b", "|a|", "line\nbreak", "tab\there"),
    *("é", "e\u0301", "ß", "ss", "İ", "i̇", "ﬁ", "北京 🐋", "\u200b", "a\u00a0b", "Straße 12"),
    *("\ue080", "\ue041", "\ue081\ue141", "2020-06-01", "or true", "a b c"),
]
INSTANTS = list(SPELLINGS)
ANYTHING: list[Any] = [
    *(
        None,
        [],
        {},
        {"z": 1},
        [None],
        [[1]],
        [["a"]],
        [{"b": 1}],
        [None, "a"],
        [True, 1],
        ["a", "b"],
    ),
    *(True, False, *INTS, *FLOATS, *STRINGS, *INSTANTS, *NO_INSTANTS, "nul\x00", "\x7f"),
    *([1, 2.5], [P + 1, "x"], ["A b", 3], [0, "0", False], ["2020-6-1", "2020-06-01T10:00"]),
    *([INSTANTS[3], NO_INSTANTS[0]], ["1999-01-01", "2021-01-01"], [1, 3], [1.5], ["", None]),
]
NESTED: list[dict[str, Any]] = [
    {"o": {"p": 1}},
    {"o": {"p": "2020-06-01T10:00:00+0200"}},
    {"o": [{"p": 1}]},
    {"o": [{"p": "2020-06-01"}]},
    {"o.p": 1},
    {"o.p": "2020-06-01"},
    {"o": {"p": {"q": "2020-06-01"}}},
    {"o": {"p": ["2020-6-1"]}},
    {"o": "p"},
    {"o[]": {"p": 1}},
    {"o": {"0": 1, "_0": 2, "p.q": "2020-06-01"}},
]
DECLARED: dict[str, list[Any]] = {
    "lang": [None, *STRINGS, *INSTANTS[:4], *NO_INSTANTS[:4]],
    "year": [None, *INTS],
    "price": [None, *INTS, *FLOATS],
    "flag": [None, True, False],
    "when": [None, *INSTANTS],
    "tags": [None, [], [""], ["a", "b"], ["ab"], ["a ", "50%"], ["2020-06-01"]],
    "sizes": [None, [], [1], [1, 3], [P, P + 1], [-(2**63), 2**63 - 1]],
}
MOMENTS = [
    datetime(2020, 6, 1, tzinfo=UTC),
    datetime(2020, 6, 1, 10),
    datetime(2020, 6, 1, 10, 0, 0, 123456, tzinfo=UTC),
    datetime(2020, 6, 1, 12, 0, 0, 500000, tzinfo=timezone(timedelta(hours=2))),
    datetime(2017, 1, 1, tzinfo=UTC),
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
]
NUMBERS = st.sampled_from([*INTS, *FLOATS])
TEXTS = st.sampled_from(STRINGS)
WANTED: dict[str, st.SearchStrategy[Any]] = {
    "x": st.sampled_from(
        [*INTS, *FLOATS, *STRINGS, *INSTANTS, *NO_INSTANTS, True, False, *MOMENTS * 8]
    ),
    "o.p": st.sampled_from([1, 2, *MOMENTS]),
    "o.p.q": st.sampled_from([1, *MOMENTS]),
    "lang": TEXTS,
    "year": NUMBERS,
    "price": NUMBERS,
    "flag": st.booleans(),
    "when": st.sampled_from([*MOMENTS, *INSTANTS]),
    "tags": TEXTS,
    "sizes": NUMBERS,
}
UNDECLARED = ("x", "o.p", "o.p.q")


def _documents() -> list[Document]:
    documents = [Document(f"x-{i}", "", {"x": value}) for i, value in enumerate(ANYTHING)]
    documents += [Document(f"o-{i}", "", metadata) for i, metadata in enumerate(NESTED)]
    documents.append(Document("none", ""))
    for name, values in DECLARED.items():
        documents += [Document(f"{name}-{i}", "", {name: v}) for i, v in enumerate(values)]
    return documents


DOCUMENTS = _documents()


@pytest.fixture(scope="module")
def hostile(shared: Store, corpus: Any) -> Hostile:
    """Return the module's collection holding the hostile documents; such modules only read."""
    documents = DOCUMENTS
    if shared.declared_only:  # Vespa, whose floats are float64, and which says so
        prices = (document.metadata.get("price") for document in DOCUMENTS)
        exact = [not isinstance(price, int) or int(float(price)) == price for price in prices]
        documents = list(compress(DOCUMENTS, exact))
        with pytest.raises(InvalidDocumentError, match="would round"):
            shared.upsert(DOCUMENTS, corpus.vectors.take(np.arange(len(DOCUMENTS)) % 120))
    shared.upsert(documents, corpus.vectors.take(np.arange(len(documents)) % 120))
    return Hostile(shared, documents)


class Hostile(NamedTuple):
    """A collection and what it holds."""

    store: Store
    documents: Sequence[Document]


COMPARISONS = comparisons(WANTED, no_text=("when",))
FILTERS = trees(COMPARISONS)


def _check(hostile: Hostile, condition: Filter) -> None:
    store = hostile.store
    paths = {comparison.path for comparison in condition.comparisons()}
    if store.declared_only and not paths <= set(DECLARED):
        with pytest.raises(InvalidFilterError, match="declared fields only"):
            store.count(condition)
        return
    typed = fit_filter(condition, store.fields)
    expected = sorted(d.id for d in hostile.documents if typed.matches(d.metadata))
    found = [d.id for page in store.scan(filter=condition) for d in page.documents]
    assert sorted(found) == expected
    assert store.count(condition) == len(expected)


CALM = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@CALM
@given(condition=COMPARISONS)
def test_single_comparisons(hostile: Hostile, condition: Filter) -> None:
    _check(hostile, condition)


@CALM
@given(condition=FILTERS)
def test_trees(hostile: Hostile, condition: Filter) -> None:
    _check(hostile, condition)


def test_metadata_comes_back_as_it_was(hostile: Hostile) -> None:
    found = {d.id: d for page in hostile.store.scan() for d in page.documents}
    assert len(found) == len(hostile.documents)
    for document in hostile.documents:
        assert repr(found[document.id]) == repr(document)  # 1 == 1.0 == True in Python


@pytest.mark.parametrize("mode", ["dense", "sparse", "hybrid", "rrf"])
def test_searches_see_the_same_instants(hostile: Hostile, corpus: Any, mode: Mode) -> None:
    path = "when" if hostile.store.declared_only else "x"
    condition = F(path) >= datetime(2020, 6, 1, tzinfo=UTC)
    matching = {d.id for d in hostile.documents if condition.matches(d.metadata)}
    every, some = (
        hostile.store.search(corpus.queries[0], mode=mode, k=500, candidates=500, filter=f)
        for f in (None, condition)
    )
    assert {hit.document.id for hit in some} == {hit.document.id for hit in every} & matching
    assert some
