"""An encoder as LlamaIndex's embedding models."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
from llama_index.core.base.embeddings.base_sparse import BaseSparseEmbedding, SparseEmbedding
from llama_index.core.bridge.pydantic import Field, PrivateAttr

from trivec import Vectors
from trivec.encoding.cache import CachingEncoder
from trivec.errors import InvalidOptionError, InvalidVectorsError
from trivec.text_encoder import TextEncoder
from trivec_llamaindex.sharing import Sharing

__all__ = ["EMBED_BATCH_SIZE", "TrivecEmbedding", "TrivecSparseEmbedding"]

EMBED_BATCH_SIZE = 64
"""How many texts LlamaIndex hands over at once; the encoder forms its own batches."""


class TrivecEmbedding(Sharing, BaseEmbedding):
    """An encoder's dense vectors, for everything in LlamaIndex that takes an embedding model.

    All classes of this package that are made with the same encoder share one forward pass per
    text, as long as what they remember fits in the cache (`trivec.encoding.cache.CACHE_BYTES`).

    Args:
        encoder: A trivec encoder.
        embed_batch_size: How many texts LlamaIndex hands over at once.
        deferred: Leave texts to the store: an empty embedding stands for "not encoded yet", which
            `TrivecVectorStore` encodes as it writes. So an index of any size takes one pass per
            text and the memory of one batch. Questions are encoded as ever.

    Example:
        >>> from trivec.testing import HashEncoder
        >>> from trivec_llamaindex import TrivecEmbedding
        >>> embed_model = TrivecEmbedding(HashEncoder())
        >>> len(embed_model.get_text_embedding("Whales live in the sea."))
        32
    """

    deferred: bool = Field(default=False, description="Whether the store encodes the texts.")
    _encoder: CachingEncoder = PrivateAttr()

    def __init__(
        self,
        encoder: TextEncoder,
        *,
        embed_batch_size: int = EMBED_BATCH_SIZE,
        deferred: bool = False,
    ) -> None:
        if encoder.schema.dense is None:
            raise InvalidOptionError("embeddings are dense vectors, which this encoder lacks")
        super().__init__(
            model_name=encoder.schema.model or "unknown",
            embed_batch_size=embed_batch_size,
            deferred=deferred,  # type: ignore[call-arg]  # a field of this class
        )
        self._encoder = CachingEncoder.sharing(encoder)

    @classmethod
    def class_name(cls) -> str:
        """Return the name of the class as LlamaIndex writes it."""
        return "TrivecEmbedding"

    def __getstate__(self) -> dict[str, Any]:
        """Refuse to be pickled, unless texts are left to the store.

        Then the processes of an ingestion pipeline, which embed texts only, need no encoder.
        """
        return BaseEmbedding.__getstate__(self) if self.deferred else super().__getstate__()

    def _get_query_embedding(self, query: str) -> Embedding:
        return _dense(self._encoder.encode_queries([query]))[0]

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return _dense(await self._encoder.aencode_queries([query]))[0]

    def _get_text_embedding(self, text: str) -> Embedding:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return (await self._aget_text_embeddings([text]))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        if self.deferred:
            return [[] for _ in texts]
        return _dense(self._encoder.encode_documents(texts))

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        if self.deferred:
            return [[] for _ in texts]
        return _dense(await self._encoder.aencode_documents(texts))


class TrivecSparseEmbedding(Sharing, BaseSparseEmbedding):
    """An encoder's lexical weights, for stores that take a sparse embedding model.

    Shares its forward pass with the other classes of this package. BGE-M3 compares lexical
    weights by their dot product; `similarity` of the base class is a cosine.

    Args:
        encoder: A trivec encoder that makes lexical weights.
        embed_batch_size: How many texts LlamaIndex hands over at once.

    Example:
        >>> from trivec.testing import HashEncoder
        >>> from trivec_llamaindex import TrivecSparseEmbedding
        >>> len(TrivecSparseEmbedding(HashEncoder()).get_query_embedding("blue whale"))
        2
    """

    _encoder: CachingEncoder = PrivateAttr()

    def __init__(self, encoder: TextEncoder, *, embed_batch_size: int = EMBED_BATCH_SIZE) -> None:
        if not encoder.schema.sparse:
            raise InvalidOptionError(
                "sparse embeddings are lexical weights, which this encoder lacks"
            )
        super().__init__(
            model_name=encoder.schema.model or "unknown", embed_batch_size=embed_batch_size
        )
        self._encoder = CachingEncoder.sharing(encoder)

    @classmethod
    def class_name(cls) -> str:
        """Return the name of the class as LlamaIndex writes it."""
        return "TrivecSparseEmbedding"

    def _get_query_embedding(self, query: str) -> SparseEmbedding:
        return _sparse(self._encoder.encode_queries([query]))[0]

    async def _aget_query_embedding(self, query: str) -> SparseEmbedding:
        return _sparse(await self._encoder.aencode_queries([query]))[0]

    def _get_text_embedding(self, text: str) -> SparseEmbedding:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> SparseEmbedding:
        return (await self._aget_text_embeddings([text]))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[SparseEmbedding]:
        return _sparse(self._encoder.encode_documents(texts, colbert=False))

    async def _aget_text_embeddings(self, texts: list[str]) -> list[SparseEmbedding]:
        return _sparse(await self._encoder.aencode_documents(texts, colbert=False))


def _dense(vectors: Vectors) -> list[Embedding]:
    if vectors.dense is None:
        raise InvalidVectorsError("the encoder made no dense vectors")
    rows: list[Embedding] = vectors.dense.tolist()
    return rows


def _sparse(vectors: Vectors) -> list[SparseEmbedding]:
    if vectors.sparse is None:
        raise InvalidVectorsError("the encoder made no lexical weights")
    return [vectors.sparse.row(i) for i in range(len(vectors))]
