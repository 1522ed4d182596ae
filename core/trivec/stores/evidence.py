"""Evidence in the hits of a search, from the stored vectors of these hits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from trivec.collection import Collection, Page
from trivec.document import Document
from trivec.encoders.protocol import TokenizingEncoder
from trivec.errors import InvalidOptionError, InvalidVectorsError
from trivec.hit import Hit
from trivec.passages.evidence import Evidence, evidence_of, with_evidence
from trivec.schema import Schema
from trivec.search import Search
from trivec.stores.handle import Flow, Handle, call
from trivec.stores.reduction import kept_as
from trivec.vectors import Vector

_DOCUMENTS = 32
"""The most documents whose vectors are read at once: 16 MiB for each 8,192 tokens of bge-m3."""


def check_evidence(name: str, schema: Schema, queries: Sequence[Vector]) -> None:
    """Check that a collection and queries have vectors that passages can be found by.

    Args:
        name: The collection, for messages.
        schema: Which vectors it holds.
        queries: The encoded questions as they were given.

    Raises:
        InvalidOptionError: If the collection holds dense vectors only.
        InvalidVectorsError: If a query has neither lexical weights nor token vectors that the
            collection holds.
    """
    held = [part for part in schema.parts if part != "dense"]
    if not held:
        raise InvalidOptionError(
            f"evidence needs lexical weights or token vectors, and collection {name!r} holds dense "
            "vectors only; leave evidence out, or ingest with an encoder that makes them"
        )
    for number, query in enumerate(queries):
        if all(getattr(query, part) is None for part in held):
            raise InvalidVectorsError(
                f"evidence: query {number} has no {' or '.join(held)} vectors, which collection "
                f"{name!r} holds; encode it with all of them, or leave evidence out"
            )


class EvidenceFinder:
    """Finds the evidence of hits; nothing is encoded.

    Args:
        handle: The open collection.
        collection: What is known of it.
        encoder: Lists the tokens of texts.
        encoded: Returns the text that the vectors of a document were made of.
    """

    def __init__(
        self,
        handle: Handle,
        collection: Collection,
        encoder: TokenizingEncoder,
        encoded: Callable[[Document], str],
    ) -> None:
        self._handle = handle
        self._collection = collection
        self._encoder = encoder
        self._encoded = encoded

    def add(
        self, answers: Sequence[Sequence[Hit]], queries: Sequence[Vector], search: Search
    ) -> Flow[list[list[Hit]]]:
        """Return the hits of all queries with their evidence.

        The vectors of each document are read once, for all queries together. A document that was
        deleted meanwhile, or has another text now, is a hit without evidence.

        Args:
            answers: The hits of each query.
            queries: The checked queries.
            search: The options.
        """
        askers: dict[str, list[int]] = {}
        texts: dict[str, str] = {}
        for number, hits in enumerate(answers):
            for hit in hits:
                askers.setdefault(hit.document.id, []).append(number)
                texts[hit.document.id] = hit.document.text
        evidence: dict[tuple[int, str], Evidence] = {}
        ids = list(askers)
        for start in range(0, len(ids), _DOCUMENTS):
            some = ids[start : start + _DOCUMENTS]
            page = yield from call(self._handle.backend.get, self._collection, some, True)
            for document, vector in _rows(page, self._collection):
                if document.text != texts[document.id]:
                    continue
                numbers = askers[document.id]
                passages = evidence_of(
                    document,
                    vector,
                    [(queries[i], search.evidence_weights(queries[i])) for i in numbers],
                    self._encoder,
                    k=search.evidence,
                    overflow=self._handle.options.colbert_overflow,
                    limit=self._limit(vector),
                    encoded=self._encoded(document),
                )
                evidence.update(
                    ((number, document.id), passage)
                    for number, passage in zip(numbers, passages, strict=True)
                )
        return with_evidence(answers, evidence)

    def _limit(self, vector: Vector) -> int | None:
        """Return the most ColBERT vectors of a document in this database."""
        dimension = None if vector.colbert is None else vector.colbert.shape[1]
        return self._handle.backend.limits.max_colbert_rows(dimension)


def _rows(page: Page, collection: Collection) -> Iterator[tuple[Document, Vector]]:
    """Yield the documents of a page with their vectors, marked as the collection keeps them."""
    vectors = page.vectors
    if vectors is None:
        return
    if vectors.colbert is not None:
        vectors = replace(vectors, colbert=kept_as(vectors.colbert, collection.colbert))
    yield from zip(page.documents, vectors, strict=True)
