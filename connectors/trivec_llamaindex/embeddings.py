"""An encoder as LlamaIndex's embedding models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
from llama_index.core.base.embeddings.base_sparse import BaseSparseEmbedding, SparseEmbedding
from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.callbacks import CallbackManager

from trivec import Vectors
from trivec.encoders.caching import CachingEncoder, CachingOptions
from trivec.encoders.protocol import TextEncoder
from trivec.errors import InvalidOptionError, InvalidVectorsError
from trivec_llamaindex.models import SharingModel

R = TypeVar("R")

EMBED_BATCH_SIZE = 64
"""How many texts LlamaIndex hands over at once; the encoder forms its own batches."""


class _Embeds(ABC, Generic[R]):
    """The methods of both kinds of embedding models, which differ in the type of one vector."""

    _encoder: CachingEncoder

    def _options(self) -> CachingOptions:
        """Return how texts of documents are encoded."""
        return {"colbert": False}

    @abstractmethod
    def _rows(self, vectors: Vectors) -> list[R]:
        """Return the vectors as LlamaIndex takes them."""

    def _get_query_embedding(self, query: str) -> R:
        return self._rows(self._encoder.encode_queries([query]))[0]

    async def _aget_query_embedding(self, query: str) -> R:
        return self._rows(await self._encoder.aencode_queries([query]))[0]

    def _get_text_embedding(self, text: str) -> R:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> R:
        return (await self._aget_text_embeddings([text]))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[R]:
        return self._rows(self._encoder.encode_documents(texts, **self._options()))

    async def _aget_text_embeddings(self, texts: list[str]) -> list[R]:
        return self._rows(await self._encoder.aencode_documents(texts, **self._options()))


class TrivecEmbedding(_Embeds[Embedding], SharingModel, BaseEmbedding):
    """An encoder's dense vectors, for everything in LlamaIndex that takes an embedding model.

    All classes of this package that are made with the same encoder share one forward pass per
    text, as long as its vectors are in the cache (`trivec.encoders.caching.CACHE_BYTES`).

    Args:
        encoder: A trivec encoder.
        embed_batch_size: How many texts LlamaIndex hands over at once.
        for_store: Whether a `TrivecVectorStore` will ask for the same texts next, as it does in an
            index. Then a temporary file keeps the vectors that do not fit in the cache, so an
            index of 2048 nodes at once still takes one pass per text, and little memory.
        num_workers: How many batches LlamaIndex hands over at the same time.
        callback_manager: LlamaIndex's callbacks.
        model_name: The name of the encoder's model, from a dump; another name is an error.

    Raises:
        InvalidOptionError: If the encoder makes no dense vectors, or is another than the dump's.

    Example:
        >>> from trivec.testing import HashEncoder
        >>> from trivec_llamaindex import TrivecEmbedding
        >>> embed_model = TrivecEmbedding(HashEncoder())
        >>> len(embed_model.get_text_embedding("Whales live in the sea."))
        32
    """

    for_store: bool = Field(default=False, description="Whether a store asks for the texts next.")
    embeddings_cache: Any = Field(default=None, exclude=True)
    _encoder: CachingEncoder = PrivateAttr()

    def __init__(
        self,
        encoder: TextEncoder,
        *,
        embed_batch_size: int = EMBED_BATCH_SIZE,
        for_store: bool = False,
        num_workers: int | None = None,
        callback_manager: CallbackManager | None = None,
        model_name: str | None = None,
    ) -> None:
        if encoder.schema.dense is None:
            raise InvalidOptionError("embeddings are dense vectors, which this encoder lacks")
        super().__init__(
            model_name=_model_name(encoder, model_name),
            embed_batch_size=embed_batch_size,
            for_store=for_store,
            num_workers=num_workers,
            callback_manager=callback_manager or CallbackManager([]),
        )
        self._encoder = CachingEncoder.sharing(encoder)

    @classmethod
    def class_name(cls) -> str:
        """Return the name of the class as LlamaIndex writes it."""
        return "TrivecEmbedding"

    def _options(self) -> CachingOptions:
        return {"for_store": self.for_store}

    def _rows(self, vectors: Vectors) -> list[Embedding]:
        if vectors.dense is None:
            raise InvalidVectorsError("the encoder made no dense vectors")
        rows: list[Embedding] = vectors.dense.tolist()
        return rows


class TrivecSparseEmbedding(_Embeds[SparseEmbedding], SharingModel, BaseSparseEmbedding):
    """An encoder's lexical weights, for stores that take a sparse embedding model.

    Shares its forward pass with the other classes of this package. BGE-M3 compares lexical
    weights by their dot product; `similarity` of the base class is a cosine.

    Args:
        encoder: A trivec encoder that makes lexical weights.
        embed_batch_size: How many texts LlamaIndex hands over at once.
        num_workers: How many batches LlamaIndex hands over at the same time.
        model_name: The name of the encoder's model, from a dump; another name is an error.

    Raises:
        InvalidOptionError: If the encoder makes no lexical weights, or is another than the dump's.

    Example:
        >>> from trivec.testing import HashEncoder
        >>> from trivec_llamaindex import TrivecSparseEmbedding
        >>> len(TrivecSparseEmbedding(HashEncoder()).get_query_embedding("blue whale"))
        2
    """

    _encoder: CachingEncoder = PrivateAttr()

    def __init__(
        self,
        encoder: TextEncoder,
        *,
        embed_batch_size: int = EMBED_BATCH_SIZE,
        num_workers: int | None = None,
        model_name: str | None = None,
    ) -> None:
        if not encoder.schema.sparse:
            raise InvalidOptionError(
                "sparse embeddings are lexical weights, which this encoder lacks"
            )
        super().__init__(
            model_name=_model_name(encoder, model_name),
            embed_batch_size=embed_batch_size,
            num_workers=num_workers,
        )
        self._encoder = CachingEncoder.sharing(encoder)

    @classmethod
    def class_name(cls) -> str:
        """Return the name of the class as LlamaIndex writes it."""
        return "TrivecSparseEmbedding"

    def _rows(self, vectors: Vectors) -> list[SparseEmbedding]:
        if vectors.sparse is None:
            raise InvalidVectorsError("the encoder made no lexical weights")
        return [vectors.sparse.row(i) for i in range(len(vectors))]


def _model_name(encoder: TextEncoder, dumped: str | None) -> str:
    name = encoder.schema.model or "unknown"
    if dumped is not None and dumped != name:
        raise InvalidOptionError(f"model_name={dumped!r}, but the encoder's model is {name!r}")
    return name
