"""A collection in Qdrant."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from trivec.collection import Capability, Collection, OptimizeReport, Page
from trivec.document import Document
from trivec.errors import InvalidOptionError
from trivec.fields import FieldType, field_types
from trivec.filters import Filter
from trivec.hit import Hit
from trivec.schema import Schema
from trivec.search import Part, Search
from trivec.stores.deadline import DEADLINE_SECONDS
from trivec.stores.overflow import Overflow
from trivec.stores.store import BATCH_BYTES, Store
from trivec.stores.url import StoreUrl
from trivec.vectors import Vector, Vectors
from trivec_qdrant import mapping
from trivec_qdrant.engine import Engine
from trivec_qdrant.filters import Condition, Stranger, dated, lower, strange
from trivec_qdrant.opening import engine_of_client, open_engine
from trivec_qdrant.schema import (
    Names,
    Precision,
    Quantization,
    Storage,
    max_colbert_rows,
)
from trivec_qdrant.searching import Searcher

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

__all__ = ["QdrantStore"]

_NAME = re.compile(r'[^/:<>"\\|?*\x00-\x1f]{1,255}')

_log = logging.getLogger("trivec")

STRANGERS = 1024  # points of one page without text and vectors
MANY_STRANGERS = 10_000
QUERIES = 64  # in one request; 16 query tokens of 1,024 dimensions take 80 KB over gRPC
VECTOR_PAGE = 64  # documents of one page with vectors; 200 tokens of 1,024 dimensions take 0.8 MB


class QdrantStore(Store):
    """A collection in Qdrant, on a server or embedded.

    Hybrid scores are computed by the database in one request, exactly. The model's name and the
    declared fields lie in the collection's metadata (for a shard, in a file beside it); for
    collections of other programs, fields are read off the payload indexes.

    Args:
        client: A ready client, which stays its owner's to close; or an engine.
        name: The collection.
        precision: Of token vectors and the sparse index in a collection that is created; see
            `Storage`.
        quantization: A compressed copy of the dense vectors, for finding candidates only.
        names: What vectors and payload keys are called.
        colbert_overflow: What to do with more than 1,023 token vectors at 1,024 dimensions.
        batch_bytes: The most bytes of one write; 32 MiB by default, which is what a server takes
            over REST.
        deadline: Seconds that one call may take in all; see `Store`.

    Example:
        >>> from trivec import Document, open_store
        >>> from trivec.testing import HashEncoder
        >>> encoder = HashEncoder()
        >>> with open_store("qdrant+memory:/qdrant-example") as store:
        ...     store.create(encoder.schema, fields={"lang": str})
        ...     _ = store.upsert(
        ...         [Document("a", "blue whale", {"lang": "en"})],
        ...         encoder.encode_documents(["blue whale"]),
        ...     )
        ...     [hit.document.id for hit in store.search(encoder.encode_query("whale"))]
        ['a']
    """

    def __init__(
        self,
        client: QdrantClient | Engine,
        name: str,
        *,
        precision: Precision = "float16",
        quantization: Quantization | None = None,
        names: Names | None = None,
        colbert_overflow: Overflow = "pool",
        batch_bytes: int = BATCH_BYTES,
        deadline: float = DEADLINE_SECONDS,
    ) -> None:
        super().__init__(
            name, colbert_overflow=colbert_overflow, batch_bytes=batch_bytes, deadline=deadline
        )
        _check_name(name)
        self._names = names or Names()
        self._storage = Storage(precision, quantization)
        self._engine = (
            client if isinstance(client, Engine) else engine_of_client(client, name, self._names)
        )
        self._searcher = Searcher(self._engine)
        self._asked: Mapping[str, FieldType] = {}
        self._warned = False

    @classmethod
    def from_url(
        cls,
        url: StoreUrl,
        *,
        api_key: str | None = None,
        prefer_grpc: bool = True,
        grpc_port: int | None = None,
        timeout: float = 60,
        compression: bool = False,
        precision: Precision = "float16",
        quantization: Quantization | None = None,
        names: Names | None = None,
        colbert_overflow: Overflow = "pool",
        batch_bytes: int = BATCH_BYTES,
        deadline: float = DEADLINE_SECONDS,
    ) -> Self:
        """Open `qdrant://host:port/name` (`qdrants` for TLS) or an embedded collection.

        A certificate of a private authority is trusted where the environment variable
        GRPC_DEFAULT_SSL_ROOTS_FILE_PATH, or SSL_CERT_FILE for REST, names the authority's file.

        Args:
            url: With one of the schemes `qdrant`, `qdrants`, `qdrant+edge`, `qdrant+local` and
                `qdrant+memory`.
            api_key: For servers; by default the environment variable QDRANT_API_KEY. Without TLS
                it can be read on the way, which the log says once of each host.
            prefer_grpc: Whether to use gRPC, or REST.
            grpc_port: By default the one after the URL's.
            timeout: Seconds until a request is given up, however slowly bytes come.
            compression: Whether the server may compress its answers, for slow networks.
            precision: See the class.
            quantization: See the class.
            names: See the class.
            colbert_overflow: See the class.
            batch_bytes: See the class.
            deadline: See the class.
        """
        _check_name(url.name)
        Storage(precision, quantization)  # refused before anything is opened
        engine = open_engine(
            url,
            names or Names(),
            api_key=api_key,
            prefer_grpc=prefer_grpc,
            grpc_port=grpc_port,
            timeout=timeout,
            compression=compression,
        )
        return cls(
            engine,
            url.name,
            precision=precision,
            quantization=quantization,
            names=names,
            colbert_overflow=colbert_overflow,
            batch_bytes=batch_bytes,
            deadline=deadline,
        )

    @classmethod
    def local_files(cls, url: StoreUrl) -> tuple[Path, ...]:
        """Return what the client keeps in a folder of collections, or the folder of one."""
        if url.path is not None and url.scheme == "qdrant+local":
            return tuple(url.path / name for name in ("collection", "meta.json", ".lock"))
        return super().local_files(url)

    @property
    def capabilities(self) -> tuple[Capability, ...]:
        """How writes and hybrid scores are done, as far as it is known by now."""
        return (
            self._searcher.capability,
            Capability("write", self._engine.route, "chosen when the store was opened"),
        )

    def _optimize(self) -> OptimizeReport:
        """Let the embedded engine, which does neither, build its indexes and give back disk.

        It reads every vector for every query until then, which is fast up to some ten thousand
        documents. Servers do both by themselves.
        """
        sizes = self._engine.optimize()
        return OptimizeReport() if sizes is None else OptimizeReport(*sizes)

    def create(
        self,
        schema: Schema,
        *,
        fields: Mapping[str, type | FieldType] | None = None,
        exist_ok: bool = False,
    ) -> None:
        """Create the collection; see `Store.create`."""
        self._asked = field_types(fields or {})
        super().create(schema, fields=fields, exist_ok=exist_ok)

    def _describe(self) -> Collection | None:
        description = self._engine.describe()
        return None if description is None else description.collection(self._names, self._asked)

    def _create(self, collection: Collection) -> None:
        self._engine.create(collection, self._storage)

    def _write(self, documents: Sequence[Document], vectors: Vectors) -> None:
        self._engine.write(documents, vectors)

    def _search(self, queries: Sequence[Vector], search: Search) -> list[list[Hit]]:
        where = self._where(search.filter)
        found: list[list[Hit]] = []
        for start in range(0, len(queries), QUERIES):
            found += self._searcher.answer(queries[start : start + QUERIES], search, where)
        return found

    def _get(self, ids: Sequence[str], with_vectors: bool) -> Page:
        schema = self.schema if with_vectors else None
        rows = self._engine.read(
            [mapping.point_id(one, self._names) for one in ids], _parts(schema)
        )
        return mapping.page(rows, self._names, schema)

    def _scan(
        self, batch_size: int, with_vectors: bool, condition: Filter | None
    ) -> Iterator[Page]:
        schema = self.schema if with_vectors else None
        limit = min(batch_size, VECTOR_PAGE) if schema else batch_size
        parts = _parts(schema)
        where = self._where(condition)
        offset = None
        while True:
            rows, offset = self._retrying(self._engine.scroll, offset, limit, parts, where)
            if rows:
                yield mapping.page(rows, self._names, schema)
            if offset is None:
                return

    def _delete(self, ids: Sequence[str]) -> None:
        self._engine.delete([mapping.point_id(one, self._names) for one in ids])

    def _delete_where(self, condition: Filter) -> None:
        where = self._where(condition)
        assert where is not None
        self._engine.delete_where(where)

    def _count(self, condition: Filter | None) -> int:
        return self._engine.count(self._where(condition))

    def _drop(self) -> None:
        self._engine.drop()

    def _close(self) -> None:
        self._engine.close()

    def _endpoint(self) -> str:
        endpoint = self._engine.endpoint
        return f"{self.address} ({endpoint})" if endpoint else self.address

    def _max_colbert_rows(self, schema: Schema) -> int | None:
        return None if schema.colbert is None else max_colbert_rows(schema.colbert)

    def _wire_bytes(self, vectors: Vectors) -> NDArray[np.int64]:
        numbers = np.full(len(vectors), 0, np.int64)
        indices = np.zeros(len(vectors), np.int64)
        if vectors.dense is not None:
            numbers += vectors.dense.shape[1]
        if vectors.colbert is not None:
            numbers += np.diff(vectors.colbert.indptr) * vectors.colbert.dim
        if vectors.sparse is not None:
            indices = np.diff(vectors.sparse.indptr)
        # An index takes up to 7 digits and a comma, a point's frame some 200 bytes.
        return (numbers + indices) * self._engine.number_bytes + indices * 8 + 200

    def _where(self, condition: Filter | None) -> Condition | None:
        if condition is None:
            return None
        paths = dated(condition)
        strangers = self._strangers(paths) if paths else ()
        return lower(condition, self.fields, self._names, strangers)

    def _strangers(self, paths: Sequence[str]) -> list[Stranger]:
        """Return the points that another program wrote, for conditions on dates at these paths."""
        names = self._names
        keys = (names.metadata,) if names.metadata else tuple(p.partition(".")[0] for p in paths)
        found: list[Stranger] = []
        offset = None
        while True:
            rows, offset = self._engine.scroll(
                offset, STRANGERS, (), strange(paths, names), payload=keys
            )
            found += [
                Stranger(mapping.stored_id(row.id), mapping.document(row, names).metadata)
                for row in rows
            ]
            if offset is None:
                break
        if len(found) > MANY_STRANGERS and not self._warned:
            self._warned = True
            _log.warning(
                "collection %r: %d points have dates that trivec did not write, and each search "
                "with a filter on dates reads them; copy the collection to make it fast",
                *(self.name, len(found)),
            )
        return found


def _parts(schema: Schema | None) -> tuple[Part, ...]:
    """Return the vectors to read: those of a schema, or none."""
    parts: tuple[Part, ...] = ("dense", "sparse", "colbert")
    return tuple(part for part in parts if schema is not None and part in schema.parts)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise InvalidOptionError(
            f"{name!r} cannot be the name of a Qdrant collection: 1 to 255 characters, none of "
            '/ : < > " \\ | ? *'
        )
