"""Lexical weights as langchain-qdrant takes them; imported only by `sparse_embeddings`."""

from __future__ import annotations

from langchain_qdrant import SparseEmbeddings, SparseVector

from trivec.encoders import CachingEncoder
from trivec.errors import InvalidVectorsError
from trivec.vectors import Vectors

__all__ = ["QdrantSparse"]


class QdrantSparse(SparseEmbeddings):
    """An encoder as langchain-qdrant's `SparseEmbeddings`."""

    def __init__(self, encoder: CachingEncoder) -> None:
        self._encoder = encoder

    def embed_documents(self, texts: list[str]) -> list[SparseVector]:
        """Return the lexical weights of each text."""
        return _rows(self._encoder.encode_documents(texts, colbert=False))

    def embed_query(self, text: str) -> SparseVector:
        """Return the lexical weights of a question."""
        return _rows(self._encoder.encode_queries([text]))[0]

    async def aembed_documents(self, texts: list[str]) -> list[SparseVector]:
        """Return the lexical weights of each text."""
        return _rows(await self._encoder.aencode_documents(texts, colbert=False))

    async def aembed_query(self, text: str) -> SparseVector:
        """Return the lexical weights of a question."""
        return _rows(await self._encoder.aencode_queries([text]))[0]


def _rows(vectors: Vectors) -> list[SparseVector]:
    if vectors.sparse is None:
        raise InvalidVectorsError("the encoder made no lexical weights")
    rows = (vectors.sparse.row(i) for i in range(len(vectors)))
    return [SparseVector(indices=list(row), values=list(row.values())) for row in rows]
