"""Writing, reading and deleting documents."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum, StrEnum
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from trivec import Document, F, Store, Vectors
from trivec.document import PRIVATE_KEY
from trivec.errors import InvalidDocumentError, InvalidFilterError, InvalidInputError
from trivec.rows import SparseRows, TokenRows

HOSTILE_IDS = [
    "it's",
    'say "hi"',
    "back\\slash",
    "x'] or id in ['doc-001",
    "\\' or 1 == 1 or '",
    '" or true or "',
    "a/b#c?d=e&f%20g",
    "{x} @y $z",
    "..",
    " ",
    "北京 🐋 ż",
    "\u2028line",
    "i" * 512,
    "ż" * 256,
    "123",
    "-1",
    "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed",
    "1B9D6BCD-BBFD-4B2D-9B5D-AB8DFBBD4BED",
]
HOSTILE_METADATA: list[dict[str, Any]] = [
    {},
    {"": "empty key", "a.b": 1, "a": {"b": 2}, "$ne": [], "_id": "x", "text": "mine", "id": 7},
    {
        "quotes": 'it\'s "quoted" \\ back\\\\slash',
        "braces": "{x} {{y}} %s @z",
        "newline": "a\nb\tc",
    },
    {"emoji": "🐋👩‍👩‍👧", "rtl": "مرحبا", "combining": "e\u0301", "line": "\u2028"},
    {"long": "x" * 10_000, "int": 2**63 - 1, "low": -(2**63), "float": 1e-300, "one": 1.0, "i": 1},
    {"none": None, "true": True, "list": [1, "two", None, [3.5, {"four": []}]], "obj": {"o": {}}},
    {"sql": "'; DROP TABLE documents; --", "yql": 'x" or true', "expr": "a in ['b'] or id != ''"},
]


class Lang(StrEnum):
    EN = "en"


class Kind(Enum):
    X = "x"


PYTHON_METADATA: dict[str, Any] = {
    "lang": Lang.EN,
    "year": np.int64(2020),
    "price": Decimal("9.90"),
    "flag": np.True_,
    "when": datetime(2026, 1, 31, 12, 30, tzinfo=UTC),
    "tags": np.array(["a", "b"]),
    "sizes": (np.int8(1), 2),
    "nested": {Lang.EN: PurePosixPath("a/b"), "kind": Kind.X},
    "other": {
        "day": date(2026, 1, 31),
        "time": time(9, 5),
        "np": np.datetime64("2026-01-31T12:30:00"),
        "uuid": UUID(int=5),
        "half": np.float32(0.5),
        "whole": Decimal("3.00"),
        "list": [Kind.X, [date(2026, 1, 31)], np.str_("text")],
    },
}
PLAIN_METADATA: dict[str, Any] = {
    "lang": "en",
    "year": 2020,
    "price": 9.9,
    "flag": True,
    "when": "2026-01-31T12:30:00+00:00",
    "tags": ["a", "b"],
    "sizes": [1, 2],
    "nested": {"en": "a/b", "kind": "x"},
    "other": {
        "day": "2026-01-31",
        "time": "09:05:00",
        "np": "2026-01-31T12:30:00",
        "uuid": "00000000-0000-0000-0000-000000000005",
        "half": 0.5,
        "whole": 3,
        "list": ["x", ["2026-01-31"], "text"],
    },
}


def _same_vectors(got: Vectors | None, wanted: Vectors, tolerance: float) -> None:
    assert got is not None
    assert got.dense is not None
    assert wanted.dense is not None
    np.testing.assert_allclose(got.dense, wanted.dense, atol=tolerance)
    assert got.sparse is not None
    assert wanted.sparse is not None
    np.testing.assert_array_equal(got.sparse.indptr, wanted.sparse.indptr)
    np.testing.assert_array_equal(got.sparse.indices, wanted.sparse.indices)
    np.testing.assert_allclose(got.sparse.values, wanted.sparse.values, atol=tolerance)
    assert got.colbert is not None
    assert wanted.colbert is not None
    np.testing.assert_array_equal(got.colbert.indptr, wanted.colbert.indptr)
    np.testing.assert_allclose(got.colbert.values, wanted.colbert.values, atol=tolerance)


def test_what_was_written_comes_back(store: Store, corpus: Any, case: Any) -> None:
    report = store.upsert(corpus.documents, corpus.vectors)
    assert report.documents == len(corpus.documents)
    assert store.count() == len(corpus.documents)
    order = [7, 0, 119, 5, 6, 8]
    page = store.get([corpus.documents[i].id for i in order], with_vectors=True)
    assert page.documents == [corpus.documents[i] for i in order]
    _same_vectors(page.vectors, corpus.vectors.take(order), case.tolerance)


def test_get_leaves_out_what_is_unknown(store: Store, corpus: Any) -> None:
    store.upsert(corpus.documents[:3], corpus.vectors.slice(0, 3))
    page = store.get(["nothing", "doc-002", "doc-000", "doc-002"])
    assert [d.id for d in page.documents] == ["doc-002", "doc-000"]
    assert page.vectors is None
    nothing = store.get(["nothing"], with_vectors=True)
    assert nothing.documents == []
    assert nothing.vectors is not None
    assert len(nothing.vectors) == 0
    assert store.get([]).documents == []


def test_upsert_replaces_the_whole_document_and_may_be_repeated(
    store: Store, corpus: Any, case: Any
) -> None:
    store.upsert(corpus.documents[:10], corpus.vectors.slice(0, 10))
    store.upsert(corpus.documents[:10], corpus.vectors.slice(0, 10))
    assert store.count() == 10
    changed = Document("doc-000", "other", {"lang": "xx"})
    store.upsert([changed], Vectors(dense=corpus.vectors.dense[20:21]))
    assert store.count() == 10
    page = store.get(["doc-000"], with_vectors=True)
    assert page.documents == [changed]
    expected = Vectors(
        dense=corpus.vectors.dense[20:21],
        sparse=SparseRows.from_dicts([{}]),
        colbert=TokenRows.from_arrays([np.zeros((0, 16))]),
    )
    _same_vectors(page.vectors, expected, case.tolerance)


def test_an_upsert_of_nothing_is_no_error(store: Store, corpus: Any) -> None:
    assert store.upsert([], corpus.vectors.slice(0, 0)).documents == 0
    assert store.count() == 0


def test_scan_yields_everything_once(store: Store, corpus: Any, case: Any) -> None:
    store.upsert(corpus.documents, corpus.vectors)
    place = {d.id: i for i, d in enumerate(corpus.documents)}
    seen: list[int] = []
    for page in store.scan(batch_size=50, with_vectors=True):
        assert 0 < len(page.documents) <= 50
        rows = [place[d.id] for d in page.documents]
        assert page.documents == [corpus.documents[i] for i in rows]
        _same_vectors(page.vectors, corpus.vectors.take(rows), case.tolerance)
        seen += rows
    assert sorted(seen) == list(range(len(corpus.documents)))
    plain = list(store.scan())
    assert all(page.vectors is None for page in plain)
    assert sum(len(page.documents) for page in plain) == len(corpus.documents)
    english = [d.id for p in store.scan(filter=F("lang") == "en") for d in p.documents]
    assert sorted(english) == [d.id for d in corpus.documents if d.metadata.get("lang") == "en"]


def test_delete_by_id(store: Store, corpus: Any) -> None:
    store.upsert(corpus.documents[:5], corpus.vectors.slice(0, 5))
    store.delete(["doc-001", "doc-003", "nothing"])
    store.delete([])
    assert store.count() == 3
    kept = store.get([f"doc-{i:03d}" for i in range(5)]).documents
    assert [d.id for d in kept] == ["doc-000", "doc-002", "doc-004"]


def test_ids_that_no_document_can_have_are_unknown(store: Store, corpus: Any) -> None:
    store.upsert(corpus.documents[:2], corpus.vectors.slice(0, 2))
    unusual = ["doc-000", "\uffff", "\ufdd0", "\U0010ffff"]
    assert store.get(unusual, with_vectors=True).documents == corpus.documents[:1]
    store.delete(unusual)
    assert store.count() == 1


def test_delete_by_filter(store: Store, corpus: Any) -> None:
    store.upsert(corpus.documents, corpus.vectors)
    condition = (F("year") >= 2020) & ~(F("lang") == "en")
    gone = {d.id for d in corpus.documents if condition.matches(d.metadata)}
    assert 10 < len(gone) < 110
    store.delete_where(condition)
    left = {d.id for page in store.scan() for d in page.documents}
    assert left == {d.id for d in corpus.documents} - gone


def test_delete_where_never_takes_an_empty_filter(store: Store, corpus: Any) -> None:
    from trivec.filters import And, Not, Or

    store.upsert(corpus.documents[:5], corpus.vectors.slice(0, 5))
    lang = F("lang")
    for empty in (
        And(()),
        Not(Or(())),
        And((And(()),)),
        lang.all([]),
        lang.in_([]),
        ~lang.in_([]),
        lang.not_in([]) & lang.all([]),
    ):
        with pytest.raises(InvalidFilterError, match="drop"):
            store.delete_where(empty)
    with pytest.raises(InvalidFilterError):
        store.delete_where(None)  # type: ignore[arg-type]
    assert store.count() == 5
    store.delete_where((lang == "xx") | lang.any([]))
    assert store.count() == 5


def test_hostile_ids_are_ids(store: Store, corpus: Any) -> None:
    documents = [Document(one, f"text of {one}") for one in HOSTILE_IDS]
    store.upsert(documents, corpus.vectors.slice(0, len(documents)))
    assert store.count() == len(documents)
    assert store.get(HOSTILE_IDS).documents == documents
    for one in HOSTILE_IDS:
        assert [d.id for d in store.get([one]).documents] == [one]
    store.delete(HOSTILE_IDS[3:6])
    left = [one for one in HOSTILE_IDS if one not in HOSTILE_IDS[3:6]]
    assert sorted(d.id for page in store.scan() for d in page.documents) == sorted(left)


def test_hostile_metadata_and_text_come_back_unchanged(store: Store, corpus: Any) -> None:
    texts = [
        "",
        'it\'s "a" \\ text',
        "line\nbreak\ttab",
        "x" * 10_000,
        "🐋 ż 北京",
        "{x} @y",
        "</s>",
    ]
    documents = [
        Document(f"h{i}", text, metadata)
        for i, (text, metadata) in enumerate(zip(texts, HOSTILE_METADATA, strict=True))
    ]
    store.upsert(documents, corpus.vectors.slice(0, len(documents)))
    back = store.get([d.id for d in documents]).documents
    assert back == documents
    for got, wanted in zip(back, documents, strict=True):
        # 1 == 1.0 == True in Python; what JSON says must be the same too.
        assert repr(_sorted(got.metadata)) == repr(_sorted(wanted.metadata))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def test_the_values_of_python_programs_are_the_same_in_every_store(
    store: Store, corpus: Any
) -> None:
    document = Document("python", "text", PYTHON_METADATA)
    store.upsert([document, Document("empty", "")], corpus.vectors.slice(0, 2))
    (back,) = store.get(["python"]).documents
    assert back == document
    assert repr(_sorted(back.metadata)) == repr(_sorted(PLAIN_METADATA))
    when, other = PYTHON_METADATA["when"], PYTHON_METADATA["other"]
    cents: Any = Decimal("0.01")
    price: Any = PYTHON_METADATA["price"]
    conditions = [
        F("lang") == Lang.EN,
        F("year").in_(np.array([2019, 2020])) & (F("lang") == np.str_("en")),
        (F("price") >= price) & (F("price") < price + cents),
        (F("flag") == np.True_) & (F("price") == price),
        F("when") == when,
        F("when") >= np.datetime64("2026-01-31T12:30"),
        F("tags").contains(np.str_("b")),
        F("sizes").all(np.array([1, 2])),
        F("nested.kind") == Kind.X,
    ]
    if not store.declared_only:
        conditions += [
            F("other.uuid") == other["uuid"],
            F("other.day") == other["day"],
            F("other.np") == other["np"],
            F("other.time") == other["time"],
            F("nested.en") == PurePosixPath("a/b"),
            F("other.half") == np.float32(0.5),
            F("other.whole") >= other["whole"],
        ]
    for condition in conditions:
        assert condition.matches(PLAIN_METADATA), condition
        found = [d.id for page in store.scan(filter=condition) for d in page.documents]
        assert found == ["python"], condition


def test_metadata_is_as_large_as_the_database_takes(store: Store, corpus: Any) -> None:
    limit = store.limits.metadata_bytes
    size = limit or 1024 * 1024
    frame = len('{"objects":[{"long":""}],"é":0}'.encode())
    fits, over = (
        Document(one, "text", {"objects": [{"long": "x" * (size - frame + more)}], "é": 0})
        for one, more in (("fits", 0), ("over", 1))
    )
    assert (fits.metadata_bytes, over.metadata_bytes) == (size, size + 1)
    vectors = corpus.vectors.slice(0, 2)
    if limit is None:
        store.upsert([fits, over], vectors)
        assert store.get(["fits", "over"]).documents == [fits, over]
        return
    message = rf"'over'.* {size + 1:,} bytes, and {store.limits.database} holds at most {size:,} "
    with pytest.raises(InvalidDocumentError, match=message):
        store.upsert([fits, over], vectors)
    assert store.count() == 0
    store.upsert([fits], vectors.slice(0, 1))
    assert store.get(["fits"]).documents == [fits]


def test_a_text_longer_than_the_database_takes_is_refused(store: Store, corpus: Any) -> None:
    limit = store.limits.text_bytes
    if limit is None:
        pytest.skip("this database sets no limit of its own")
    over = Document("over", "x" * (limit + 1))
    with pytest.raises(InvalidDocumentError, match=f"'over': its text takes {limit + 1:,} bytes"):
        store.upsert([corpus.documents[0], over], corpus.vectors.slice(0, 2))
    assert store.count() == 0


def test_what_programs_keep_with_a_document_has_no_limit_of_the_metadata(
    store: Store, corpus: Any
) -> None:
    kept = {"node": {"image": "ż" * 100_000, "list": [{"a": None}]}, "ref_doc_id": "book"}
    documents = [
        Document("both", "text", {"lang": "en", PRIVATE_KEY: kept}),
        Document("private", "text", {PRIVATE_KEY: {}}),
        Document("public", "text", {"lang": "en"}),
    ]
    store.upsert(documents, corpus.vectors.slice(0, 3))
    assert store.get([d.id for d in documents]).documents == documents
    assert sorted(d.id for page in store.scan() for d in page.documents) == [
        "both",
        "private",
        "public",
    ]
    if not store.declared_only:
        assert store.count(F(f"{PRIVATE_KEY}.ref_doc_id") == "book") == 1
    store.upsert([Document("both", "text")], corpus.vectors.slice(0, 1))
    assert store.get(["both"]).documents == [Document("both", "text")]


def test_bad_input_names_the_document_and_writes_nothing(store: Store, corpus: Any) -> None:
    good, vectors = corpus.documents[:3], corpus.vectors.slice(0, 3)
    wrong_dims = replace(vectors, dense=np.ones((3, 31), np.float32))
    wrong_tokens = replace(vectors, colbert=TokenRows.from_arrays([np.ones((1, 15))] * 3))
    mistyped = Document("mistyped", "", {"year": "2020"})
    cases: list[tuple[list[Document], Vectors, str]] = [
        ([good[0], good[1], good[0]], vectors, "'doc-000' is there twice"),
        ([good[0], good[1], mistyped], vectors, "'mistyped'.*'year' is declared int"),
        (good, wrong_dims, "dimension 31"),
        (good, wrong_tokens, "dimension 15"),
        (good[:2], vectors, "2 documents came with 3 rows"),
    ]
    for documents, batch, message in cases:
        with pytest.raises(InvalidInputError, match=message):
            store.upsert(documents, batch)
        assert store.count() == 0
    with pytest.raises(InvalidDocumentError, match=r"'n'.*not finite"):
        Document("n", "", {"x": float("nan")})
    with pytest.raises(InvalidInputError, match="not finite"):
        Vectors(dense=np.array([[1.0, np.nan]]))


def test_a_large_write_is_split_by_bytes(store: Store, corpus: Any) -> None:
    before = store._batch_bytes
    store._batch_bytes = 20_000
    try:
        report = store.upsert(corpus.documents, corpus.vectors)
    finally:
        store._batch_bytes = before
    assert report.requests > 1
    assert store.count() == len(corpus.documents)
