"""A Milvus server for tests: milvus-lite with arrays of structs, MaxSim, and a server's refusals.

Run it as `python double.py FOLDER [SECONDS]`; it prints its port and ends with its standard input.
With SECONDS, each search takes so much longer, as if the server were far away; one that was made
before takes no processor time. The double keeps the tokens of a struct array in a hidden form, an
array of one base64 string of that name, so that logs, deletes, filters and queries are
milvus-lite's own. It shows that our requests say what the wire format means, not how a real server
behaves: its search is exact.

The internals it builds on are private; they are those of milvus-lite 3.2.
"""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent import futures
from typing import Any

import grpc
import numpy as np
from milvus_lite.adapter.grpc import servicer as lite_servicer
from milvus_lite.adapter.grpc.errors import success_status_kwargs, to_status_kwargs
from milvus_lite.adapter.grpc.translators import search as lite_search
from milvus_lite.db import MilvusLite
from milvus_lite.exceptions import MilvusLiteError, SchemaValidationError
from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc, schema_pb2

VERSION = "v2.6.19"
MAX_RECEIVE_BYTES = 64 * 1024 * 1024
MAX_CAPACITY = 4096
MAX_VARCHAR_BYTES = 65_535
MAX_JSON_BYTES = 65_536
MAX_VECTOR_FIELDS = 4
MAX_FIELDS = 64
MAX_LIMIT = 16_384
PROPERTY = "double.schema"

Type = schema_pb2.DataType
VECTORS = {Type.FloatVector, Type.SparseFloatVector, Type.Float16Vector}
Refused = SchemaValidationError


class TokenQueries(list[np.ndarray[Any, np.dtype[np.float32]]]):
    """The query of a MaxSim search: one flat array of all token vectors per query."""


def _decode_placeholders(data: bytes) -> Any:
    group = common_pb2.PlaceholderGroup.FromString(data)
    holder = group.placeholders[0]
    if holder.type == common_pb2.PlaceholderType.EmbListFloatVector:
        return TokenQueries(np.frombuffer(value, np.float32) for value in holder.values)
    if holder.type == common_pb2.PlaceholderType.SparseFloatVector and not all(holder.values):
        raise Refused("empty sparse float vector row")
    return _lite_placeholders(data)


_lite_placeholders = lite_search._decode_placeholder_group
lite_search._decode_placeholder_group = _decode_placeholders


class Struct:
    """A field that is an array of structs with one vector."""

    def __init__(self, proto: Any) -> None:
        (vector,) = proto.fields
        parameters = {pair.key: pair.value for pair in vector.type_params}
        self.proto = proto
        self.name: str = proto.name
        self.vector: str = vector.name
        self.dim = int(parameters["dim"])
        self.capacity = int(parameters["max_capacity"])

    @property
    def path(self) -> str:
        return f"{self.name}[{self.vector}]"

    def unpack(self, strings: Iterable[str] | None) -> Any:
        data = b"".join(map(base64.b64decode, strings or ()))
        return np.frombuffer(data, np.float32).reshape(-1, self.dim)


class TokenCollection:
    """A collection of milvus-lite that also searches the tokens of a struct array."""

    def __init__(self, inner: Any, structs: Sequence[Struct], indexed: set[str]) -> None:
        self.__dict__.update(inner=inner, structs=structs, indexed=indexed)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.inner, name, value)

    def _struct(self, field: str | None) -> Struct | None:
        return next((s for s in self.structs if s.path == field), None)

    def create_index(self, field: str, params: dict[str, Any]) -> None:
        if self._struct(field) is None:
            self.inner.create_index(field, params)
            return
        if params.get("metric_type") not in ("MAX_SIM_IP", "MAX_SIM_COSINE", "MAX_SIM"):
            raise Refused(f"field {field}: {params.get('metric_type')} is no metric of a struct")
        if params.get("index_type") == "FLAT":
            raise Refused("index type FLAT does not support array of vectors")
        self.indexed.add(field)

    def resolve_search_metric(self, field: str | None = None, metric: str | None = None) -> Any:
        if self._struct(field) is None:
            return self.inner.resolve_search_metric(field, metric)
        if field not in self.indexed:
            raise Refused(f"there is no vector index on field: [{field}]")
        if metric not in (None, "MAX_SIM_IP"):
            raise Refused(f"metric type not match: expected MAX_SIM_IP, got {metric}")
        return "MAX_SIM_IP"

    def search(self, query_vectors: Any, top_k: int = 10, **options: Any) -> list[list[Any]]:
        params = options.get("search_params") or {}
        if top_k > MAX_LIMIT:
            raise Refused(f"topk [{top_k}] is invalid, it should be in range [1, {MAX_LIMIT}]")
        if top_k > int(params.get("ef", top_k)):
            raise Refused(f"ef({params['ef']}) should be larger than k({top_k})")
        struct = self._struct(options.get("anns_field"))
        if (struct is not None) != isinstance(query_vectors, TokenQueries):
            raise Refused("vector type must be the same")
        if struct is None:
            return self.inner.search(query_vectors, top_k=top_k, **options)  # type: ignore[no-any-return]
        return [
            self._max_sim(struct, query.reshape(-1, struct.dim), top_k, options)
            for query in query_vectors
        ]

    def _max_sim(
        self, struct: Struct, query: Any, top_k: int, options: dict[str, Any]
    ) -> list[Any]:
        key = self.inner._pk_name
        output = options.get("output_fields") or []
        rows = self.inner.query(
            options.get("expr") or None, output_fields=[*{key, struct.name, *output}]
        )
        hits = []
        for row in rows:
            tokens = struct.unpack(row[struct.name])
            if len(tokens):
                score = float((query @ tokens.T).max(axis=1).sum())
                entity = {name: row[name] for name in output if name != key}
                hits.append({"id": row[key], "distance": score, "entity": entity})
        hits.sort(key=lambda hit: -hit["distance"])
        return hits[:top_k]


class Servicer(lite_servicer.MilvusServicer):  # type: ignore[misc]
    """milvus-lite, taken for a server."""

    def __init__(self, db: MilvusLite, seconds: float) -> None:
        super().__init__(db)
        self._seconds = seconds
        self._answers: dict[bytes, Any] = {}
        self._indexed: dict[str, set[str]] = {}

    def GetVersion(self, request: Any, context: Any) -> Any:
        return milvus_pb2.GetVersionResponse(
            status=common_pb2.Status(**success_status_kwargs()), version=VERSION
        )

    # --- schema --------------------------------------------------------------------------------

    def _proto(self, request: Any, context: Any) -> Any:
        stored = super()._get_collection(request, context).schema.properties[PROPERTY]
        return schema_pb2.CollectionSchema.FromString(base64.b64decode(stored))

    def _structs(self, request: Any, context: Any) -> list[Struct]:
        return [Struct(s) for s in self._proto(request, context).struct_array_fields]

    def _get_collection(self, request: Any, context: Any) -> Any:
        inner = super()._get_collection(request, context)
        indexed = self._indexed.setdefault(request.collection_name, set())
        return TokenCollection(inner, self._structs(request, context), indexed)

    def CreateCollection(self, request: Any, context: Any) -> Any:
        proto = schema_pb2.CollectionSchema.FromString(request.schema)
        try:
            _check_schema(proto)
        except MilvusLiteError as error:
            return common_pb2.Status(**to_status_kwargs(error))
        changed = milvus_pb2.CreateCollectionRequest.FromString(request.SerializeToString())
        encoded = base64.b64encode(request.schema).decode()
        changed.properties.add(key=PROPERTY, value=encoded)
        for struct in proto.struct_array_fields:
            hidden = proto.fields.add(name=struct.name, data_type=Type.Array)
            hidden.element_type = Type.VarChar
            hidden.type_params.add(key="max_capacity", value=str(MAX_CAPACITY))
            hidden.type_params.add(key="max_length", value=str(MAX_VARCHAR_BYTES))
        del proto.struct_array_fields[:]
        changed.schema = proto.SerializeToString()
        self._indexed.pop(request.collection_name, None)
        return super().CreateCollection(changed, context)

    def DescribeCollection(self, request: Any, context: Any) -> Any:
        answer = super().DescribeCollection(request, context)
        if answer.status.code == 0:
            answer.schema.CopyFrom(self._proto(request, context))
            answer.schema.name = answer.collection_name
            answer.schema.enable_dynamic_field = True
            kept = [p for p in answer.properties if p.key != PROPERTY]
            del answer.properties[:]
            answer.properties.extend(kept)
        return answer

    def LoadCollection(self, request: Any, context: Any) -> Any:
        try:
            collection = self._get_collection(request, context)
            fields = self._proto(request, context).fields
            wanted = {f.name for f in fields if f.data_type in VECTORS}
            wanted |= {s.path for s in collection.structs}
            missing = wanted - set(collection._index_specs) - collection.indexed
            if missing:
                raise Refused(f"there is no vector index on field: {sorted(missing)}")
        except MilvusLiteError as error:
            return common_pb2.Status(**to_status_kwargs(error))
        return super().LoadCollection(request, context)

    # --- writes --------------------------------------------------------------------------------

    def Insert(self, request: Any, context: Any) -> Any:
        status = common_pb2.Status(**to_status_kwargs(Refused("inserts make duplicates; upsert")))
        return milvus_pb2.MutationResult(status=status)

    def Upsert(self, request: Any, context: Any) -> Any:
        # Of milvus-lite it is the insert that replaces whole rows, as the upsert of a server does.
        answer = self._checked(super().Insert, request, context)
        answer.upsert_cnt = answer.insert_cnt
        return answer

    def Delete(self, request: Any, context: Any) -> Any:
        if not request.expr:
            error = Refused("delete expression must not be empty")
            return milvus_pb2.MutationResult(status=common_pb2.Status(**to_status_kwargs(error)))
        return super().Delete(request, context)

    def _checked(self, write: Any, request: Any, context: Any) -> Any:
        try:
            proto = self._proto(request, context)
            _check_rows(request, proto)
            structs = {s.name: Struct(s) for s in proto.struct_array_fields}
            changed = type(request).FromString(request.SerializeToString())
            del changed.fields_data[:]
            changed.fields_data.extend(
                _hide_tokens(data, structs[data.field_name]) if data.field_name in structs else data
                for data in request.fields_data
            )
        except MilvusLiteError as error:
            status = common_pb2.Status(**to_status_kwargs(error))
            return milvus_pb2.MutationResult(status=status)
        return write(changed, context)

    # --- reads ---------------------------------------------------------------------------------

    def Search(self, request: Any, context: Any) -> Any:
        if not self._seconds:
            return super().Search(request, context)
        time.sleep(self._seconds)
        key = request.SerializeToString()
        if key not in self._answers:
            self._answers[key] = super().Search(request, context)
        return self._answers[key]

    def Query(self, request: Any, context: Any) -> Any:
        answer = super().Query(request, context)
        if answer.status.code == 0:
            self._show_tokens(answer.fields_data, request, context)
        return answer

    def HybridSearch(self, request: Any, context: Any) -> Any:
        ranking = {pair.key: pair.value for pair in request.rank_params}
        weights = json.loads(ranking.get("params", "{}")).get("weights", [])
        problem = None
        if any(not 0 <= weight <= 1 for weight in weights):
            problem = f"rank param weight should be in range [0, 1], got {weights}"
        elif weights and len(weights) != len(request.requests):
            problem = "the length of weights param mismatch with ann search requests"
        if problem:
            status = common_pb2.Status(**to_status_kwargs(Refused(problem)))
            return milvus_pb2.SearchResults(status=status)
        return super().HybridSearch(request, context)

    def _show_tokens(self, fields_data: Any, request: Any, context: Any) -> None:
        structs = {s.name: s for s in self._structs(request, context)}
        shown = [
            _show_tokens(data, structs[data.field_name]) if data.field_name in structs else data
            for data in fields_data
        ]
        del fields_data[:]
        fields_data.extend(shown)


def _check_schema(proto: Any) -> None:
    vectors = [f for f in proto.fields if f.data_type in VECTORS]
    vectors += [f for s in proto.struct_array_fields for f in s.fields]
    if len(vectors) > MAX_VECTOR_FIELDS:
        raise Refused(f"maximum vector field's number should be limited to {MAX_VECTOR_FIELDS}")
    if len(proto.fields) + len(proto.struct_array_fields) > MAX_FIELDS:
        raise Refused(f"maximum field's number should be limited to {MAX_FIELDS}")
    if not vectors:
        raise Refused("schema does not contain vector field")
    for struct in proto.struct_array_fields:
        for field in struct.fields:
            if field.element_type != Type.FloatVector:
                raise Refused("now only float vector is supported in array of vectors")
    inner = [f for s in proto.struct_array_fields for f in s.fields]
    for field in [*proto.fields, *inner]:
        parameters = {pair.key: int(pair.value) for pair in field.type_params}
        if not 0 < parameters.get("max_capacity", 1) <= MAX_CAPACITY:
            raise Refused("the maximum capacity specified for a Array should be in (0, 4096]")
        if not 0 < parameters.get("max_length", 1) <= MAX_VARCHAR_BYTES:
            raise Refused("the maximum length specified for a VarChar should be in (0, 65535]")


def _check_rows(request: Any, proto: Any) -> None:
    given = {data.field_name: data for data in request.fields_data}
    for field in [*proto.fields, *proto.struct_array_fields]:
        if field.name not in given:
            raise Refused(f"fieldSchema({field.name}) has no corresponding fieldData pass in")
    for field in proto.fields:
        _check_values(field, given[field.name])
    for data in request.fields_data:
        if data.is_dynamic:
            _check_json("$meta", data.scalars.json_data.data)


def _check_values(field: Any, data: Any) -> None:
    parameters = {pair.key: int(pair.value) for pair in field.type_params}
    length = parameters.get("max_length", 0)
    if field.data_type == Type.VarChar:
        _check_strings(field.name, data.scalars.string_data.data, length)
    elif field.data_type == Type.JSON:
        _check_json(field.name, data.scalars.json_data.data)
    elif field.data_type == Type.SparseFloatVector:
        if not all(data.vectors.sparse_float_vector.contents):
            raise Refused("empty sparse float vector row")
    elif field.data_type == Type.Array:
        for row in data.scalars.array_data.data:
            if len(row.string_data.data) > parameters["max_capacity"]:
                raise Refused(f"the length of array {field.name} exceeds max capacity")
            _check_strings(field.name, row.string_data.data, length)


def _check_strings(name: str, values: Iterable[str], limit: int) -> None:
    for value in values:
        size = len(value.encode())
        if size > limit:
            raise Refused(f"length of varchar field {name} exceeds max length: {size} > {limit}")


def _check_json(name: str, values: Iterable[bytes]) -> None:
    for value in values:
        if len(value) > MAX_JSON_BYTES:
            raise Refused(f"the length ({len(value)}) of json field ({name}) exceeds max length")


def _hide_tokens(data: Any, struct: Struct) -> Any:
    """Return a struct array as the array of strings that milvus-lite stores."""
    hidden = schema_pb2.FieldData(type=Type.Array, field_name=struct.name)
    hidden.scalars.array_data.element_type = Type.VarChar
    (vectors,) = data.struct_arrays.fields
    if vectors.vectors.vector_array.dim != struct.dim:
        raise Refused(f"dim mismatch: {vectors.vectors.vector_array.dim}, expected {struct.dim}")
    for row in vectors.vectors.vector_array.data:
        tokens = np.array(row.float_vector.data, np.float32).reshape(-1, struct.dim)
        if len(tokens) > struct.capacity:
            raise Refused(f"the length ({len(tokens)}) of array exceeds max capacity")
        strings = hidden.scalars.array_data.data.add().string_data.data
        if len(tokens):
            strings.append(base64.b64encode(tokens.tobytes()).decode())
    return hidden


def _show_tokens(hidden: Any, struct: Struct) -> Any:
    """Return what `_hide_tokens` stored as a struct array."""
    shown = schema_pb2.FieldData(type=Type.ArrayOfStruct, field_name=struct.name)
    vectors = shown.struct_arrays.fields.add(type=Type.ArrayOfVector, field_name=struct.path)
    array = vectors.vectors.vector_array
    array.dim, array.element_type = struct.dim, Type.FloatVector
    for row in hidden.scalars.array_data.data:
        tokens = struct.unpack(row.string_data.data)
        array.data.add(dim=struct.dim).float_vector.data.extend(tokens.ravel().tolist())
    return shown


def _lines() -> Iterator[str]:
    return iter(sys.stdin.readline, "")


def main(folder: str, seconds: str = "0") -> None:
    """Serve until standard input ends."""
    database = MilvusLite(folder)
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=100 if float(seconds) else 10),
        options=[
            ("grpc.max_receive_message_length", MAX_RECEIVE_BYTES),
            ("grpc.max_send_message_length", 4 * MAX_RECEIVE_BYTES),
            ("grpc.http2.min_ping_interval_without_data_ms", 5000),  # the client's is 10 s
            ("grpc.http2.max_ping_strikes", 0),
        ],
    )
    milvus_pb2_grpc.add_MilvusServiceServicer_to_server(Servicer(database, float(seconds)), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)  # noqa: T201 - how the caller learns it
    for _ in _lines():
        pass
    server.stop(grace=0)
    database.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
