"""What Vespa answers, for servers that stand in for it: seen from Vespa 8.700."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import unquote

__all__ = ["acknowledgement", "document", "found", "visit"]


def acknowledgement(path: str) -> dict[str, object]:
    """Return the answer to a put or a removal; also of a document that is not there (404)."""
    plain = path.partition("?")[0]
    _, _, _, namespace, kind, _, key = plain.split("/", 6)
    return {"pathId": plain, "id": f"id:{namespace}:{kind}::{unquote(key)}"}


def document(path: str, fields: Mapping[str, object]) -> dict[str, object]:
    """Return the answer that holds a document."""
    return {**acknowledgement(path), "fields": dict(fields)}


def visit(
    path: str, documents: Sequence[Mapping[str, object]] = (), continuation: str | None = None
) -> dict[str, object]:
    """Return one page of a visit to a folder."""
    plain = path.partition("?")[0]
    _, _, _, namespace, kind, _ = plain.split("/")
    prefix = f"id:{namespace}:{kind}::"
    page: dict[str, object] = {
        "pathId": plain,
        "documents": [{"id": f"{prefix}{one['id']}", "fields": dict(one)} for one in documents],
        "documentCount": len(documents),
    }
    return page if continuation is None else {**page, "continuation": continuation}


def found(total: int, hits: Sequence[Mapping[str, object]] = ()) -> dict[str, object]:
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
