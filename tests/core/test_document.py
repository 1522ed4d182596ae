"""What a document may be."""

from __future__ import annotations

from typing import Any

import pytest

from trivec import Document
from trivec.errors import InvalidDocumentError


@pytest.mark.parametrize("one", ["", "a" * 513, "ż" * 257, "a\nb", "a\x00", "a\x7f", "\ud800", 7])
def test_bad_ids(one: Any) -> None:
    with pytest.raises(InvalidDocumentError):
        Document(one, "text")


def _nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("metadata", "where"),
    [
        ({"a": float("inf")}, "metadata.a = inf"),
        ({"a": [1, {"b": float("nan")}]}, r"metadata.a\[1\].b"),
        ({"a": 2**63}, "an integer of 65 bits"),
        ({1: "a"}, "key 1"),
        ({"a": object()}, "object"),
        ({"a": b"bytes"}, "bytes"),
        ({"a": "\ud800"}, "lone surrogate"),
        ([1], "metadata must be a dict, got list of int"),
        (_nested(101), "more than 100 nested objects and lists"),
        (_nested(5_000), "more than 100 nested objects and lists"),
    ],
)
def test_bad_metadata_names_the_document_and_the_place(metadata: Any, where: str) -> None:
    with pytest.raises(InvalidDocumentError, match=where) as caught:
        Document("doc-7", "text", metadata)
    assert "'doc-7'" in str(caught.value)


@pytest.mark.parametrize("text", [None, "\ud800"])
def test_bad_text(text: Any) -> None:
    with pytest.raises(InvalidDocumentError, match="'a'"):
        Document("a", text)


def test_size_in_utf8() -> None:
    assert Document("ż", "北", {"k": "ó"}).size_bytes == 2 + 3 + len('{"k":"ó"}'.encode())


def test_a_document_keeps_a_copy_of_its_metadata() -> None:
    metadata: dict[str, Any] = {"n": 1, "tags": ("a", "b"), "deep": _nested(90)}
    document = Document("a", "text", metadata)
    metadata["n"] = 2
    metadata["deep"]["a"]["a"] = 3
    assert document.metadata == {"n": 1, "tags": ["a", "b"], "deep": _nested(90)}
