"""Filters against `matches()`, on what the contract does not cover: anything undeclared."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from trivec import Document, F, Filter, Schema, Store, Vectors, open_store
from trivec.fields import field_types
from trivec.filters import And, Or
from trivec.testing.contract.strategies import trees
from trivec_milvus.filters import all_of, any_of_ids, render
from trivec_milvus.requests import Request
from trivec_milvus.schema import Layout

SCHEMA = Schema(dense=2, sparse=False, colbert=None)
FIELDS: dict[str, Any] = {"sizes": list[int], "title": str, "tags": list[str], "at": datetime}
COLUMNS = Layout(SCHEMA, field_types(FIELDS)).columns

# Fragments that mean something in an expression, in a pattern, or in our own encoding.
FRAGMENTS = [
    *("'", '"', "\\", "%", "_", "]", "[", ")", "(", "`", ";", "--", "{x}", "$meta", "{", "}"),
    *(" or ", " and ", " not ", " in ", "true", "1 == 1", "id", 'id != ""', "like", "null", "/*"),
    *("x'] or id in ['d1", "\\' or 1 == 1 or '", '" or true or "', "\\\\", '\\"', "\\n", "\\u0022"),
    *(
        "a",
        "B",
        "0",
        " ",
        "é",
        "北京",
        "🐋",
        "\ue000",
        "\ue022",
        "\ue080",
        "\ue081\ue125",
        "\ufeff",
    ),
]
CONTROLS = ["\n", "\r", "\t", "\0", "\x1f", "\x7f", "\u2028", "\x85"]


def _hostile(seed: int, count: int, fragments: list[str]) -> list[str]:
    rng = random.Random(seed)
    made = dict.fromkeys(
        "".join(rng.choices(fragments, k=rng.randint(1, 6))) for _ in range(3 * count)
    )
    return [text for text in made if len(text.encode()) <= 512][:count]


def _write(store: Store, documents: list[Document]) -> None:
    store.upsert(documents, Vectors(dense=np.ones((len(documents), 2), np.float32)))


def _found(store: Store, condition: Filter) -> set[str]:
    return {d.id for page in store.scan(filter=condition) for d in page.documents}


# --- meaning -----------------------------------------------------------------------------------

SCALARS: Any = (
    st.sampled_from(["a", "a%", "A", "ab", "_", "", "1", "true", '["a"]', "\n", "2020-01-31"])
    | st.sampled_from(["2020-01-31T01:00:00+01:00", "2020-13-01", "\ue000", "a\\"])
    | st.integers(-3, 3)
    | st.sampled_from([2**53, 2**53 + 1, -(2**63), 2**63 - 1, 0.5, -0.0, 2.0, 1e300])
    | st.booleans()
)
MOMENTS = st.sampled_from([datetime(2020, 1, 31, tzinfo=UTC), datetime(2020, 1, 31, 0, 0, 1)])
VALUES = SCALARS | st.none() | st.lists(SCALARS | st.none(), max_size=4)
METADATA = st.fixed_dictionaries(
    {},
    optional={
        "x": VALUES,
        "y": VALUES | st.fixed_dictionaries({"z": VALUES}),
        "sizes": st.none() | st.lists(st.integers(-3, 3), max_size=4),
        "title": st.none() | st.sampled_from(["", "50%", "a_b", "A", "a\\b", "'\"", "\ue025"]),
        "tags": st.lists(st.sampled_from(["", "a", "a%", "ab", "\n"]), max_size=3),
        "at": st.none() | st.sampled_from(["2020-01-31", "1999-12-31T23:59:59.999999Z"]),
    },
)
PATTERNS = st.sampled_from(["a", "%", "_", "\\", "b", "'", "\n", "\ue000", "50%", "a_"])


@st.composite
def comparisons(draw: st.DrawFn) -> Filter:
    path = draw(st.sampled_from(["x", "y", "y.z", "sizes", "title", "tags", "at", "nothing"]))
    field = F(path)
    kinds: dict[str, Any] = {
        "sizes": st.integers(-3, 3) | st.sampled_from([0.5, 2.0]),
        "title": st.sampled_from(["", "50%", "a_b", "a", "a\\b", "50"]),
        "tags": st.sampled_from(["", "a", "a%", "ab", "\n"]),
        "at": MOMENTS,
    }
    values = kinds.get(path, SCALARS | MOMENTS)
    value, several = draw(values), draw(st.lists(values, max_size=3))
    choices: list[Filter] = [field == value, field != value, field.in_(several), field.exists()]
    choices += [field.not_in(several), field.all(several), field.is_null()]
    if not isinstance(value, bool | str):
        choices += [field > value, field >= value, field < value, field <= value]
    if path not in ("sizes", "at"):
        choices.append(field.text(draw(PATTERNS)))
    return draw(st.sampled_from(choices))


FILTERS = trees(comparisons())


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    """Return 150 documents with any metadata, the same in every run."""
    made: list[Document] = []

    @settings(max_examples=150, derandomize=True, database=None, deadline=None)
    @given(METADATA)
    def collect(metadata: dict[str, Any]) -> None:
        made.append(Document(f"d{len(made)}", "", metadata))

    collect()
    return made


@pytest.fixture(scope="module")
def filled(lite_url: str, keep_lite_open: None, documents: list[Document]) -> Iterator[Store]:
    with open_store(f"{lite_url}/filters") as store:
        store.create(SCHEMA, fields=FIELDS)
        _write(store, documents[:100])
        store._handle.backend.send(Request("flush", {}))
        _write(store, documents[100:])  # rows in memory are filtered by other code than files
        yield store
        store.drop()


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example(F("x") > 2**53)
@example(~(F("y.z") < 0))
@example(F("x") >= datetime(2020, 1, 31, tzinfo=UTC))
@example(F("nothing").text("%"))
@given(condition=FILTERS)
def test_any_filter_on_any_metadata_is_exact(
    filled: Store, documents: list[Document], condition: Filter
) -> None:
    expected = {d.id for d in documents if condition.matches(d.metadata)}
    assert _found(filled, condition) == expected
    assert filled.count(condition) == len(expected)


def test_a_replaced_document_keeps_nothing_of_its_filters(
    open_milvus: Any, milvus_url: str
) -> None:
    store = open_milvus(milvus_url)
    store.create(SCHEMA, fields={"year": int})
    _write(store, [Document("a", "", {"year": 1, "old": [1, 2], "both": "x"})])
    _write(store, [Document("a", "", {"new": 3, "both": "y"})])
    for gone in (F("year").exists(), F("old").exists(), F("old") > 1, F("both") == "x"):
        assert store.count(gone) == 0
    for there in (F("year").is_null(), F("new") == 3, F("both") == "y"):
        assert store.count(there) == 1


# --- injection ---------------------------------------------------------------------------------


def test_two_thousand_hostile_ids_and_values_mean_only_themselves(
    open_milvus: Any, lite_url: str
) -> None:
    ids = _hostile(1, 1000, FRAGMENTS)
    values = _hostile(2, 1000, FRAGMENTS + CONTROLS)
    assert len(ids) == len(values) == 1000
    store = open_milvus(lite_url)
    store.create(SCHEMA, fields={"title": str, "tags": list[str]})
    documents = [
        Document(one, "", {"title": value, "tags": [value], "free": value})
        for one, value in zip(ids, values, strict=True)
    ]
    _write(store, documents)
    for one, document in zip(ids, documents, strict=True):
        assert store.get([one]).documents == [document]
    for path in ("title", "tags", "free"):
        some = values[::3] if path != "title" else values
        for value in some:
            assert store.count(F(path) == value) == 1
    for value in values[:200]:
        expected = sum(value in other for other in values)
        assert store.count(F("title").text(value)) == store.count(F("free").text(value)) == expected
    assert store.count(F("free").in_(values)) == 1000
    store.delete(ids[::2])
    assert _found(store, F("title").exists()) == set(ids[1::2])
    for value in values[1::100]:
        store.delete_where(F("free") == value)
    assert store.count() == 500 - len(values[1::100])


@given(st.text(), st.sampled_from(["title", "free", "tags"]))
def test_no_text_ends_its_literal(text: str, path: str) -> None:
    tokenizer = pytest.importorskip("milvus_lite.search.filter.tokens")
    for condition in (F(path) == text, F(path).in_([text]), F(path).text(text or "x")):
        kinds = [t.kind.name for t in tokenizer.tokenize(render(condition, COLUMNS, id_field="id"))]
        plain = F(path) == "x", F(path).in_(["x"]), F(path).text("x")
        harmless = (
            plain[0]
            if condition.op == plain[0].op
            else next(p for p in plain if p.op == condition.op)
        )
        expected = tokenizer.tokenize(render(harmless, COLUMNS, id_field="id"))
        assert kinds == [t.kind.name for t in expected]


@given(st.lists(st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1), min_size=1))
def test_no_id_ends_its_literal(ids: list[str]) -> None:
    tokenizer = pytest.importorskip("milvus_lite.search.filter.tokens")
    tokens = tokenizer.tokenize(any_of_ids("id", ids))
    assert [t.value for t in tokens if t.kind.name == "STRING"] == ids


# --- rendering ---------------------------------------------------------------------------------


def test_declared_fields_are_compared_in_a_way_that_an_index_serves() -> None:
    shown = render(F("title") == "x", COLUMNS, id_field="id")
    assert shown == 'f_title == "\ue080x\ue080"'
    assert render(F("title").in_(["a"]), COLUMNS, id_field="id") == 'f_title in ["\ue080a\ue080"]'
    assert " like " in render(F("tags") == "x", COLUMNS, id_field="id")


def test_nothing_to_compare_is_everything_or_nothing() -> None:
    assert render(None, COLUMNS, id_field="pk") == ""
    assert render(And(()), COLUMNS, id_field="pk") == 'pk != ""'
    assert render(Or(()), COLUMNS, id_field="pk") == 'pk == ""'
    assert render(F("x").in_([]), COLUMNS, id_field="pk") == 'pk == ""'
    assert render(F("x") == "\ud800", COLUMNS, id_field="pk") == 'pk == ""'
    assert all_of("", "") == ""
