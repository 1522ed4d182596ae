"""A stand-in for Vespa that holds two documents, and the calls that it can answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from vespa_answers import acknowledgement, document, result, visit

from trivec import Document, F, Schema, Store, Vector, Vectors
from trivec.colbert_storage import ColbertStorage
from trivec.collection import Collection
from trivec.fields import FieldType
from trivec.rows import SparseRows, TokenRows
from trivec_vespa.mapping import description_fields, feed_fields

SCHEMA = Schema(dense=4, sparse=True, colbert=4)
COLLECTION = Collection(SCHEMA, {"n": FieldType.INT}, ColbertStorage())
DOCUMENTS = [Document(id, f"text {id}", {"n": 1}) for id in ("a", "b/ü")]
VECTORS = Vectors(
    dense=np.eye(2, 4),
    sparse=SparseRows.from_dicts([{7: 0.5}, {7: 0.25}]),
    colbert=TokenRows.from_arrays([np.eye(2, 4), np.eye(1, 4)]),
)
QUERY = Vector(dense=np.eye(1, 4)[0], sparse={7: 1.0}, colbert=np.eye(2, 4))


def _stored(row: int) -> dict[str, Any]:
    """Return the fields of a document as Vespa gives them back in hex."""
    fields = feed_fields(DOCUMENTS[row], VECTORS, row, COLLECTION)
    kept = {name: fields[name] for name in ("id", "text", "metadata", "dense_rep", "colbert_rep")}
    return {**kept, "lexical_rep": {"cells": fields["lexical_rep"]}}


def _hit(row: int) -> dict[str, Any]:
    features = {"attribute(parts)": 7.0, "dense": 1.0, "sparse": 0.5, "colbert": 1.0}
    kept = {name: _stored(row)[name] for name in ("id", "text", "metadata")}
    return {**kept, "matchfeatures": features}


@dataclass
class TwoDocuments:
    """Answers in Vespa's place; it holds two documents.

    Args:
        ids: The ids of the documents that were not deleted.
    """

    ids: set[str] = field(default_factory=lambda: {document.id for document in DOCUMENTS})

    def answer(self, method: str, url: str) -> tuple[int, dict[str, Any]]:
        """Return the status and the JSON of an answer."""
        path = url.partition("?")[0]
        if path == "/search/":
            rows = [row for row, stored in enumerate(DOCUMENTS) if stored.id in self.ids]
            return 200, result(len(rows), [_hit(row) for row in rows])
        if path.endswith("/docid/collection"):
            return 200, document(path, description_fields(COLLECTION))
        if path.endswith("/docid"):
            page = visit(path, [_stored(0), _stored(1)])
            if method == "DELETE":
                del page["documents"]
            return 200, page
        answer = acknowledgement(path)
        id = str(answer["id"]).rpartition("::")[2]
        if method == "GET":
            row = next((row for row, stored in enumerate(DOCUMENTS) if stored.id == id), None)
            return (404, answer) if row is None else (200, {**answer, "fields": _stored(row)})
        if method == "DELETE":
            self.ids.discard(id)
        return 200, answer


OPERATIONS: dict[str, Callable[[Store], object]] = {
    "describe": lambda store: store.describe(),
    "create": lambda store: store.create(SCHEMA, fields={"n": int}, exist_ok=True),
    "upsert": lambda store: store.upsert(DOCUMENTS, VECTORS).documents,
    "get": lambda store: store.get(["a", "zz"], with_vectors=True).documents,
    "search": lambda store: [hit.document.id for hit in store.search(QUERY)],
    "count": lambda store: store.count(),
    "delete": lambda store: store.delete(["a"]),
    "delete_where": lambda store: store.delete_where(F("n") == 1),
    "scan": lambda store: [page.documents for page in store.scan(with_vectors=True)],
    "drop": lambda store: store.drop(),
}

EXPECTED: dict[str, object] = {
    "describe": COLLECTION,
    "create": None,
    "upsert": 2,
    "get": DOCUMENTS[:1],
    "search": ["a", "b/ü"],
    "count": 2,
    "delete": None,
    "delete_where": None,
    "scan": [DOCUMENTS],
    "drop": None,
}
"""The results of the calls."""
