"""A sample of documents with full vectors: from a collection, or encoded anew."""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from trivec.checks import check_documents
from trivec.document import Document
from trivec.encoders.protocol import TextEncoder
from trivec.errors import InvalidDocumentError, InvalidOptionError, InvalidVectorsError
from trivec.insight.storage.questions import chance
from trivec.rows import TokenRows
from trivec.schema import Schema
from trivec.stores.store import Store
from trivec.vectors import Vectors

BLOCK = 64
"""The documents whose token vectors are in memory together."""

_PAGE = 1024  # documents of a page without vectors

Source = Store | Iterable[Document]
"""A collection with full token vectors, or documents to encode."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Documents that were drawn.

    Args:
        documents: The sample, in the order of ids.
        available: How many documents there were.
    """

    documents: Sequence[Document]
    available: int

    @classmethod
    def from_source(cls, source: Source, size: int, *, first: Collection[str], seed: int) -> Drawn:
        """Draw documents at random, whatever the order in which they come.

        Args:
            source: A collection, or documents.
            size: The most documents.
            first: The ids of documents that are taken before others.
            seed: The seed of the choice.

        Raises:
            InvalidOptionError: If there is no document.
            InvalidDocumentError: If the source yields something else.
        """
        count = 0

        def counted() -> Iterator[Document]:
            nonlocal count
            for document in _documents(source):
                count += 1
                yield document

        preferred = set(first)
        nearest = heapq.nsmallest(
            size, counted(), key=lambda d: (d.id not in preferred, chance(seed, d.id))
        )
        if not nearest:
            raise InvalidOptionError("measure_storage: the source holds no document")
        chosen = {document.id: document for document in nearest}
        return cls([chosen[id] for id in sorted(chosen)], count)


def _documents(source: Source) -> Iterator[Document]:
    if isinstance(source, Store):
        for page in source.scan(batch_size=_PAGE):
            yield from page.documents
        return
    check_documents(source, "measure_storage: source")
    for document in source:
        if not isinstance(document, Document):
            raise InvalidDocumentError(
                f"measure_storage: expected documents, got {type(document).__name__}"
            )
        yield document


class Sample:
    """Documents with their vectors; the token vectors are in files, and read block by block.

    A context manager, which deletes the files.

    Attributes:
        ids (list[str]): The ids in ascending order.
        vectors (Vectors): Dense and sparse vectors, one row for each.
        lengths (NDArray): The number of token vectors of each.
        has_weights (bool): Whether the lexical weight of each token is known.
    """

    ids: list[str]
    vectors: Vectors
    lengths: NDArray[np.int64]
    has_weights: bool

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="trivec-measure-")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._folder.cleanup()

    def read(
        self,
        source: Source,
        documents: Sequence[Document],
        encoder: TextEncoder,
        schema: Schema,
        *,
        texts: Mapping[str, str],
    ) -> Iterator[int]:
        """Read or make the vectors of documents; yield how many are done.

        Args:
            source: The collection that holds them, if it is one.
            documents: The documents, in the order of ids.
            encoder: Encodes those that come without vectors.
            schema: The vectors to take.
            texts: For ids of documents another text that is encoded in place of their own.

        Raises:
            InvalidVectorsError: If token vectors are not full.
        """
        ids: list[str] = []
        light: list[Vectors] = []
        lengths: list[NDArray[np.int64]] = []
        self.has_weights = True
        for start in range(0, len(documents), BLOCK):
            block = documents[start : start + BLOCK]
            block, vectors = _vectors(source, block, encoder, schema, texts)
            if not block:  # deleted meanwhile
                continue
            tokens = vectors.colbert
            if tokens is None or tokens.storage is not None:
                kept = None if tokens is None else tokens.storage
                raise InvalidVectorsError(
                    f"the sample holds no full token vectors, but such of {kept}"
                )
            self.has_weights &= tokens.weights is not None or not len(tokens.values)
            Vectors(colbert=tokens).save(self._file(len(light)))
            light.append(Vectors(dense=vectors.dense, sparse=vectors.sparse))
            lengths.append(np.diff(tokens.indptr))
            ids += [document.id for document in block]
            yield len(ids)
        if not light:
            raise InvalidOptionError("measure_storage: the source holds no document")
        self.ids = ids
        self.vectors = Vectors.concatenate(light)
        self.lengths = np.concatenate(lengths)

    def blocks(self) -> Iterator[tuple[int, TokenRows]]:
        """Yield the token vectors in blocks, each with the row of its first document."""
        first = number = 0
        while first < len(self.ids):
            tokens = Vectors.load(self._file(number)).colbert
            if tokens is None:
                raise InvalidVectorsError(f"{self._file(number)} was changed by others")
            yield first, tokens
            first += len(tokens)
            number += 1

    def _file(self, number: int) -> Path:
        return Path(self._folder.name) / f"{number:06}.safetensors"


def _vectors(
    source: Source,
    documents: Sequence[Document],
    encoder: TextEncoder,
    schema: Schema,
    texts: Mapping[str, str],
) -> tuple[Sequence[Document], Vectors]:
    """Return those of the documents that exist, with their vectors."""
    if not isinstance(source, Store):
        encoded = encoder.encode_documents([texts.get(d.id, d.text) for d in documents])
        return documents, encoded.only(schema).filled(schema)
    page = source.get([document.id for document in documents], with_vectors=True)
    if page.vectors is None:
        return [], Vectors.none(schema)
    vectors = page.vectors.only(schema).filled(schema)
    changed = [i for i, document in enumerate(page.documents) if document.id in texts]
    if not changed:
        return page.documents, vectors
    encoded = encoder.encode_documents([texts[page.documents[i].id] for i in changed])
    order = np.arange(len(vectors))
    order[changed] = len(vectors) + np.arange(len(changed))
    joined = Vectors.concatenate([vectors, encoded.only(schema).filled(schema)])
    return page.documents, joined.take(order)
