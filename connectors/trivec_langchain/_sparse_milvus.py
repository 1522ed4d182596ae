"""Lexical weights as langchain-milvus takes them; imported only by `sparse_embeddings`."""

from __future__ import annotations

from langchain_milvus.utils.sparse import BaseSparseEmbedding

from trivec.encoders import CachingEncoder
from trivec.errors import InvalidVectorsError
from trivec.vectors import Vectors

__all__ = ["MilvusSparse"]


class MilvusSparse(BaseSparseEmbedding):
    """An encoder as langchain-milvus's `BaseSparseEmbedding`, which it checks for."""

    def __init__(self, encoder: CachingEncoder) -> None:
        self._encoder = encoder

    def embed_documents(self, texts: list[str]) -> list[dict[int, float]]:
        """Return the lexical weights of each text."""
        return _rows(self._encoder.encode_documents(texts, colbert=False))

    def embed_query(self, query: str) -> dict[int, float]:
        """Return the lexical weights of a question."""
        return _rows(self._encoder.encode_queries([query]))[0]

    async def aembed_documents(self, texts: list[str]) -> list[dict[int, float]]:
        """Return the lexical weights of each text."""
        return _rows(await self._encoder.aencode_documents(texts, colbert=False))

    async def aembed_query(self, query: str) -> dict[int, float]:
        """Return the lexical weights of a question."""
        return _rows(await self._encoder.aencode_queries([query]))[0]


def _rows(vectors: Vectors) -> list[dict[int, float]]:
    if vectors.sparse is None:
        raise InvalidVectorsError("the encoder made no lexical weights")
    return [vectors.sparse.row(i) for i in range(len(vectors))]
