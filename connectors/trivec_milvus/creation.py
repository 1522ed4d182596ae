"""Creating a collection in the storage that the server turns out to have, and loading one."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from pymilvus.client.types import LoadState

from trivec.errors import InvalidOptionError, StoreError, StoreUnavailableError
from trivec.stores.deadline import limited, pause, request_seconds
from trivec_milvus.client import Connection
from trivec_milvus.failures import reading
from trivec_milvus.schema import Layout, is_lite, supports_struct_arrays

__all__ = ["Creation", "load", "why"]

_POLL_SECONDS = 0.1  # between two questions how far the loading has come


@dataclass(frozen=True, slots=True)
class Creation:
    """The server that a collection is created on.

    Args:
        connection: How to call it.
        name: The collection.
        version: What the server says of its version.
        consistency: The consistency level.
        deadline: The seconds that loading it may stand still.
    """

    connection: Connection
    name: str
    version: str
    consistency: str
    deadline: float

    def run(self, wanted: Layout, *, half: bool) -> tuple[Layout, str]:
        """Create the collection with native ColBERT vectors if it comes out so, else with packed.

        Args:
            wanted: The layout, whose storage is chosen here.
            half: Whether native vectors should be float16.

        Returns:
            The layout that the collection has, and why.

        Raises:
            InvalidOptionError: If there would be no dense and no sparse vectors.
            StoreError: If Milvus refuses it.
        """
        if wanted.schema.dense is None and not wanted.schema.sparse:
            raise InvalidOptionError(
                f"collection {self.name!r}: Milvus needs dense or sparse vectors, which candidates "
                "come from, beside the ColBERT vectors"
            )
        reason = ""
        if wanted.schema.colbert is not None and self._may_be_native():
            for kind in (True, False) if half else (False,):
                layout = replace(wanted, storage="native", half=kind)
                problem = self._problem(layout)
                if not problem:
                    return layout, reason or why(layout, self.version)
                reason = problem
        packed = replace(wanted, storage="payload", half=False)
        problem = self._problem(packed)
        if problem:
            raise StoreError(f"collection {self.name!r}: {problem}")
        return packed, reason or why(packed, self.version)

    def _may_be_native(self) -> bool:
        return supports_struct_arrays(self.version) or is_lite(self.version)

    def _problem(self, layout: Layout) -> str:
        """Create the collection; return why it did not come out like this, after undoing it."""
        client, names = self.connection.client, {"collection_name": self.name}
        schema = layout.milvus_schema()
        try:
            with self.connection.calls(self.name), self.connection.writes(self.name):
                client.create_collection(
                    **names,
                    schema=schema,
                    properties=layout.properties,
                    consistency_level=self.consistency,
                    timeout=self._seconds(),
                )
        except StoreError as error:
            # Servers 2.6: "now only float vector is supported".
            if layout.half and "only float vector" in str(error):
                return f"{self.version} takes only float32 in arrays of structs"
            raise
        try:
            return self._completed(layout)
        except BaseException:
            # Without its indexes it could not be loaded, by whoever finds it.
            with suppress(StoreError):
                self._drop()
            raise

    def _completed(self, layout: Layout) -> str:
        """Index and load what was created; return why that cannot be, after dropping it."""
        client, names = self.connection.client, {"collection_name": self.name}
        with self.connection.calls(self.name), self.connection.writes(self.name):
            described = client.describe_collection(**names, timeout=self._seconds())
        with reading(self.name):
            # Who does not know arrays of structs leaves the field out and says nothing.
            there = {f["name"]: f for f in described["fields"]}
            dropped = layout.native and not there.get(layout.names.colbert, {}).get("struct_fields")
        if dropped:
            self._drop()
            return f"{self.version} drops arrays of structs"
        indexes = layout.index_params(lite=is_lite(self.version))
        with self.connection.calls(self.name), self.connection.writes(self.name):
            # Not waiting saves the half second that pymilvus sleeps for each index; load waits.
            client.create_index(**names, index_params=indexes, sync=False, timeout=self._seconds())
        load(self.connection, self.name, self.deadline)
        return ""

    def _drop(self) -> None:
        with self.connection.calls(self.name), self.connection.writes(self.name):
            self.connection.client.drop_collection(self.name, timeout=self._seconds())

    def _seconds(self) -> float:
        return request_seconds(self.connection.timeout)


def load(connection: Connection, name: str, deadline: float) -> None:
    """Load a collection into the memory of Milvus, which may take many minutes.

    Args:
        connection: How to call it.
        name: The collection.
        deadline: The seconds that it may stand still: each percent has this time of its own.

    Raises:
        StoreUnavailableError: If it stands still for longer.
    """
    with connection.calls(name), connection.writes(name):
        seconds = request_seconds(connection.timeout)
        connection.client.load_collection(name, timeout=seconds, _async=True)
    reached = -1
    while reached < 100:
        with limited(deadline):
            reached = _percent_above(reached, connection, name)


def _percent_above(reached: int, connection: Connection, name: str) -> int:
    while True:
        with connection.calls(name), connection.reads(name):
            seconds = request_seconds(connection.timeout)
            answer: Any = connection.client.get_load_state(name, timeout=seconds)
        with reading(name):
            state = LoadState(answer["state"])
            percent = 100 if state == LoadState.Loaded else int(answer.get("progress", 0))
        if state not in (LoadState.Loaded, LoadState.Loading):
            raise StoreUnavailableError(f"collection {name!r} was loaded and is not: {state.name}")
        if percent > reached:
            return percent
        pause(_POLL_SECONDS)


def why(layout: Layout, version: str) -> str:
    """Return why a collection that exists has this storage."""
    if layout.native:
        return f"{version} holds a vector per token"
    if is_lite(version):
        return f"{version} drops arrays of structs"
    if not supports_struct_arrays(version):
        return f"{version} is older than 2.6.19"
    return "the collection was created so"
