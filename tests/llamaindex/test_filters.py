"""LlamaIndex's filters against its own evaluator and against ours."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode
from llama_index.core.vector_stores.utils import build_metadata_filter_fn

from trivec import F, Filter, Store
from trivec.errors import InvalidFilterError
from trivec.fields import FieldType
from trivec.plain import Json
from trivec_llamaindex import TrivecVectorStore
from trivec_llamaindex.filters import to_filter

Op = FilterOperator
AND, OR, NOT = FilterCondition.AND, FilterCondition.OR, FilterCondition.NOT

METADATA: list[dict[str, Json]] = [
    {"lang": "en", "year": 2019, "tags": ["a", "b"], "price": 0.3, "flag": True},
    {"lang": "de", "year": 2024, "tags": ["b"], "when": "2024-01-31", "flag": False},
    {"lang": "en-US", "year": 2024, "tags": []},
    {"lang": None, "year": 2021, "tags": ["it's"], "when": "2023-12-01T10:00:00Z"},
    {"lang": "", "price": 2.0},
]


@pytest.fixture
def store(every_store: Store) -> Store:
    return every_store


def one(key: str, operator: FilterOperator, value: Any) -> MetadataFilter:
    return MetadataFilter(key=key, operator=operator, value=value)


def group(
    *filters: MetadataFilter | MetadataFilters, condition: FilterCondition = AND
) -> MetadataFilters:
    return MetadataFilters(filters=list(filters), condition=condition)


SCALARS = [
    one(key, operator, value)
    for key, value in [
        *(("lang", value) for value in ("en", "e", "x")),
        *(("year", value) for value in (2019, 2024, 2020.5)),
        *(("price", value) for value in (0.3, 2)),
    ]
    for operator in (Op.EQ, Op.NE)
]
ORDERED = [
    one(key, operator, value)
    for key, value in [("year", 2021), ("year", 2020.5), ("price", 1), ("missing", 1)]
    for operator in (Op.GT, Op.GTE, Op.LT, Op.LTE)
]
LISTED = [
    one(key, operator, value)
    for key, value in [
        ("lang", ["en", "de"]),
        ("lang", []),
        ("year", [2024, 1]),
        ("price", [0.3]),
        ("missing", ["x"]),
    ]
    for operator in (Op.IN, Op.NIN)
]
OF_LISTS = [
    *(one("tags", op, v) for op in (Op.ANY, Op.ALL) for v in (["a"], ["a", "b"], ["z", "b"])),
    *(one(key, op, []) for key in ("lang", "price", "missing") for op in (Op.ANY, Op.ALL)),
    *(one("tags", Op.CONTAINS, value) for value in ("a", "b", "it's", "it")),
]
TEXT = [
    *(one("lang", Op.TEXT_MATCH, value) for value in ("en", "n-", "EN")),
    *(one("lang", Op.TEXT_MATCH_INSENSITIVE, value) for value in ("EN", "n-us", "z")),
]
EMPTY = [one(key, Op.IS_EMPTY, None) for key in ("lang", "tags", "missing", "year")]
NULL = [one("lang", Op.EQ, None), one("lang", Op.NE, None)]
SINGLE = [*SCALARS, *ORDERED, *LISTED, *OF_LISTS, *TEXT, *EMPTY, *NULL]


def reference(filters: MetadataFilters) -> list[int]:
    """Return what LlamaIndex's own store would keep."""
    matches = build_metadata_filter_fn(lambda id: METADATA[int(id)], filters)
    return [i for i in range(len(METADATA)) if matches(str(i))]


def ours(filters: MetadataFilters) -> list[int]:
    condition = to_filter(filters)
    return [i for i, m in enumerate(METADATA) if condition is None or condition.matches(m)]


@pytest.mark.parametrize("given", SINGLE, ids=lambda f: f"{f.key} {f.operator.value} {f.value}")
def test_one_filter_means_what_it_means_in_llamaindex(given: MetadataFilter) -> None:
    assert ours(group(given)) == reference(group(given))


@pytest.mark.parametrize(
    ("given", "theirs", "found"),
    [
        (one("tags", Op.EQ, "a"), [], [0]),
        (one("tags", Op.NE, "a"), [0, 1, 2, 3, 4], [1, 2, 3, 4]),
        (one("tags", Op.IN, ["a"]), [], [0]),
        (one("tags", Op.NIN, ["a"]), [0, 1, 2, 3, 4], [1, 2, 3, 4]),
        (one("tags", Op.ALL, []), [0, 1, 2, 3], [0, 1, 3]),
        (one("lang", Op.CONTAINS, "e"), [0, 1, 2], []),
        (one("lang", Op.ANY, ["e", "de"]), [0, 1, 2], [1]),
        (one("lang", Op.ALL, ["e", "n"]), [0, 2], []),
    ],
)
def test_lists_and_strings_are_as_the_page_says(
    given: MetadataFilter, theirs: list[int], found: list[int]
) -> None:
    assert reference(group(given)) == theirs
    assert ours(group(given)) == found


@pytest.mark.parametrize("condition", [AND, OR, NOT])
def test_groups_mean_what_they_mean_in_llamaindex(condition: FilterCondition) -> None:
    for first, second in zip(SINGLE, reversed(SINGLE), strict=True):
        filters = group(first, second, condition=condition)
        assert ours(filters) == reference(filters), filters
        alone = group(first, condition=condition)
        assert ours(alone) == reference(alone), alone


def test_no_filters_restrict_nothing() -> None:
    for condition in (AND, OR, NOT):
        assert to_filter(group(condition=condition)) is None
    assert to_filter(None) is None


NESTED: list[tuple[MetadataFilters, Filter]] = [
    (
        group(
            one("year", Op.GTE, 2020),
            group(one("lang", Op.EQ, "de"), one("tags", Op.CONTAINS, "it's"), condition=OR),
        ),
        (F("year") >= 2020) & ((F("lang") == "de") | (F("tags") == "it's")),
    ),
    (group(one("lang", Op.EQ, "en"), condition=NOT), ~(F("lang") == "en")),
    (
        group(one("lang", Op.EQ, "en"), one("year", Op.EQ, 2024), condition=NOT),
        ~((F("lang") == "en") | (F("year") == 2024)),
    ),
    (
        group(group(one("lang", Op.EQ, "en"), one("year", Op.GT, 1)), condition=NOT),
        ~((F("lang") == "en") & (F("year") > 1)),
    ),
    (
        group(
            group(one("lang", Op.EQ, "en"), condition=NOT),
            group(one("lang", Op.EQ, "de"), condition=NOT),
            condition=OR,
        ),
        ~(F("lang") == "en") | ~(F("lang") == "de"),
    ),
]


@pytest.mark.parametrize(("filters", "meaning"), NESTED)
def test_groups_nest(filters: MetadataFilters, meaning: Filter) -> None:
    assert ours(filters) == [i for i, m in enumerate(METADATA) if meaning.matches(m)]


def test_an_empty_group_inside_restricts_nothing() -> None:
    inside = group(one("lang", Op.EQ, "en"), group(condition=OR))
    assert ours(inside) == [0]


def test_declared_fields_give_values_their_type() -> None:
    fields = {"flag": FieldType.BOOL, "when": FieldType.DATETIME, "year": FieldType.INT}

    def matching(given: MetadataFilter) -> list[int]:
        condition = to_filter(group(given), fields)
        assert condition is not None
        return [i for i, m in enumerate(METADATA) if condition.matches(m)]

    assert matching(one("flag", Op.EQ, 1)) == [0]
    assert matching(one("flag", Op.IN, [0])) == [1]
    assert matching(one("when", Op.EQ, "2023-12-01T11:00:00+01:00")) == [3]
    assert matching(one("when", Op.GTE, "2024-01-01")) == [1]
    assert matching(one("when", Op.EQ, "20231201T100000,0Z")) == [3]
    assert matching(one("when", Op.NIN, ["2024-01-31T00:00Z"])) == [0, 2, 3, 4]
    assert to_filter(group(one("year", Op.IS_EMPTY, None)), fields) == F("year").is_null()
    text = {"when": FieldType.STR}
    assert to_filter({"when": date(2024, 1, 31)}, text) == (F("when") == "2024-01-31")
    for refused in (one("when", Op.GTE, "2024-01-01"), one("when", Op.LT, 2024)):
        with pytest.raises(InvalidFilterError, match="declared str"):
            to_filter(group(refused), text)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (one("lang", Op.GT, "en"), "numbers and datetimes"),
        (one("lang", Op.IN, "en"), "expected a list"),
        (one("lang", Op.EQ, ["en"]), "expected a str"),
        (one("lang", Op.TEXT_MATCH, 7), "expected a str"),
        (one("lang", Op.TEXT_MATCH_INSENSITIVE, 7), "expected a str"),
        (one("lang", Op.GT, None), "expected a str"),
        (one("a-b", Op.EQ, 1), "path of a field"),
        (one("a-b", Op.TEXT_MATCH_INSENSITIVE, "x"), "path of a field"),
    ],
)
def test_what_cannot_be_meant_is_refused(given: MetadataFilter, message: str) -> None:
    with pytest.raises(InvalidFilterError, match=message):
        to_filter(group(given))


async def test_the_store_keeps_what_the_filter_matches(vector_store: TrivecVectorStore) -> None:
    """Every operator, through queries and `get_nodes`."""
    vector_store.add(
        [
            TextNode(id_=str(i), text="whale", metadata=dict(metadata))
            for i, metadata in enumerate(METADATA)
        ]
    )
    chosen = {given.operator: given for given in reversed(SINGLE)}  # the first of each
    for filters in (*(group(given) for given in chosen.values()), *(f for f, _ in NESTED)):
        expected = {str(i) for i in ours(filters)}
        query = VectorStoreQuery(
            query_str="whale",
            similarity_top_k=10,
            mode=VectorStoreQueryMode.HYBRID,
            filters=filters,
        )
        assert set(vector_store.query(query).ids or []) == expected, filters
        assert {n.node_id for n in vector_store.get_nodes(filters=filters)} == expected
        assert set((await vector_store.aquery(query)).ids or []) == expected
    assert len(chosen) == len(FilterOperator)


async def test_text_in_any_case_is_exact_with_scores_as_ever(
    filled: TrivecVectorStore,
) -> None:
    """No database knows this operator, so it is evaluated here."""
    either = group(one("kind", Op.TEXT_MATCH_INSENSITIVE, "SEA"), one("n", Op.EQ, 3), condition=OR)
    plain = group(one("kind", Op.EQ, "sea"), one("n", Op.EQ, 3), condition=OR)
    for mode in (VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.HYBRID):
        query = VectorStoreQuery(query_str="whale", similarity_top_k=3, mode=mode, filters=plain)
        expected = filled.query(query)
        query.filters = either
        for found in (filled.query(query), await filled.aquery(query)):
            assert found.ids == expected.ids
            assert found.similarities == pytest.approx(expected.similarities, abs=2e-3)
    filled.delete_nodes(filters=either)
    assert [node.node_id for node in filled.get_nodes()] == ["1"]
    await filled.adelete_nodes(filters=group(one("kind", Op.TEXT_MATCH_INSENSITIVE, "LAND")))
    assert filled.get_nodes() == []
