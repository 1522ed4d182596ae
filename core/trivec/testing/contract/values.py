"""Ids, texts and metadata of every kind come back as they were written."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum, StrEnum
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from trivec.document import PRIVATE_KEY, Document
from trivec.errors import InvalidDocumentError
from trivec.filters import F
from trivec.stores.store import Store
from trivec.testing.contract.base import ContractBase
from trivec.testing.contract.corpus import Corpus

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


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


class ValueRules(ContractBase):
    """Ids, texts and metadata of every kind."""

    def test_hostile_ids_are_ids(self, store: Store, corpus: Corpus) -> None:
        documents = [Document(id, f"text of {id}") for id in HOSTILE_IDS]
        store.upsert(documents, corpus.vectors.slice(0, len(documents)))
        assert store.count() == len(documents)
        assert store.get(HOSTILE_IDS).documents == documents
        for id in HOSTILE_IDS:
            assert [d.id for d in store.get([id]).documents] == [id]
        store.delete(HOSTILE_IDS[3:6])
        left = [id for id in HOSTILE_IDS if id not in HOSTILE_IDS[3:6]]
        assert sorted(d.id for page in store.scan() for d in page.documents) == sorted(left)

    def test_hostile_metadata_and_text_come_back_unchanged(
        self, store: Store, corpus: Corpus
    ) -> None:
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

    def test_the_values_of_python_programs_are_the_same_in_every_store(
        self, store: Store, corpus: Corpus
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
        if not store.limits.declared_fields_only:
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

    def test_metadata_is_as_large_as_the_database_takes(self, store: Store, corpus: Corpus) -> None:
        limit = store.limits.metadata_bytes
        size = limit or 1024 * 1024
        frame = len('{"objects":[{"long":""}],"é":0}'.encode())
        fits, over = (
            Document(id, "text", {"objects": [{"long": "x" * (size - frame + more)}], "é": 0})
            for id, more in (("fits", 0), ("over", 1))
        )
        assert (fits.metadata_bytes, over.metadata_bytes) == (size, size + 1)
        vectors = corpus.vectors.slice(0, 2)
        if limit is None:
            store.upsert([fits, over], vectors)
            assert store.get(["fits", "over"]).documents == [fits, over]
            return
        message = (
            rf"'over'.* {size + 1:,} bytes, and {store.limits.database} holds at most {size:,} "
        )
        with pytest.raises(InvalidDocumentError, match=message):
            store.upsert([fits, over], vectors)
        assert store.count() == 0
        store.upsert([fits], vectors.slice(0, 1))
        assert store.get(["fits"]).documents == [fits]

    def test_a_text_longer_than_the_database_takes_is_refused(
        self, store: Store, corpus: Corpus
    ) -> None:
        limit = store.limits.text_bytes
        if limit is None:
            pytest.skip("this database sets no limit of its own")
        over = Document("over", "x" * (limit + 1))
        with pytest.raises(
            InvalidDocumentError, match=f"'over': its text takes {limit + 1:,} bytes"
        ):
            store.upsert([corpus.documents[0], over], corpus.vectors.slice(0, 2))
        assert store.count() == 0

    def test_metadata_of_programs_has_no_limit(self, store: Store, corpus: Corpus) -> None:
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
        if not store.limits.declared_fields_only:
            assert store.count(F(f"{PRIVATE_KEY}.ref_doc_id") == "book") == 1
        store.upsert([Document("both", "text")], corpus.vectors.slice(0, 1))
        assert store.get(["both"]).documents == [Document("both", "text")]
