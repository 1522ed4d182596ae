"""Filters against their definition, on values that databases read differently."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trivec import Document, F, Filter, Schema, Store, Vectors, open_store
from trivec.fields import FieldType
from trivec.filters import And, Or
from trivec.testing.contract.strategies import comparisons, trees
from trivec_qdrant.engines.client_filters import render
from trivec_qdrant.filters import Between, Match, lower
from trivec_qdrant.schema import Names

P = 2**53
INTS = [-(2**63), -P - 1, -P, -1, 0, 1, 2, P - 1, P, P + 1, P + 2, P + 3, 10**16, 2**63 - 1]
FLOATS = [-0.0, 0.3, 0.1 + 0.2, 1.0, 2.5, float(P), float(P + 2), 1e16, -1e300, 1e300, 2.0**63]
STRINGS = ["", "a", "A", "true", "1", "xyz A", "it's", "北京 🐋", "2026-01-31", "line\nbreak"]
DATES = [
    "2026-01-31",
    "2026-01-31T00:00:00Z",
    "2026-01-31 00:00:00",
    "2026-01-31T02:00:00+02:00",
    "2026-01-31T00:00:00.000001",
    "0001-01-01",
    "9999-12-31T23:59:59",
]
# Undeclared fields may hold anything.
ANYTHING: list[Any] = [
    *(None, [], {}, {"z": 1}, [None], [[1]], [{"b": 1}], [None, "a"], [True, 1], ["a", "b"]),
    *(True, False, *INTS, *FLOATS, *STRINGS, *DATES, [1, 2.5], [P + 1], ["xyz A", 3]),
]
DECLARED: dict[str, tuple[FieldType, list[Any]]] = {
    "i": (FieldType.INT, [None, *INTS]),
    "f": (FieldType.FLOAT, [None, *INTS, *FLOATS]),
    "s": (FieldType.STR, [None, *STRINGS]),
    "b": (FieldType.BOOL, [None, True, False]),
    "d": (FieldType.DATETIME, [None, *DATES]),
    "li": (FieldType.LIST_INT, [None, [], [1], [P, P + 1], [-1, 2**63 - 1]]),
    "ls": (FieldType.LIST_STR, [None, [], [""], ["a", "b"], ["xyz A"]]),
}
MOMENTS = [
    datetime(2026, 1, 31, tzinfo=UTC),
    datetime(2026, 1, 31, 0, 0, 0, 1),
    datetime.fromisoformat("2026-01-31T02:00:00+02:00"),
    datetime(1, 1, 2, tzinfo=UTC),
]
NUMBERS = st.sampled_from([*INTS, *FLOATS])
WANTED: dict[str, st.SearchStrategy[Any]] = {
    "x": st.sampled_from([*INTS, *FLOATS, *STRINGS, True, False, *MOMENTS]),
    "i": NUMBERS,
    "f": NUMBERS,
    "s": st.sampled_from(STRINGS),
    "b": st.booleans(),
    "d": st.sampled_from(MOMENTS),
    "li": NUMBERS,
    "ls": st.sampled_from(STRINGS),
}


def _documents() -> list[Document]:
    documents = [Document(f"x{i}", "", {"x": value}) for i, value in enumerate(ANYTHING)]
    documents.append(Document("none", ""))
    for name, (_, values) in DECLARED.items():
        documents += [Document(f"{name}{i}", "", {name: v}) for i, v in enumerate(values)]
    return documents


DOCUMENTS = _documents()


@pytest.fixture(params=["qdrant+edge:{folder}/{name}", "qdrant+memory:/{name}"], scope="module")
def store(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Store]:
    folder: Path = tmp_path_factory.mktemp("filters")
    name = f"filters_{uuid4().hex[:8]}"
    with open_store(request.param.format(folder=folder, name=name)) as store:
        store.create(
            Schema(dense=2, sparse=False, colbert=None),
            fields={name: kind for name, (kind, _) in DECLARED.items()},
        )
        store.upsert(DOCUMENTS, Vectors(dense=np.ones((len(DOCUMENTS), 2))))
        yield store
        store.drop()


COMPARISONS = comparisons(WANTED)
FILTERS = trees(COMPARISONS)


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(condition=COMPARISONS | FILTERS)
def test_filters_mean_what_the_definition_says(store: Store, condition: Filter) -> None:
    expected = sorted(d.id for d in DOCUMENTS if condition.matches(d.metadata))
    found = [d.id for page in store.scan(filter=condition) for d in page.documents]
    assert sorted(found) == expected


def test_integers_beyond_float64_are_told_apart(store: Store) -> None:
    def ids(condition: Filter) -> list[Any]:
        pages = store.scan(filter=condition)
        return sorted(d.metadata["i"] for page in pages for d in page.documents)

    assert ids(F("i") == P + 1) == [P + 1]
    assert ids(F("i") > P + 1) == [P + 2, P + 3, 10**16, 2**63 - 1]
    assert ids((F("i") >= P + 1) & (F("i") < P + 3)) == [P + 1, P + 2]
    assert ids((F("i") > -P - 1) & (F("i") < 0)) == [-P, -1]
    assert ids(F("i") > 2**63 - 1) == []
    assert ids(F("i") >= 2**63 - 1) == [2**63 - 1]


def test_half_numbers_bound_integers() -> None:
    fields = {"n": FieldType.INT}
    assert lower(F("n") >= 1.5, fields, Names()) == Between("metadata.n", gte=2.0)
    assert lower(F("n") < 1.5, fields, Names()) == Between("metadata.n", lte=1.0)
    assert lower(F("n") == 2.0, fields, Names()) == Match("metadata.n", [2])


@pytest.mark.parametrize(
    "condition",
    [
        F("a") == 1,
        ~(F("a") == 1),
        F("a").in_([]),
        F("a").not_in([]),
        And(()),
        Or(()),
        And((And(()), F("a").exists())),
        (F("a") == 1) | ~(F("a") == 1),
    ],
)
def test_no_filter_is_empty(condition: Filter) -> None:
    # An empty filter in a delete would delete everything.
    flt = render(lower(condition, {}, Names()))
    assert flt.must or flt.should or flt.must_not


def test_old_servers_compare_substrings_by_text() -> None:
    one: Callable[..., Any] = lambda **kw: render(lower(F("a").text("b"), {}, Names()), **kw)  # noqa: E731
    assert one(substring=True).must[0].match.substring == "b"
    assert one(substring=False).must[0].match.text == "b"
