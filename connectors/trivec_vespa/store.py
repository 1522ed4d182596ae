"""A collection in Vespa."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from vespa.application import Vespa

from trivec.collection import Capability, Collection, Page
from trivec.document import Document
from trivec.errors import (
    AuthenticationError,
    CollectionNotFoundError,
    InvalidOptionError,
    SchemaMismatchError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
)
from trivec.fields import FieldType
from trivec.filters import Filter
from trivec.hit import Hit
from trivec.schema import Schema
from trivec.search import Search
from trivec.stores.deadline import (
    DEADLINE_SECONDS,
    check_seconds,
    limited,
)
from trivec.stores.overflow import Overflow
from trivec.stores.store import BATCH_BYTES, Store
from trivec.stores.url import StoreUrl
from trivec.vectors import Vector, Vectors
from trivec_vespa.connection import Connection, Method, NotFoundError
from trivec_vespa.filters import render
from trivec_vespa.lifecycle import Lifecycle
from trivec_vespa.mapping import (
    TextErrors,
    check_numbers,
    check_text,
    cleaned_text,
    document_key,
    document_path,
    feed_fields,
    storable_ids,
)
from trivec_vespa.ranking import Request, answer, needs_more, read_candidates, request
from trivec_vespa.replies import (
    Fields,
    Result,
    acknowledged,
    go_on,
    reading,
    stored_fields,
    visited,
)
from trivec_vespa.requests import Requests
from trivec_vespa.schema import APPLICATION, check_name
from trivec_vespa.stored import document_from, read_page

__all__ = ["VespaStore"]

T = TypeVar("T")
R = TypeVar("R")

_PAGE = 1000  # ids that one query of `delete_where` finds
_VISITED = 1024  # the most documents that one visit may ask for
_TOKEN, _CERT, _KEY = (
    f"VESPA_CLI_DATA_PLANE_{name}" for name in ("TOKEN", "CERT_FILE", "KEY_FILE")
)


class VespaStore(Store):
    """A collection in Vespa: one schema, which `create` deploys or checks.

    One request answers a search: the content nodes find the candidates, compute all parts of their
    scores from the tensors and return them; the order is computed from these parts. Lists of
    candidates are cut by the parts too, since each content node gives as many as are asked for.

    Args:
        app: The application; only its address, certificate, token and headers are used.
        name: The collection, which is the schema's name: a letter or `_`, then letters, digits
            and `_`.
        deploy: Whether `create` may deploy. If not, it checks what was deployed by other means.
        config_server: Its address; by default port 19071 of the app's host.
        content_cluster: The content cluster that holds the collection.
        binary_colbert: Whether `create` stores the signs of the token vectors too, and searches
            estimate ColBERT scores from them, without reading the token vectors.
        text_errors: "error" refuses a text with characters that Vespa refuses, "replace" puts
            U+FFFD in their place.
        allow_partial: Whether an answer may stem from a part of the documents.
        timeout: Seconds that Vespa may take for one request.
        deploy_timeout: Seconds that a deployment may take until it serves.
        connections: How many requests are sent at the same time.
        http2: Whether to speak HTTP/2 on `http://`.
        colbert_overflow: Has no effect here, since any number of token vectors fits.
        batch_bytes: The most bytes of documents that are written at the same time; 32 MiB by
            default.
        deadline: Seconds that one call may take in all; see `Store`.

    Raises:
        InvalidOptionError: If the name or an option is out of range.
    """

    declared_only = True
    _checked_name = staticmethod(check_name)

    def __init__(
        self,
        app: Vespa,
        name: str,
        *,
        deploy: bool = True,
        config_server: str | None = None,
        content_cluster: str = f"{APPLICATION}_content",
        binary_colbert: bool = False,
        text_errors: TextErrors = "error",
        allow_partial: bool = False,
        timeout: float = 30.0,
        deploy_timeout: float = 300.0,
        connections: int = 8,
        http2: bool = False,
        colbert_overflow: Overflow = "pool",
        batch_bytes: int = BATCH_BYTES,
        deadline: float = DEADLINE_SECONDS,
    ) -> None:
        super().__init__(
            name, colbert_overflow=colbert_overflow, batch_bytes=batch_bytes, deadline=deadline
        )
        if text_errors not in ("error", "replace"):
            raise InvalidOptionError(f"text_errors={text_errors!r}; expected 'error' or 'replace'")
        if connections <= 0:
            raise InvalidOptionError(f"connections={connections} must be above 0")
        timeout = check_seconds(timeout, "timeout")
        deploy_timeout = check_seconds(deploy_timeout, "deploy_timeout")
        self._cluster = content_cluster
        self._binary = binary_colbert
        self._stores_signs = False
        self._adopts = False
        self._text_errors: TextErrors = text_errors
        self._allow_partial = allow_partial
        self._vespa = Connection(app, timeout=timeout, http2=http2)
        self._lifecycle = Lifecycle(
            app,
            self._vespa,
            name,
            binary=binary_colbert,
            config_server=config_server,
            may_deploy=deploy,
            timeout=deploy_timeout,
        )
        self._requests = Requests(connections, name)

    @classmethod
    def from_url(
        cls,
        url: StoreUrl,
        *,
        token: str | None = None,
        cert: str | None = None,
        key: str | None = None,
        deploy: bool | None = None,
        config_server: str | None = None,
        content_cluster: str = f"{APPLICATION}_content",
        binary_colbert: bool = False,
        text_errors: TextErrors = "error",
        allow_partial: bool = False,
        timeout: float = 30.0,
        deploy_timeout: float = 300.0,
        connections: int = 8,
        http2: bool = False,
        colbert_overflow: Overflow = "pool",
        batch_bytes: int = BATCH_BYTES,
        deadline: float = DEADLINE_SECONDS,
    ) -> Self:
        """Open `vespa://host:8080/name`, or `vespas://host:443/name` for TLS.

        A server whose certificate comes from an authority of your own is trusted if the environment
        variable `HTTPR_CA_BUNDLE` names the file of that authority (PEM).

        Args:
            url: The address of the container cluster, and the collection.
            token: A data plane token, only for `vespas`; by default that of the environment
                variable `VESPA_CLI_DATA_PLANE_TOKEN`.
            cert: The file of the client certificate, only for `vespas`; by default
                `VESPA_CLI_DATA_PLANE_CERT_FILE`.
            key: The file of its key; by default `VESPA_CLI_DATA_PLANE_KEY_FILE`.
            deploy: As for the class; by default only for `vespa`.
            config_server: As for the class.
            content_cluster: As for the class.
            binary_colbert: As for the class.
            text_errors: As for the class.
            allow_partial: As for the class.
            timeout: As for the class.
            deploy_timeout: As for the class.
            connections: As for the class.
            http2: As for the class.
            colbert_overflow: As for the class.
            batch_bytes: As for the class.
            deadline: As for the class.

        Raises:
            InvalidOptionError: If the URL or an option is out of range.
        """
        if url.host is None:
            raise InvalidOptionError(
                f"{url.scheme} needs a server: expected {url.scheme}://host:port/{url.name}"
            )
        secure = url.scheme == "vespas"
        if not secure and (token or cert or key):
            raise InvalidOptionError("a token or a certificate needs TLS: use vespas://")
        if secure:
            cert, key = cert or os.environ.get(_CERT), key or os.environ.get(_KEY)
            token = token or (None if cert else os.environ.get(_TOKEN))
            for option, file in (("cert", cert), ("key", key)):
                if file is not None and not Path(file).is_file():
                    raise InvalidOptionError(f"{option}={file!r} is no file")
        host = f"[{url.host}]" if ":" in url.host else url.host
        app = Vespa(
            f"{'https' if secure else 'http'}://{host}",
            url.port or (443 if secure else 8080),
            cert=cert,
            key=key,
            vespa_cloud_secret_token=token,
        )
        return cls(
            app,
            url.name,
            deploy=not secure if deploy is None else deploy,
            config_server=config_server,
            content_cluster=content_cluster,
            binary_colbert=binary_colbert,
            text_errors=text_errors,
            allow_partial=allow_partial,
            timeout=timeout,
            deploy_timeout=deploy_timeout,
            connections=connections,
            http2=http2,
            colbert_overflow=colbert_overflow,
            batch_bytes=batch_bytes,
            deadline=deadline,
        )

    @property
    def capabilities(self) -> tuple[Capability, ...]:
        """How Vespa does what databases differ in."""
        return (
            Capability("hybrid", "one request", "parts are match-features of its second phase"),
            Capability(
                "candidates", "approximate", "HNSW, and wand over rounded weights, find them"
            ),
            Capability("vectors", "bfloat16", "half of float32; scores within 2e-3"),
            Capability(
                "colbert",
                "signs" if self._binary else "bfloat16",
                "1 bit per dimension, estimated" if self._binary else "paged from disk",
            ),
        )

    def _wire_bytes(self, vectors: Vectors) -> NDArray[np.int64]:
        """Return the bytes of hex and numbers that a document's tensors take in JSON."""
        total = np.full(len(vectors), 500, np.int64)
        if vectors.dense is not None:
            total += 4 * vectors.dense.shape[1]
        if vectors.sparse is not None:
            total += 50 * np.diff(vectors.sparse.indptr)  # two fields of "250001": 0.1234567890…
        if vectors.colbert is not None:
            per_token = 4 * vectors.colbert.dim + 10
            if self._stores_signs:
                per_token += vectors.colbert.dim // 4 + 10
            total += per_token * np.diff(vectors.colbert.indptr)
        return total

    def _check_documents(self, documents: Sequence[Document], vectors: Vectors) -> None:
        for document in documents:
            check_text(document, self.fields, self._text_errors)
            check_numbers(document, self.fields)

    def as_stored(self, document: Document) -> Document:
        """Return a document as the store gives it back, with U+FFFD for what Vespa refuses."""
        if self._text_errors == "error":
            return document
        return replace(document, text=cleaned_text(document.text))

    # --- the collection ------------------------------------------------------------------------

    def _describe(self) -> Collection | None:
        found = self._lifecycle.read()
        if found is None:
            return None
        collection, self._stores_signs = found
        if self._binary and not self._stores_signs:
            raise SchemaMismatchError(
                f"collection {self.name!r} was created without binary_colbert"
            )
        return collection

    def create(
        self,
        schema: Schema,
        *,
        fields: Mapping[str, type | FieldType] | None = None,
        exist_ok: bool = False,
    ) -> None:
        """Create the collection; see `Store.create`.

        With `exist_ok`, documents that are there without a description, such as those that
        `vespa feed` wrote, become those of the collection.
        """
        self._adopts = exist_ok
        super().create(schema, fields=fields, exist_ok=exist_ok)

    def _create(self, collection: Collection) -> None:
        self._lifecycle.create(collection, adopt=self._adopts)
        self._stores_signs = self._binary

    def _drop(self) -> None:
        self._lifecycle.drop(self._cluster, self._paged)

    def _check_there(self) -> None:
        """Raise `CollectionNotFoundError` if the collection was dropped, which Vespa does not tell.

        Its schema stays deployed: it takes documents, and finds none.
        """
        if self._lifecycle.read() is None:
            raise CollectionNotFoundError(f"collection {self.name!r} does not exist")

    def _close(self) -> None:
        self._requests.close()
        self._vespa.close()

    # --- documents -----------------------------------------------------------------------------

    def _write(self, documents: Sequence[Document], vectors: Vectors) -> None:
        collection = self._known()

        def put(row: int) -> None:
            document = documents[row]
            fields = feed_fields(document, vectors, row, collection, binary=self._stores_signs)
            self._send("POST", document.id, json.dumps({"fields": fields}).encode())

        self._requests.deliver(put, range(len(documents)))
        self._check_there()  # else another handle's drop() may have left these out

    def _send(self, method: Method, id: str, body: bytes | None = None) -> None:
        """Send one document, whose id errors name."""
        path = document_path(self.name, id)
        try:
            self._vespa.request(method, path, acknowledged, body=body)
        except (AuthenticationError, StoreFullError, StoreUnavailableError):
            raise
        except StoreError as error:
            # Also for RequestTooLargeError: each document is a request, which half a batch makes
            # no smaller.
            raise StoreError(f"document {id!r}: {error}") from error

    def _get(self, ids: Sequence[str], with_vectors: bool) -> Page:
        parameters = self._reading(with_vectors)

        def read(id: str) -> Fields | None:
            path = document_path(self.name, id)
            try:
                fields = self._vespa.request("GET", path, stored_fields, parameters=parameters)
            except NotFoundError:
                return None
            return _checked(fields, document_key(id))

        found = self._requests.each(read, storable_ids(ids))
        stored = [fields for fields in found if fields is not None]
        if not stored:
            self._check_there()
        return read_page(stored, self.schema, with_vectors=with_vectors)

    def _reading(self, with_vectors: bool) -> dict[str, str | int]:
        """Return the parameters of reading documents."""
        names = ["id", "text", "metadata"]
        if with_vectors:
            tensors = {"dense": "dense_rep", "sparse": "lexical_rep", "colbert": "colbert_rep"}
            names += [tensors[part] for part in self.schema.parts]
        return {
            "fieldSet": f"{self.name}:{','.join(names)}",
            "format.tensors": "hex",
        }

    def _scan(
        self, batch_size: int, with_vectors: bool, condition: Filter | None
    ) -> Iterator[Page]:
        """Visit all documents, and read the vectors of those that are wanted in hex.

        Visits return tensors as numbers whatever `format.tensors` says (seen in Vespa 8.700),
        which take 4.5 instead of 0.8 MB for 200 x 1,024 values.
        """
        kept: list[Document] = []
        for page in self._visit(batch_size):
            kept += [d for d in page if condition is None or condition.matches(d.metadata)]
            while len(kept) >= batch_size:
                yield self._page(kept[:batch_size], with_vectors)
                kept = kept[batch_size:]
        if kept:
            yield self._page(kept, with_vectors)

    def _page(self, documents: list[Document], with_vectors: bool) -> Page:
        if not with_vectors:
            return Page(documents, None)
        return self._retrying(self._get, [document.id for document in documents], True)

    def _visit(self, count: int) -> Iterator[list[Document]]:
        path = f"/document/v1/{self.name}/{self.name}/docid"
        parameters = {**self._reading(False), "wantedDocumentCount": min(count, _VISITED)}
        more = True
        while more:
            with limited(self.deadline):
                page = self._retrying(
                    self._vespa.request, "GET", path, visited, parameters=parameters
                )
            yield [document_from(_checked(fields, key)) for key, fields in page.documents]
            more = go_on(page, parameters)

    def _paged(self, page: Callable[[], bool]) -> None:
        """Do something page by page until it returns that nothing is left.

        The first page has the time and the repetitions of the call; each later one has its own,
        since there is progress between them.
        """
        is_last = page()
        while not is_last:
            with limited(self.deadline):
                is_last = self._retrying(page)

    def _delete(self, ids: Sequence[str]) -> None:
        self._requests.deliver(partial(self._send, "DELETE"), storable_ids(ids))

    def _delete_where(self, condition: Filter) -> None:
        yql = f"select id from sources * where {self._where(condition)}"
        body = {"yql": yql, "hits": _PAGE, "ranking": "unranked"}
        before: set[str] = set()

        def page() -> bool:
            found = self._query(body)
            with reading("a document that was found"):
                ids = {Document(fields["id"], "").id for fields in found.hits if "id" in fields}
            if found.total and not ids:
                raise StoreUnavailableError(f"Vespa found {found.total} documents and names none")
            if ids and ids <= before:
                raise StoreError(f"{len(ids)} documents were deleted but are found again")
            self._delete(sorted(ids))
            before.clear()
            before.update(ids)
            return not ids

        self._paged(page)

    def _count(self, condition: Filter | None) -> int:
        return self._total(self._where(condition))

    def _where(self, condition: Filter | None) -> str:
        # The description lacks `parts`.
        test = "parts >= 0"
        return test if condition is None else f"{test} and {render(condition, self.fields)}"

    def _total(self, where: str) -> int:
        yql = f"select id from sources * where {where}"
        return self._query({"yql": yql, "hits": 0, "ranking": "unranked"}).total

    # --- search --------------------------------------------------------------------------------

    def _search(self, queries: Sequence[Vector], search: Search) -> list[list[Hit]]:
        found = list(self._requests.each(lambda query: self._search_one(query, search), queries))
        if not all(found):
            self._check_there()
        return found

    def _search_one(self, query: Vector, search: Search) -> list[Hit]:
        condition = "" if search.filter is None else render(search.filter, self.fields)
        size: Request | None = Request.of(search)
        candidates = []
        while size is not None:
            body = request(query, search, self.schema, size, condition, binary=self._binary)
            if body is None:
                return []
            found = self._query(body)
            candidates = read_candidates(found.hits)
            size = needs_more(query, search, size, found.total, candidates)
        return answer(query, search, candidates)

    def _query(self, body: Mapping[str, Any]) -> Result:
        return self._vespa.query(body, self.name, allow_partial=self._allow_partial)


def _checked(fields: Fields, key: str) -> Fields:
    """Return a document's fields, which hold the id under which it is stored."""
    with reading(f"the document {key[:300]!r}"):
        if document_key(fields["id"]) != key:
            raise ValueError(f"it holds the id {fields['id']!r:.300}")
    return fields
