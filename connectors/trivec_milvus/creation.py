"""Creating a collection with the storage that the server supports, and loading it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from pymilvus.client.types import LoadState

from trivec.colbert_storage import ColbertStorage
from trivec.collection import Collection
from trivec.deadline import limited, pause
from trivec.errors import InvalidOptionError, StoreError, StoreUnavailableError
from trivec_milvus.client import Connection
from trivec_milvus.errors import unreadable_answers
from trivec_milvus.requests import Method, Request
from trivec_milvus.schema import Layout, is_lite, supports_struct_arrays

_POLL_SECONDS = 0.1  # between two requests for the progress of loading


@dataclass(frozen=True, slots=True)
class Creation:
    """Creates a collection."""

    connection: Connection
    name: str

    def run(self, collection: Collection) -> Layout:
        """Create the collection, with native ColBERT vectors if the server has them."""
        schema = collection.schema
        if schema.dense is None and not schema.sparse:
            raise InvalidOptionError(
                f"collection {self.name!r}: Milvus needs dense or sparse vectors, which candidates "
                "come from, beside the ColBERT vectors"
            )
        names = self.connection.options.names
        storage = None if schema.colbert is None else collection.colbert or ColbertStorage()
        packed = Layout(schema, collection.fields, storage, names)
        reason = ""
        version = self.connection.version
        # milvus-lite is tried too: a later version may have arrays of structs.
        may_be_native = supports_struct_arrays(version) or is_lite(version)
        if storage is not None and storage.bits >= 16 and may_be_native:
            for half in (True, False) if storage.bits == 16 else (False,):
                layout = replace(packed, storage="native", half=half, reason=reason)
                problem = self._problem(layout)
                if not problem:
                    return layout
                reason = problem
        if storage is not None and storage.bits > 16:
            why = reason or f"{version} has no arrays of structs"
            raise InvalidOptionError(
                f"collection {self.name!r}: {why}, and token vectors that are packed into strings "
                f"have at most 16 bits; pass '{replace(storage, bits=16)}'"
            )
        problem = self._problem(packed)
        if problem:
            raise StoreError(f"collection {self.name!r}: {problem}")
        return packed

    def _problem(self, layout: Layout) -> str:
        """Create the collection; if it does not get this layout, drop it and return why."""
        try:
            self._send(
                "create_collection",
                {
                    "schema": layout.milvus_schema(),
                    "properties": layout.properties,
                    "consistency_level": self.connection.options.consistency,
                },
            )
        except StoreError as error:
            # Servers 2.6: "now only float vector is supported".
            if layout.native and layout.half and "only float vector" in str(error):
                return f"{self.connection.version} takes only float32 in arrays of structs"
            raise
        try:
            return self._completed(layout)
        except BaseException:
            # A collection without its indexes cannot be loaded.
            with suppress(StoreError):
                self._send("drop_collection")
            raise

    def _completed(self, layout: Layout) -> str:
        """Index and load the new collection; if it has another layout, drop it and return why."""
        version = self.connection.version
        described = self._send("describe_collection")
        with unreadable_answers(self.name):
            # Servers without arrays of structs leave the field out and report no error.
            existing = {f["name"]: f for f in described["fields"]}
            field = existing.get(layout.names.colbert, {})
            dropped = layout.native and not field.get("struct_fields")
        if dropped:
            self._send("drop_collection")
            return f"{version} drops arrays of structs"
        indexes = layout.index_params(lite=is_lite(version))
        # pymilvus would wait half a second for each index; loading waits for them anyway.
        self._send("create_index", {"index_params": indexes, "sync": False})
        load(self.connection, self.name)
        return ""

    def _send(self, method: Method, options: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401
        return self.connection.send(self.name, Request(method, options or {}))


def load(connection: Connection, name: str) -> None:
    """Load a collection into the memory of Milvus, which may take many minutes.

    Each percent has the time of one call of the store.
    """
    request = Request("load_collection", {"_async": True})
    try:
        connection.send(name, request)
    except StoreError:
        if connection.lite is None or not connection.lite.drop_indexes(name):
            raise
        connection.send(name, request)
    percent = -1
    while percent < 100:
        with limited(connection.options.deadline):
            percent = _percent_above(percent, connection, name)


def _percent_above(reached: int, connection: Connection, name: str) -> int:
    """Wait until more percent of a collection are loaded."""
    while True:
        answer = connection.send(name, Request("get_load_state", {}))
        with unreadable_answers(name):
            state = LoadState(answer["state"])
            percent = 100 if state == LoadState.Loaded else int(answer.get("progress", 0))
        if state not in (LoadState.Loaded, LoadState.Loading):
            raise StoreUnavailableError(f"collection {name!r} was loaded and is not: {state.name}")
        if percent > reached:
            return percent
        pause(_POLL_SECONDS)


def storage_reason(layout: Layout, version: str) -> str:
    """Return why ColBERT vectors are stored as they are."""
    if layout.reason:
        return layout.reason
    if layout.code_bits is not None:
        return "arrays of structs hold float32 or float16 only, strings any number of bits"
    if layout.native:
        return f"{version} holds a vector per token"
    if is_lite(version):
        return f"{version} drops arrays of structs"
    if not supports_struct_arrays(version):
        return f"{version} is older than 2.6.19"
    return "the collection was created so"
