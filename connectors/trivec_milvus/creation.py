"""Creating a collection in the storage that the server turns out to have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from trivec.errors import InvalidOptionError, StoreError
from trivec_milvus.client import translated
from trivec_milvus.schema import Layout, is_lite, supports_struct_arrays

__all__ = ["Creation", "why"]


@dataclass(frozen=True, slots=True)
class Creation:
    """The server that a collection is created on.

    Args:
        client: The `MilvusClient`.
        name: The collection.
        version: What the server says of its version.
        options: The timeout and the consistency level.
    """

    client: Any
    name: str
    version: str
    options: Mapping[str, Any]

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
        names = {"collection_name": self.name, "timeout": self.options["timeout"]}
        schema = layout.milvus_schema()
        try:
            with translated(self.name):
                self.client.create_collection(
                    **names,
                    schema=schema,
                    properties=layout.properties,
                    consistency_level=self.options["consistency_level"],
                )
        except StoreError as error:
            # Servers 2.6: "now only float vector is supported".
            if layout.half and "only float vector" in str(error):
                return f"{self.version} takes only float32 in arrays of structs"
            raise
        with translated(self.name):
            # Who does not know arrays of structs leaves the field out and says nothing.
            there = {f["name"]: f for f in self.client.describe_collection(**names)["fields"]}
            if layout.native and not there.get(layout.names.colbert, {}).get("struct_fields"):
                self.client.drop_collection(**names)
                return f"{self.version} drops arrays of structs"
            # Not waiting saves the half second that pymilvus sleeps for each index; load waits.
            indexes = layout.index_params(lite=is_lite(self.version))
            self.client.create_index(**names, index_params=indexes, sync=False)
            self.client.load_collection(**names)
        return ""


def why(layout: Layout, version: str) -> str:
    """Return why a collection that exists has this storage."""
    if layout.native:
        return f"{version} holds a vector per token"
    if is_lite(version):
        return f"{version} drops arrays of structs"
    if not supports_struct_arrays(version):
        return f"{version} is older than 2.6.19"
    return "the collection was created so"
