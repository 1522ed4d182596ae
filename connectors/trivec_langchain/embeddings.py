"""An encoder as LangChain's embeddings, and LangChain's embeddings as an encoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from langchain_core.embeddings import Embeddings

from trivec import Schema, Vector, Vectors
from trivec.encoders.caching import CachingEncoder
from trivec.encoders.protocol import TextEncoder
from trivec.errors import InvalidOptionError, InvalidVectorsError
from trivec.rows import unit
from trivec.sharing import SharingObject


class TrivecEmbeddings(SharingObject, Embeddings):
    """An encoder's dense vectors, for everything in LangChain that takes embeddings.

    Setup:
        .. code-block:: bash

            pip install 'trivec[langchain]'

    Key init args:
        encoder: TextEncoder
            The encoder, such as `Encoder.load("BAAI/bge-m3")`. All classes of this package that
            are made with the same encoder share one forward pass per text.

    Instantiate:
        >>> from trivec.testing import HashEncoder
        >>> from trivec_langchain import TrivecEmbeddings
        >>> embeddings = TrivecEmbeddings(HashEncoder())

    Embed single text:
        >>> len(embeddings.embed_query("Where do whales live?"))
        32

    Embed multiple texts:
        >>> len(embeddings.embed_documents(["Whales live in the sea.", "Foxes do not."]))
        2

    Async:
        >>> import asyncio
        >>> len(asyncio.run(embeddings.aembed_query("Where do whales live?")))
        32
    """

    def __init__(self, encoder: TextEncoder) -> None:
        if encoder.schema.dense is None:
            raise InvalidOptionError("embeddings are dense vectors, which this encoder lacks")
        self.encoder = CachingEncoder.sharing(encoder)

    def __repr__(self) -> str:
        return f"TrivecEmbeddings({self.encoder.schema.model!r})"

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return the dense vector of each text."""
        return _lists(self.encoder.encode_documents(texts, colbert=False))

    def embed_query(self, text: str) -> list[float]:
        """Return the dense vector of a question."""
        return _lists(self.encoder.encode_queries([text]))[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return the dense vector of each text."""
        return _lists(await self.encoder.aencode_documents(texts, colbert=False))

    async def aembed_query(self, text: str) -> list[float]:
        """Return the dense vector of a question."""
        return _lists(await self.encoder.aencode_queries([text]))[0]


class DenseEncoder:
    """Any of LangChain's embeddings as an encoder of dense vectors, scaled to unit length.

    Their dimension is known once a text was encoded.
    """

    def __init__(self, embeddings: Embeddings) -> None:
        self.embeddings = embeddings
        self._dim: int | None = None

    @property
    def schema(self) -> Schema:
        """Which vectors the encoder makes."""
        if self._dim is None:
            raise InvalidVectorsError("the dimension is not known before a text was encoded")
        return Schema(dense=self._dim, sparse=False, colbert=None)

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Encode texts of documents."""
        return self._vectors(self.embeddings.embed_documents(list(texts)))

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Encode questions, one by one, as LangChain's interface does."""
        return self._vectors([self.embeddings.embed_query(text) for text in texts])

    def encode_query(self, text: str) -> Vector:
        """Encode one question."""
        return self.encode_queries([text])[0]

    async def aencode_documents(self, texts: Sequence[str]) -> Vectors:
        """Encode texts of documents."""
        return self._vectors(await self.embeddings.aembed_documents(list(texts)))

    async def aencode_queries(self, texts: Sequence[str]) -> Vectors:
        """Encode questions, one by one, as LangChain's interface does."""
        return self._vectors([await self.embeddings.aembed_query(text) for text in texts])

    async def aencode_query(self, text: str) -> Vector:
        """Encode one question."""
        return (await self.aencode_queries([text]))[0]

    def _vectors(self, rows: list[list[float]]) -> Vectors:
        dense = np.asarray(rows, np.float32) if rows else np.zeros((0, self._dim or 1), np.float32)
        if dense.ndim != 2:
            raise InvalidVectorsError(
                f"{type(self.embeddings).__name__} returned values of shape {dense.shape}, "
                "expected one vector per text"
            )
        if rows:
            self._dim = dense.shape[1]
        return Vectors(dense=unit(dense))


def as_encoder(embedding: TextEncoder | Embeddings) -> CachingEncoder:
    """Return an encoder, which all objects made with the same one share."""
    if isinstance(embedding, TrivecEmbeddings):
        return embedding.encoder
    if isinstance(embedding, Embeddings):
        return CachingEncoder(DenseEncoder(embedding))
    if not hasattr(embedding, "encode_documents"):
        raise InvalidOptionError(
            f"embedding={embedding!r} must be a trivec encoder or LangChain's Embeddings"
        )
    return CachingEncoder.sharing(embedding)


def _lists(vectors: Vectors) -> list[list[float]]:
    """Return the dense vectors as the lists of floats that LangChain's interface asks for."""
    if vectors.dense is None:
        raise InvalidVectorsError("the encoder made no dense vectors")
    rows: list[list[float]] = vectors.dense.tolist()
    return rows
