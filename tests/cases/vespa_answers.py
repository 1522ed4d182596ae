"""Answers as Vespa 8.700 gives them, for servers that stand in for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import unquote


def acknowledgement(path: str) -> dict[str, object]:
    """Return the answer to a put or a removal; also for a document that does not exist (404)."""
    plain = path.partition("?")[0]
    _, _, _, namespace, type_, _, key = plain.split("/", 6)
    return {"pathId": plain, "id": f"id:{namespace}:{type_}::{unquote(key)}"}


def document(path: str, fields: Mapping[str, object]) -> dict[str, object]:
    """Return the answer that holds a document."""
    return {**acknowledgement(path), "fields": dict(fields)}


def visit(
    path: str, documents: Sequence[Mapping[str, object]] = (), continuation: str | None = None
) -> dict[str, object]:
    """Return one page of a visit to a folder."""
    plain = path.partition("?")[0]
    _, _, _, namespace, type_, _ = plain.split("/")
    prefix = f"id:{namespace}:{type_}::"
    page: dict[str, object] = {
        "pathId": plain,
        "documents": [{"id": f"{prefix}{d['id']}", "fields": dict(d)} for d in documents],
        "documentCount": len(documents),
    }
    return page if continuation is None else {**page, "continuation": continuation}


def result(total: int, hits: Sequence[Mapping[str, object]] = ()) -> dict[str, object]:
    """Return the answer to a query."""
    root: dict[str, object] = {
        "id": "toplevel",
        "relevance": 1.0,
        "fields": {"totalCount": total},
        "coverage": {"coverage": 100, "documents": total, "full": True, "nodes": 1, "results": 1,
                     "resultsFull": 1},
    }  # fmt: skip
    if hits:
        root["children"] = [
            {"id": f"index:c/0/{i}", "relevance": 1.0, "source": "c", "fields": dict(fields)}
            for i, fields in enumerate(hits)
        ]
    return {"root": root}
