"""What a Qdrant server answers, over REST and gRPC, for one collection of one document."""

from __future__ import annotations

import json
from typing import Any

import grpc
import numpy as np
from hostile_grpc import Call
from hostile_http import Behaviour, Request, answer
from qdrant_client import grpc as messages
from qdrant_client import models
from qdrant_client.conversions.conversion import RestToGrpc

from trivec import Document, Schema, Vectors
from trivec.collection import Collection
from trivec.fields import FieldType
from trivec.rows import SparseRows, TokenRows
from trivec_qdrant import Names
from trivec_qdrant.engines.packed import pack_point
from trivec_qdrant.mapping import payload, point_id, point_vectors
from trivec_qdrant.schema import own_metadata

SCHEMA = Schema(dense=4, sparse=True, colbert=4, model="m")
FIELDS = {"lang": FieldType.STR}
DOCUMENT = Document("a", "text", {"lang": "en"})
VECTORS = Vectors(
    dense=np.array([[0.5, 0.5, 0.5, 0.5]], np.float32),
    sparse=SparseRows.from_dicts([{3: 0.5, 7: 0.25}]),
    colbert=TokenRows.from_arrays([np.eye(4, dtype=np.float32)[:2]], dim=4),
)
POINT = str(point_id("a", Names()))
MISSING = "Not found: Collection `new` doesn't exist!"

INFO: dict[str, Any] = {
    "status": "green",
    "optimizer_status": "ok",
    "segments_count": 1,
    "config": {
        "params": {
            "shard_number": 1,
            "vectors": {
                "dense": {"size": 4, "distance": "Dot"},
                "colbert": {
                    "size": 4,
                    "distance": "Dot",
                    "multivector_config": {"comparator": "max_sim"},
                },
            },
            "sparse_vectors": {"sparse": {}},
        },
        "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000},
        "optimizer_config": {
            "deleted_threshold": 0.2,
            "vacuum_min_vector_number": 1000,
            "default_segment_number": 0,
            "flush_interval_sec": 5,
        },
        "wal_config": {"wal_capacity_mb": 32, "wal_segments_ahead": 0},
        "metadata": own_metadata(Collection(SCHEMA, FIELDS)),
    },
    "payload_schema": {},
}
"""How the collection is described over REST."""

HIT: dict[str, Any] = {
    "id": POINT,
    "version": 1,
    "score": 0.5,
    "payload": payload(DOCUMENT, Names()),
    "vector": {
        "dense": [0.5, 0.5, 0.5, 0.5],
        "sparse": {"indices": [3, 7], "values": [0.5, 0.25]},
        "colbert": [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]],
    },
}
"""The document as a hit over REST; as a point, the score is too much and does no harm."""

DONE = {"operation_id": 1, "status": "completed"}


def rest(request: Request) -> Behaviour:
    """Answer a request as a server does."""
    path = request.path.partition("?")[0]
    if path == "/":
        return answer(200, {"title": "qdrant", "version": "1.19.0"})
    if path == "/collections/new" and request.method == "GET":
        return answer(404, {"status": {"error": MISSING}})
    result: object = True
    match request.method, path.split("/")[3:]:
        case "GET", []:
            result = INFO
        case _, ["points", "query", "batch"]:
            result = [{"points": [HIT]} for _ in json.loads(request.body)["searches"]]
        case "POST", ["points"]:
            result = [HIT] if POINT in json.loads(request.body)["ids"] else []
        case _, ["points", "scroll"]:
            result = {"points": [HIT], "next_page_offset": None}
        case _, ["points", "count"]:
            result = {"count": 1}
        case "PUT", ["points"] | ["index"]:
            result = DONE
        case "POST", ["points", "delete"]:
            result = DONE
        case _:
            pass
    return answer(200, told(result))


def told(result: object) -> object:
    """Return an answer with this result."""
    return {"result": result, "status": "ok", "time": 0.001}


def scored() -> messages.ScoredPoint:
    """Return the document as a hit over gRPC."""
    packed = pack_point(DOCUMENT, next(point_vectors(VECTORS)), Names())
    stored = messages.VectorsOutput.FromString(packed.vectors.SerializeToString())
    return messages.ScoredPoint(id=packed.id, payload=packed.payload, score=0.5, vectors=stored)


def retrieved() -> messages.RetrievedPoint:
    """Return the document as a point over gRPC."""
    hit = scored()
    return messages.RetrievedPoint(id=hit.id, payload=hit.payload, vectors=hit.vectors)


def updated(status: int = messages.UpdateStatus.Completed) -> messages.PointsOperationResponse:
    """Return the answer to a write over gRPC."""
    result = messages.UpdateResult(operation_id=1, status=status)  # type: ignore[arg-type]
    return messages.PointsOperationResponse(result=result, time=0.001)


def described(info: dict[str, Any]) -> messages.GetCollectionInfoResponse:
    """Return a description over gRPC."""
    result = RestToGrpc.convert_collection_info(models.CollectionInfo(**info))
    return messages.GetCollectionInfoResponse(result=result, time=0.001)


def over_grpc(call: Call) -> bytes:
    """Answer a call as a server does."""
    message: Any = updated()
    match call.method:
        case "HealthCheck":
            message = messages.HealthCheckReply(title="qdrant", version="1.19.0")
        case "Get" if b"\x0a\x03new" in call.request:
            call.context.abort(grpc.StatusCode.NOT_FOUND, MISSING)
        case "Get" if "Collections" in call.service:
            message = described(INFO)
        case "Get":
            asked_ids = [id.uuid for id in messages.GetPoints.FromString(call.request).ids]
            points = [retrieved()] if POINT in asked_ids else []
            message = messages.GetResponse(result=points, time=0.001)
        case "QueryBatch":
            asked = messages.QueryBatchPoints.FromString(call.request).query_points
            one = messages.BatchResult(result=[scored()])
            message = messages.QueryBatchResponse(result=[one for _ in asked], time=0.001)
        case "Scroll":
            message = messages.ScrollResponse(result=[retrieved()], time=0.001)
        case "Count":
            message = messages.CountResponse(result=messages.CountResult(count=1), time=0.001)
        case "Create":
            message = messages.CollectionOperationResponse(result=True, time=0.001)
        case "Delete" if "Collections" in call.service:
            message = messages.CollectionOperationResponse(result=True, time=0.001)
        case _:
            pass
    return bytes(message.SerializeToString())
