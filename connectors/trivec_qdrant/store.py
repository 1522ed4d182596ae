"""Collections in Qdrant: how stores open them, and what they ask of them."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from trivec.collection import Capability, Collection, OptimizeReport, Page
from trivec.document import Document
from trivec.errors import InvalidOptionError
from trivec.fields import FieldType
from trivec.filters import Filter
from trivec.hit import Hit
from trivec.schema import Schema
from trivec.search import PARTS, Part, Search
from trivec.stores.backend import Backend
from trivec.stores.limits import Limits
from trivec.stores.registry import opener
from trivec.stores.steps import Steps
from trivec.stores.storage import StorageChoice
from trivec.stores.url import StoreUrl
from trivec.vectors import Vector, Vectors
from trivec_qdrant import mapping, precision
from trivec_qdrant.engines.engine import Engine
from trivec_qdrant.engines.opening import engine_of_client, open_engine
from trivec_qdrant.filters import Condition, Stranger, dated, lower, strange
from trivec_qdrant.mapping import Row
from trivec_qdrant.options import QdrantOptions
from trivec_qdrant.schema import DATATYPES, Quantization, as_described
from trivec_qdrant.search import Searcher

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

_NAME = re.compile(r'[^/:<>"\\|?*\x00-\x1f]{1,255}')

_log = logging.getLogger("trivec")

STRANGERS = 1024  # points of one page without text and vectors
MANY_STRANGERS = 10_000
QUERIES = 64  # in one request; 16 query tokens of 1,024 dimensions take 80 KB over gRPC
VECTOR_PAGE = 64  # documents of one page with vectors; 200 tokens of 1,024 dimensions take 0.8 MB

# The most numbers in the token vectors of one document: the server refuses 2**20 (Qdrant,
# lib/common/common/src/validation.rs), the embedded engine does not check.
_COLBERT_VALUES = 2**20 - 1


class QdrantBackend(Backend[Collection]):
    """A collection in Qdrant, on a server or embedded.

    Hybrid scores are computed by the database in one request, exactly. The collection's metadata
    hold the model's name, the declared fields and how token vectors are kept (for a shard, a file
    beside it). In collections of other programs the payload indexes tell the fields.

    Args:
        engine: Reads and writes the collection.
        options: The options of the store.

    Raises:
        InvalidOptionError: If the name is none that Qdrant takes.
    """

    limits = Limits(
        database="Qdrant",
        colbert_values=_COLBERT_VALUES,
        colbert_bits=Engine.colbert_bits,
        codec_cosines={8: 0.999, 4: 0.9},  # turbo8 has 0.9999, turbo4 0.96 and more
    )
    options = QdrantOptions

    def __init__(self, engine: Engine, options: QdrantOptions) -> None:
        super().__init__(_check_name(engine.name))
        self.limits = replace(type(self).limits, colbert_bits=engine.colbert_bits)
        self._engine = engine
        self._names = options.names
        self._quantization: Quantization | None = options.quantization
        self._searcher = Searcher(engine)
        self._warned = False

    # --- opening ---------------------------------------------------------------------------------

    @classmethod
    def from_url(cls, url: StoreUrl, options: QdrantOptions) -> Self:
        """Open `qdrant://host:port/name` (`qdrants` for TLS) or an embedded collection.

        Args:
            url: With one of the schemes `qdrant`, `qdrants`, `qdrant+edge`, `qdrant+local` and
                `qdrant+memory`.
            options: The options of the store.
        """
        _check_name(url.name)
        return cls(open_engine(url, options), options)

    @classmethod
    def of_client(cls, client: QdrantClient, name: str, options: QdrantOptions) -> Self:
        """Open a collection through a ready client, which stays its owner's to close.

        Args:
            client: The client.
            name: The collection.
            options: The options of the store; those of the connection are the client's.
        """
        return cls(engine_of_client(client, _check_name(name), options), options)

    @classmethod
    def local_files(cls, url: StoreUrl) -> tuple[Path, ...]:
        """Return the client's files in a folder of collections, or the folder of one."""
        if url.path is not None and url.scheme == "qdrant+local":
            return tuple(url.path / name for name in ("collection", "meta.json", ".lock"))
        return super().local_files(url)

    @classmethod
    def storage_choices(
        cls, schema: Schema, *, tokens: float, terms: float
    ) -> Sequence[StorageChoice]:
        return list(_storage_choices(schema, tokens, terms))

    # --- the collection --------------------------------------------------------------------------

    def describe(self, declared: Mapping[str, FieldType]) -> Steps[Collection | None]:
        description = yield from self._engine.describe()
        return None if description is None else description.collection(self._names, declared)

    def create(self, collection: Collection, *, adopt: bool) -> Steps[Collection]:
        yield from self._engine.create(collection, self._quantization)
        return as_described(collection)

    def drop(self) -> Steps[None]:
        yield from self._engine.drop()

    def optimize(self, collection: Collection) -> Steps[OptimizeReport]:
        """Let the embedded engine build its indexes and give back disk.

        Until then it reads every vector for every query, which is fast up to some ten thousand
        documents. Servers do both by themselves.
        """
        sizes = yield from self._engine.optimize()
        return OptimizeReport() if sizes is None else OptimizeReport(*sizes)

    def close(self) -> None:
        self._engine.close()

    async def aclose(self) -> None:
        await self._engine.aclose()

    def capabilities(self, collection: Collection) -> tuple[Capability, ...]:
        write = Capability("write", self._engine.route, "chosen when the store was opened")
        colbert = precision.capability(collection, rounds=self._engine.rounds)
        return (self._searcher.capability, write, *([] if colbert is None else [colbert]))

    @property
    def endpoint(self) -> str:
        return self._engine.endpoint

    # --- documents -------------------------------------------------------------------------------

    def check(
        self, collection: Collection, documents: Sequence[Document], vectors: Vectors
    ) -> None:
        if self._names.id and self._names.metadata:
            return  # nothing is refused
        for document in documents:
            mapping.point_id(document.id, self._names)
            mapping.payload(document, self._names)

    def wire_bytes(self, collection: Collection, vectors: Vectors) -> NDArray[np.int64]:
        numbers = np.zeros(len(vectors), np.int64)
        indices = np.zeros(len(vectors), np.int64)
        if vectors.dense is not None:
            numbers += vectors.dense.shape[1]
        if vectors.colbert is not None:
            numbers += np.diff(vectors.colbert.indptr) * vectors.colbert.dim
        if vectors.sparse is not None:
            indices = np.diff(vectors.sparse.indptr)
        # An index takes up to 7 digits and a comma, a point's frame some 200 bytes.
        return (numbers + indices) * self._engine.number_bytes + indices * 8 + 200

    def write(
        self, collection: Collection, documents: Sequence[Document], vectors: Vectors
    ) -> Steps[None]:
        if not self._engine.rounds:
            vectors = precision.rounded(vectors, collection.colbert)
        yield from self._engine.write(documents, vectors)

    def get(self, collection: Collection, ids: Sequence[str], with_vectors: bool) -> Steps[Page]:
        schema = collection.schema if with_vectors else None
        rows = yield from self._engine.read(self._point_ids(ids), _parts(schema))
        return self._page(collection, rows, schema)

    def scan_page(
        self,
        collection: Collection,
        cursor: object,
        limit: int,
        with_vectors: bool,
        condition: Filter | None,
    ) -> Steps[tuple[Page, object]]:
        """Read one page; its cursor is the next offset, with the condition for all pages."""
        schema = collection.schema if with_vectors else None
        if cursor is None:
            where, offset = (yield from self._where(collection, condition)), None
        else:
            where, offset = cast(tuple[Condition | None, object], cursor)
        limit = min(limit, VECTOR_PAGE) if schema else limit
        rows, offset = yield from self._engine.scroll(offset, limit, _parts(schema), where)
        page = self._page(collection, rows, schema)
        return page, None if offset is None else (where, offset)

    def _page(self, collection: Collection, rows: Sequence[Row], schema: Schema | None) -> Page:
        page = mapping.page(rows, self._names, schema)
        if page.vectors is None or not self._engine.rounds:
            return page
        return page._replace(vectors=precision.with_lengths(page.vectors, collection.colbert))

    def delete(self, collection: Collection, ids: Sequence[str]) -> Steps[None]:
        yield from self._engine.delete(self._point_ids(ids))

    def delete_where(self, collection: Collection, condition: Filter) -> Steps[None]:
        where = yield from self._where(collection, condition)
        assert where is not None
        yield from self._engine.delete_where(where)

    def count(self, collection: Collection, condition: Filter | None) -> Steps[int]:
        where = yield from self._where(collection, condition)
        return (yield from self._engine.count(where))

    def search(
        self, collection: Collection, queries: Sequence[Vector], search: Search
    ) -> Steps[list[list[Hit]]]:
        where = yield from self._where(collection, search.filter)
        hits: list[list[Hit]] = []
        for start in range(0, len(queries), QUERIES):
            batch = queries[start : start + QUERIES]
            hits += yield from self._searcher.search(batch, search, where)
        return hits

    # --- requests --------------------------------------------------------------------------------

    def send(self, request: Any) -> Any:
        return self._engine.send(request)

    def asend(self, request: Any) -> Awaitable[Any] | None:
        return self._engine.asend(request)

    # --- filters ---------------------------------------------------------------------------------

    def _point_ids(self, ids: Sequence[str]) -> list[str | int]:
        return [mapping.point_id(id, self._names) for id in ids]

    def _where(self, collection: Collection, condition: Filter | None) -> Steps[Condition | None]:
        if condition is None:
            return None
        paths = dated(condition)
        strangers = (yield from self._strangers(paths)) if paths else ()
        return lower(condition, collection.fields, self._names, strangers)

    def _strangers(self, paths: Sequence[str]) -> Steps[list[Stranger]]:
        """Return the points that another program wrote, for conditions on dates at these paths."""
        names = self._names
        keys = [names.metadata] if names.metadata else [p.partition(".")[0] for p in paths]
        where = strange(paths, names)
        strangers: list[Stranger] = []
        offset = None
        while True:
            rows, offset = yield from self._engine.scroll(offset, STRANGERS, (), where, keys)
            strangers += [
                Stranger(mapping.stored_id(row.id), mapping.document(row, names).metadata)
                for row in rows
            ]
            if offset is None:
                break
        if len(strangers) > MANY_STRANGERS and not self._warned:
            self._warned = True
            _log.warning(
                "collection %r: %d points have dates that trivec did not write, and each search "
                "with a filter on dates reads them; copy the collection to make it fast",
                *(self.name, len(strangers)),
            )
        return strangers


QdrantStore = opener(QdrantOptions, QdrantBackend.of_client)
"""Open a collection in Qdrant through a ready client, which stays its owner's to close.

It takes a `QdrantClient`, the name of the collection and, by keyword, the `QdrantOptions`.

Example:
    >>> from qdrant_client import QdrantClient
    >>> from trivec import Document
    >>> from trivec.testing import HashEncoder
    >>> client, encoder = QdrantClient(":memory:"), HashEncoder()
    >>> with QdrantStore(client, "articles") as store:
    ...     store.create(encoder.schema, fields={"lang": str})
    ...     _ = store.upsert(
    ...         [Document("a", "blue whale", {"lang": "en"})],
    ...         encoder.encode_documents(["blue whale"]),
    ...     )
    ...     [hit.document.id for hit in store.search(encoder.encode_query("whale"))]
    ['a']
    >>> client.close()
"""


def _parts(schema: Schema | None) -> tuple[Part, ...]:
    """Return the vectors to read: those of a schema, or none."""
    return tuple(part for part in PARTS if schema is not None and part in schema.parts)


def _check_name(name: str) -> str:
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise InvalidOptionError(
            f"{name!r} cannot be the name of a Qdrant collection: 1 to 255 characters, none of "
            '/ : < > " \\ | ? *'
        )
    return name


def _storage_choices(schema: Schema, t: float, s: float) -> Iterator[StorageChoice]:
    """Yield the choices for t token vectors and s lexical terms.

    A term is an id of 4 bytes and a weight. Codes of turbo8 and turbo4 have a length of 4 bytes.
    """
    if schema.dense is not None:
        d = schema.dense
        yield StorageChoice("qdrant", "dense", "float32", "4 d", 4 * d, True)
        for name, formula, copy in (
            ("int8", "d", float(d)),
            ("turbo4", "d/2", d / 2),
            ("turbo2", "d/4", d / 4),
            ("turbo1", "d/8", d / 8),
            ("binary", "d/8", d / 8),
        ):
            full = f"4 d + {formula}"
            storage = f"float32 + {name} copy"
            yield StorageChoice("qdrant", "dense", storage, full, 4 * d + copy, False)
    if schema.sparse:
        for index, formula, size in (
            ("float16", "8 s + 6 s", 14 * s),
            ("float32", "8 s + 8 s", 16 * s),
        ):
            storage = f"float32 + {index} index"
            yield StorageChoice("qdrant", "sparse", storage, formula, size, index == "float16")
    if schema.colbert is not None:
        d = schema.colbert
        most = _COLBERT_VALUES // d
        pooled = f", t at most {most}" if t > most else ""
        formulas = {32: "4 t d", 16: "2 t d", 8: "t (d + 4)", 4: "t (d / 2 + 4)"}
        for bits, datatype in DATATYPES.items():
            length = 4 if bits < 16 else 0
            storage, size = f"{datatype} multivector", min(t, most) * (bits / 8 * d + length)
            formula = formulas[bits] + pooled
            yield StorageChoice("qdrant", "colbert", storage, formula, size, bits == 16)
