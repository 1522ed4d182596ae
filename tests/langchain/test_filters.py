"""LangChain's filter dialects against the filters they stand for."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from langchain_classic.retrievers.self_query.base import SelfQueryRetriever
from langchain_core.runnables import RunnableLambda
from langchain_core.structured_query import (
    Comparator,
    Comparison,
    FilterDirective,
    Operation,
    Operator,
    StructuredQuery,
)
from store_cases import FIELDS

from trivec import F, Filter, Store
from trivec.errors import InvalidFilterError
from trivec.plain import Json
from trivec.testing import HashEncoder
from trivec_langchain import TrivecTranslator, TrivecVectorStore
from trivec_langchain.filters import LangChainFilter, to_filter

METADATA: list[dict[str, Json]] = [
    {"lang": "en", "year": 2019, "flag": True, "tags": ["a", "b"], "when": "2024-01-31"},
    {"lang": "de", "year": 2024, "flag": False, "tags": ["b"], "when": "2023-12-01T10:00:00Z"},
    {"lang": "en-US", "year": 2024, "tags": [], "price": 2.5},
    {"lang": None, "year": 2021, "tags": ["it's"], "when": "2024-01-31T00:00:00+00:00"},
    {"nested": {"kind": "x"}, "lang": "a'b"},
]
NEW_YEAR = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def store(every_store: Store) -> Store:
    return every_store


def compare(comparator: Comparator, attribute: str, value: Any) -> Comparison:
    return Comparison(comparator, attribute, value)


MEANINGS: list[tuple[LangChainFilter, Filter]] = [
    (compare(Comparator.EQ, "lang", "en"), F("lang") == "en"),
    (compare(Comparator.EQ, "flag", True), F("flag") == True),  # noqa: E712
    (compare(Comparator.EQ, "lang", None), F("lang").is_null()),
    (compare(Comparator.NE, "lang", "en"), F("lang") != "en"),
    (compare(Comparator.NE, "lang", None), F("lang").exists()),
    (compare(Comparator.GT, "year", 2020), F("year") > 2020),
    (compare(Comparator.GTE, "year", 2024), F("year") >= 2024),
    (compare(Comparator.LT, "price", 2.6), F("price") < 2.6),
    (compare(Comparator.LTE, "year", 2019), F("year") <= 2019),
    (compare(Comparator.CONTAIN, "tags", "a"), F("tags").contains("a")),
    (compare(Comparator.LIKE, "lang", "en"), F("lang").text("en")),
    (compare(Comparator.LIKE, "lang", "%n-U%"), F("lang").text("n-U")),
    (compare(Comparator.IN, "lang", ["en", "a'b"]), F("lang").in_(["en", "a'b"])),
    (compare(Comparator.IN, "lang", "en"), F("lang").in_(["en"])),
    (compare(Comparator.NIN, "year", [2019, 2024]), F("year").not_in([2019, 2024])),
    (
        compare(Comparator.GTE, "when", {"date": "2024-01-01", "type": "date"}),
        F("when") >= NEW_YEAR,
    ),
    (compare(Comparator.GTE, "when", "2024-01-01"), F("when") >= NEW_YEAR),
    (compare(Comparator.LT, "when", date(2024, 1, 1)), F("when") < NEW_YEAR),
    (
        compare(Comparator.EQ, "when", {"datetime": "2023-12-01T10:00:00", "type": "datetime"}),
        F("when") == datetime(2023, 12, 1, 10, tzinfo=UTC),
    ),
    (compare(Comparator.EQ, "nested.kind", "x"), F("nested.kind") == "x"),
    (
        Operation(
            Operator.AND,
            [compare(Comparator.EQ, "lang", "en"), compare(Comparator.LT, "year", 2020)],
        ),
        (F("lang") == "en") & (F("year") < 2020),
    ),
    (
        Operation(
            Operator.OR,
            [
                compare(Comparator.EQ, "lang", "en"),
                Operation(Operator.NOT, [compare(Comparator.EQ, "year", 2024)]),
            ],
        ),
        (F("lang") == "en") | ~(F("year") == 2024),
    ),
    (
        {"lang": ["en", "de"], "year": {"$gte": 2020}},
        F("lang").in_(["en", "de"]) & (F("year") >= 2020),
    ),
    ({"$not": {"tags": "b"}}, ~(F("tags") == "b")),
    (F("flag") == False, F("flag") == False),  # noqa: E712
]


@pytest.fixture
def described(vectorstore: TrivecVectorStore) -> TrivecVectorStore:
    """Return a vector store that holds METADATA as "0" to "4"."""
    texts = ["whale"] * len(METADATA)
    ids = [str(i) for i in range(len(METADATA))]
    vectorstore.add_texts(texts, [dict(m) for m in METADATA], ids=ids)
    return vectorstore


def test_each_dialect_means_its_filter_and_finds_what_it_matches(
    described: TrivecVectorStore,
) -> None:
    for given, meaning in MEANINGS:
        translated = to_filter(given)
        assert translated is not None
        expected = [str(i) for i, m in enumerate(METADATA) if meaning.matches(m)]
        assert [str(i) for i, m in enumerate(METADATA) if translated.matches(m)] == expected
        found = described.similarity_search("whale", k=10, filter=given)
        assert sorted(d.id or "" for d in found) == expected, given


def test_the_meanings_are_not_all_alike() -> None:
    sets = {tuple(meaning.matches(m) for m in METADATA) for _, meaning in MEANINGS}
    assert len(sets) > 10


@pytest.mark.parametrize(
    ("directive", "message"),
    [
        (compare(Comparator.LIKE, "lang", "a%b"), "at the ends only"),
        (compare(Comparator.LIKE, "lang", 7), "expected a str"),
        (compare(Comparator.GT, "lang", "soon"), "numbers and datetimes"),
        (compare(Comparator.EQ, "when", {"date": "soon", "type": "date"}), "not a date"),
        (compare(Comparator.EQ, "a-b", 1), "path of a field"),
        (compare(Comparator.IN, "lang", None), "expected a str"),
        (Operation(Operator.NOT, []), "one condition"),
    ],
)
def test_what_cannot_be_meant_is_refused(directive: FilterDirective, message: str) -> None:
    with pytest.raises(InvalidFilterError, match=message):
        to_filter(directive)


def test_a_structured_query_without_a_filter_has_no_options() -> None:
    query = StructuredQuery(query="whales", filter=None)
    assert TrivecTranslator().visit_structured_query(query) == ("whales", {})


async def test_langchains_self_query_retriever_works(described: TrivecVectorStore) -> None:
    """The language model is played by a function; everything else is LangChain's."""
    wanted = StructuredQuery(query="whale", filter=compare(Comparator.GTE, "year", 2024), limit=1)
    retriever = SelfQueryRetriever(
        vectorstore=described,
        llm_chain=RunnableLambda(lambda _: wanted),
        structured_query_translator=TrivecTranslator(),
        search_kwargs={"k": 5},
    )
    assert sorted(d.id or "" for d in retriever.invoke("whales since 2024")) == ["1"]
    assert len(await retriever.ainvoke("whales since 2024")) == 1


@pytest.mark.parametrize("value", ["2024-01-31", {"date": "2024-01-31", "type": "date"}])
async def test_dates_get_the_type_of_the_declared_field(
    store: Store, fields: dict[str, Any], value: Any
) -> None:
    """A language model writes dates as it likes; the collection knows what the field holds."""
    metadata = [
        {"lang": "2024-01-31", "tags": ["2024-01-31", "x"], "when": "2024-01-31T00:00:00+0000"},
        {"lang": "2024-02-01", "tags": ["x"], "when": "2024-01-31T00:00:01Z"},
        {"lang": "2024-01-31T00:00:00Z", "tags": []},
    ]
    described = TrivecVectorStore(store, HashEncoder(), fields=fields or FIELDS)
    described.add_texts(["whale"] * 3, metadata, ids=["0", "1", "2"])
    cases = [
        (Comparator.EQ, "lang", ["0"]),
        (Comparator.NE, "lang", ["1", "2"]),
        (Comparator.IN, "lang", ["0"]),
        (Comparator.LIKE, "lang", ["0", "2"]),
        (Comparator.CONTAIN, "tags", ["0"]),
        (Comparator.EQ, "when", ["0"]),
        (Comparator.GTE, "when", ["0", "1"]),
        (Comparator.NIN, "when", ["1", "2"]),
    ]
    for comparator, path, expected in cases:
        wanted = StructuredQuery(query="whale", filter=compare(comparator, path, value))
        retriever = SelfQueryRetriever(
            vectorstore=described,
            llm_chain=RunnableLambda(lambda _, wanted=wanted: wanted),  # type: ignore[misc]
            structured_query_translator=TrivecTranslator(),
            search_kwargs={"k": 5},
        )
        assert sorted(d.id or "" for d in retriever.invoke("whales")) == expected, comparator
        assert sorted(d.id or "" for d in await retriever.ainvoke("whales")) == expected
    with pytest.raises(InvalidFilterError, match="strings have no order"):
        described.similarity_search("whale", filter=compare(Comparator.GT, "lang", value))


@pytest.mark.parametrize(
    ("value", "part"),
    [({"date": "2024-01-31", "type": "date"}, "2024-01-31"), ("%2024-01-31%", "2024-01-31")],
)
def test_like_takes_a_date_as_it_is_written(value: Any, part: str) -> None:
    assert to_filter(compare(Comparator.LIKE, "lang", value)) == F("lang").text(part)
