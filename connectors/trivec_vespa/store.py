"""A collection in Vespa."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from vespa.application import Vespa

from trivec.colbert_storage import ColbertStorage
from trivec.collection import Capability, Collection, Page
from trivec.deadline import limited
from trivec.document import Document
from trivec.errors import (
    CollectionNotFoundError,
    InvalidOptionError,
    StoreError,
    StoreUnavailableError,
)
from trivec.fields import FieldType
from trivec.filters import Filter
from trivec.hit import Hit
from trivec.retry import retrying
from trivec.schema import Schema
from trivec.search import Search
from trivec.stores.backend import Backend, Stepwise
from trivec.stores.limits import Limits
from trivec.stores.registry import opener
from trivec.stores.steps import Steps, ask, run
from trivec.stores.storage import StorageChoice
from trivec.stores.url import StoreUrl
from trivec.vectors import Vector, Vectors
from trivec_vespa.client import Client, Request, query
from trivec_vespa.documents import checked_fields, deliver, read_request, write_request
from trivec_vespa.filters import render
from trivec_vespa.lifecycle import Lifecycle
from trivec_vespa.mapping import (
    check_numbers,
    check_text,
    cleaned_text,
    document_from,
    feed_fields,
    read_page,
    storable_ids,
)
from trivec_vespa.options import VespaOptions, application
from trivec_vespa.replies import Result, Visit, next_continuation, reading, visited
from trivec_vespa.schema import MAX_HITS, check_name
from trivec_vespa.search import answer
from trivec_vespa.token_layout import TokenLayout

_PAGE = 1000  # ids that one query of `delete_where` finds
_VISITED = 1024  # the most documents that one visit may ask for
_QUERIES = 64  # whose hits fit in memory together


@dataclass(frozen=True, slots=True)
class _Cursor:
    """How far a scan has come.

    Args:
        documents: Documents that were visited and belong to the next pages.
        continuation: Where the next visit starts: "" for the first, None after the last.
    """

    documents: list[Document] = field(default_factory=list)
    continuation: str | None = ""


class VespaBackend(Backend[Collection]):
    """A collection in Vespa: one schema, which `create` deploys or checks.

    One request answers a search: the content nodes find the candidates, compute all parts of their
    scores from the tensors and return them; the order is computed from these parts. Lists of
    candidates are cut by the parts too, since each content node gives as many as are asked for.

    Args:
        app: The application; only its address, certificate, token and headers are used.
        name: The collection, which is the schema's name: a letter or `_`, then letters, digits
            and `_`.
        options: The options.

    Raises:
        InvalidOptionError: If Vespa cannot have a schema of this name.
    """

    limits = Limits(
        database="Vespa",
        hits=MAX_HITS,
        declared_fields_only=True,
        colbert_bits=(16, 32, 8, 4, 2, 1),
    )
    options = VespaOptions

    def __init__(self, app: Vespa, name: str, options: VespaOptions) -> None:
        super().__init__(check_name(name))
        self.limits = replace(type(self).limits, connections=options.connections)
        self._options = options
        self.client = Client(app, timeout=options.timeout, http2=options.http2)
        self.lifecycle = Lifecycle(app, self.client, name, options)

    # --- opening -------------------------------------------------------------------------------

    @classmethod
    def of_app(cls, app: Vespa, name: str, options: VespaOptions) -> Self:
        """Return the backend of a collection in an application, whose credentials it uses.

        Raises:
            InvalidOptionError: If the options hold credentials; and as for the class.
        """
        if options.token or options.cert or options.key:
            raise InvalidOptionError(
                "token, cert and key are options of open_store; give them to Vespa(...) itself"
            )
        return cls(app, name, options)

    @classmethod
    def from_url(cls, url: StoreUrl, options: VespaOptions) -> Self:
        """Return the backend of `vespa://host:8080/name`, or `vespas://host:443/name` for TLS.

        If your own authority signed the server's certificate, name the file of that authority
        (PEM) in the environment variable `HTTPR_CA_BUNDLE`.

        Raises:
            InvalidOptionError: If the URL has no host, a file does not exist, or there are
                credentials without TLS.
        """
        deploy = url.scheme != "vespas" if options.deploy is None else options.deploy
        return cls(application(url, options), url.name, replace(options, deploy=deploy))

    @classmethod
    def storage_choices(
        cls, schema: Schema, *, tokens: float, terms: float
    ) -> Sequence[StorageChoice]:
        """Return the ways to store vectors and the bytes that they take; for `trivec plan`."""
        choice = partial(StorageChoice, "vespa")
        tensor, numbers = "tensor<bfloat16>", tokens * (schema.colbert or 0)
        choices = (
            choice("dense", tensor, "2 d", 2.0 * (schema.dense or 0), True),
            choice("sparse", "weightedset<int> + tensor<float>", "8 s + 8 s", 16 * terms, True),
            choice("colbert", tensor, "2 t d", 2 * numbers, True),
            choice("colbert", "tensor<float>", "4 t d", 4 * numbers, False),
            *(
                choice(
                    "colbert",
                    f"{bits} bit{'s' * (bits > 1)}, factors",
                    f"t d{f' / {8 // bits}' * (bits < 8)} + 4 t",
                    numbers * bits / 8 + 4 * tokens,
                    False,
                )
                for bits in (8, 4, 2, 1)
            ),
        )
        return [offered for offered in choices if offered.part in schema.parts]

    # --- the collection ------------------------------------------------------------------------

    def describe(self, declared: Mapping[str, FieldType]) -> Steps[Collection | None]:
        return (yield from self.lifecycle.read())

    def create(self, collection: Collection, *, adopt: bool) -> Collection:
        self.lifecycle.create(collection, adopt=adopt)
        return collection

    def drop(self) -> Steps[None]:
        yield from self.lifecycle.drop(self._in_pages)

    def close(self) -> None:
        self.client.close()

    def capabilities(self, collection: Collection) -> tuple[Capability, ...]:
        layout = TokenLayout.of(collection.schema, collection.colbert)
        capabilities = (
            Capability("hybrid", "one request", "parts are match-features of its second phase"),
            Capability(
                "candidates", "approximate", "HNSW, and wand over rounded weights, find them"
            ),
            Capability("vectors", "bfloat16", "half of float32; scores within 2e-3"),
        )
        if layout is None:
            return capabilities
        kept = collection.colbert or ColbertStorage()
        return (*capabilities, Capability("colbert", str(kept), _tensors(layout)))

    def _check_exists(self) -> Steps[None]:
        """Raise `CollectionNotFoundError` if the collection was dropped, which Vespa does not say.

        Its schema stays deployed: it takes documents, and searches find none.
        """
        if (yield from self.lifecycle.read()) is None:
            raise CollectionNotFoundError(f"collection {self.name!r} does not exist")

    # --- documents -----------------------------------------------------------------------------

    def check(
        self, collection: Collection, documents: Sequence[Document], vectors: Vectors
    ) -> None:
        for document in documents:
            check_text(document, collection.fields, self._options.text_errors)
            check_numbers(document, collection.fields)

    def as_stored(self, document: Document) -> Document:
        """Return a document as the store gives it back, with U+FFFD for refused characters."""
        if self._options.text_errors == "error":
            return document
        return replace(document, text=cleaned_text(document.text))

    def wire_bytes(self, collection: Collection, vectors: Vectors) -> NDArray[np.int64]:
        """Return the bytes of hex and numbers that a document's tensors take in JSON."""
        total = np.full(len(vectors), 500, np.int64)
        if vectors.dense is not None:
            total += 4 * vectors.dense.shape[1]
        if vectors.sparse is not None:
            total += 50 * np.diff(vectors.sparse.indptr)  # two fields of "250001": 0.1234567890…
        if vectors.colbert is not None:
            layout = TokenLayout.of(collection.schema, collection.colbert)
            per_token = 0 if layout is None else layout.token_feed_bytes
            total += per_token * np.diff(vectors.colbert.indptr)
        return total

    def write(
        self, collection: Collection, documents: Sequence[Document], vectors: Vectors
    ) -> Steps[None]:
        def fields(row: int) -> dict[str, object]:
            return {"fields": feed_fields(documents[row], vectors, row, collection)}

        writes = [
            write_request("POST", self.name, document.id, partial(fields, row))
            for row, document in enumerate(documents)
        ]
        yield from deliver(writes)
        yield from self._check_exists()  # else another handle's drop() may have left these out

    def get(self, collection: Collection, ids: Sequence[str], with_vectors: bool) -> Steps[Page]:
        parameters = self._reading(collection, with_vectors)
        answers = yield [read_request(self.name, id, parameters) for id in storable_ids(ids)]
        stored = [fields for fields in answers if fields is not None]
        if not stored:
            yield from self._check_exists()
        return read_page(stored, collection, with_vectors=with_vectors)

    def scan_page(
        self,
        collection: Collection,
        cursor: object,
        limit: int,
        with_vectors: bool,
        condition: Filter | None,
    ) -> Steps[tuple[Page, object]]:
        """Visit some documents, and read the vectors of those that are wanted in hex.

        Visits return tensors as numbers whatever `format.tensors` says (seen in Vespa 8.700),
        which take 4.5 instead of 0.8 MB for 200 x 1,024 values.
        """
        position = cursor if isinstance(cursor, _Cursor) else _Cursor()
        kept, continuation = position.documents, position.continuation
        if not kept:
            parameters = self._reading(collection, False)
            parameters["wantedDocumentCount"] = min(limit, _VISITED)
            if continuation:
                parameters["continuation"] = continuation
            path = f"/document/v1/{self.name}/{self.name}/docid"
            visit: Visit = yield from ask(Request("GET", path, visited, parameters=parameters))
            documents = [document_from(checked_fields(f, key)) for key, f in visit.documents]
            kept = [d for d in documents if condition is None or condition.matches(d.metadata)]
            continuation = next_continuation(visit, continuation)
        page, rest = Page(kept[:limit], None), kept[limit:]
        if with_vectors and page.documents:
            page = yield from self.get(collection, [d.id for d in page.documents], True)
        return page, _Cursor(rest, continuation) if rest or continuation is not None else None

    def delete(self, collection: Collection, ids: Sequence[str]) -> Steps[None]:
        yield from deliver([write_request("DELETE", self.name, id) for id in storable_ids(ids)])

    def delete_where(self, collection: Collection, condition: Filter) -> Steps[None]:
        yql = f"select id from sources * where {_where(collection, condition)}"
        request = self._query({"yql": yql, "hits": _PAGE, "ranking": "unranked"})
        before: set[str] = set()

        def page() -> Steps[bool]:
            result: Result = yield from ask(request)
            with reading("a document that was found"):
                ids = {Document(fields["id"], "").id for fields in result.hits if "id" in fields}
            if result.total and not ids:
                raise StoreUnavailableError(f"Vespa found {result.total} documents and names none")
            if ids and ids <= before:
                raise StoreError(f"{len(ids)} documents were deleted but are found again")
            yield from self.delete(collection, sorted(ids))
            before.clear()
            before.update(ids)
            return not ids

        yield from self._in_pages(page)

    def count(self, collection: Collection, condition: Filter | None) -> Steps[int]:
        yql = f"select id from sources * where {_where(collection, condition)}"
        result: Result = yield from ask(self._query({"yql": yql, "hits": 0, "ranking": "unranked"}))
        return result.total

    def _reading(self, collection: Collection, with_vectors: bool) -> dict[str, str | int]:
        """Return the parameters of reading documents."""
        names = ["id", "text", "metadata"]
        if with_vectors:
            layout = TokenLayout.of(collection.schema, collection.colbert)
            colbert = [] if layout is None else [*layout.tensors]
            tensors = {"dense": ["dense_rep"], "sparse": ["lexical_rep"], "colbert": colbert}
            names += [name for part in collection.schema.parts for name in tensors[part]]
        return {"fieldSet": f"{self.name}:{','.join(names)}", "format.tensors": "hex"}

    # --- search --------------------------------------------------------------------------------

    def search(
        self, collection: Collection, queries: Sequence[Vector], search: Search
    ) -> Steps[list[list[Hit]]]:
        condition = "" if search.filter is None else render(search.filter, collection.fields)
        layout = TokenLayout.of(collection.schema, collection.colbert)
        hits: list[list[Hit]] = []
        for start in range(0, len(queries), _QUERIES):
            batch = queries[start : start + _QUERIES]
            hits += yield from answer(batch, search, condition, self._query, layout)
        if not all(hits):
            yield from self._check_exists()
        return hits

    # --- requests --------------------------------------------------------------------------------

    def send(self, request: Request[Any] | Callable[[], Any]) -> Any:
        return self.client.send(request) if isinstance(request, Request) else request()

    def asend(self, request: Request[Any] | Callable[[], Any]) -> Awaitable[Any] | None:
        return self.client.asend(request) if isinstance(request, Request) else None

    def _query(self, body: Mapping[str, Any]) -> Request[Result]:
        return query(body, self.name, allow_partial=self._options.allow_partial)

    def _in_pages(self, page: Callable[[], Steps[bool]]) -> Steps[None]:
        """Do something page by page until it returns that nothing is left.

        The first page has the time and the repetitions of the call; each later one has its own,
        since there is progress between them.
        """
        connections = self.limits.connections

        def in_own_time() -> bool:
            with limited(self._options.deadline), ThreadPoolExecutor(connections) as pool:
                return retrying()(attempt, pool)

        def attempt(pool: ThreadPoolExecutor) -> bool:
            steps: Stepwise[bool] = page()
            return run(steps, self, pool=pool)

        is_last = yield from page()
        while not is_last:
            is_last = yield from ask(in_own_time)


def _where(collection: Collection, condition: Filter | None) -> str:
    """Return the YQL condition of a collection's documents; its description lacks `parts`."""
    test = "parts >= 0"
    return test if condition is None else f"{test} and {render(condition, collection.fields)}"


def _tensors(layout: TokenLayout) -> str:
    """Return how Vespa keeps token vectors, and how it computes scores from them."""
    if not layout.is_packed:
        number = "float32" if layout.bits == 32 else "bfloat16"
        return f"{number}, paged from disk"
    return "packed levels and a factor for each token, in place of the vectors; paged from disk"


VespaStore = opener(VespaOptions, VespaBackend.of_app)
"""Opens a collection through a ready `Vespa` application."""
