"""An encoder's lexical weights for the vector stores of langchain-qdrant and langchain-milvus."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, Literal, TypeVar, overload

from trivec import Vectors
from trivec.encoders.caching import CachingEncoder
from trivec.encoders.protocol import TextEncoder
from trivec.errors import InvalidOptionError, InvalidVectorsError, MissingDependencyError

if TYPE_CHECKING:
    from langchain_milvus.utils.sparse import BaseSparseEmbedding
    from langchain_qdrant import SparseEmbeddings

R = TypeVar("R")


@overload
def sparse_embeddings(
    encoder: TextEncoder, library: Literal["langchain_qdrant"]
) -> SparseEmbeddings: ...
@overload
def sparse_embeddings(
    encoder: TextEncoder, library: Literal["langchain_milvus"]
) -> BaseSparseEmbedding: ...
def sparse_embeddings(
    encoder: TextEncoder, library: Literal["langchain_qdrant", "langchain_milvus"]
) -> SparseEmbeddings | BaseSparseEmbedding:
    """Return an encoder's lexical weights as another package's sparse embeddings.

    Together with `TrivecEmbeddings` of the same encoder, each text costs one forward pass:

    ```python
    QdrantVectorStore.from_texts(
        texts,
        TrivecEmbeddings(encoder),
        sparse_embedding=sparse_embeddings(encoder, "langchain_qdrant"),
        retrieval_mode=RetrievalMode.HYBRID,
    )
    ```

    Args:
        encoder: A trivec encoder that makes lexical weights.
        library: The package whose interface is wanted; it must be installed.

    Raises:
        InvalidOptionError: If the library is not one of the two, or the encoder makes no
            lexical weights.
        MissingDependencyError: If the library is not installed.
    """
    if not encoder.schema.sparse:
        raise InvalidOptionError("sparse embeddings are lexical weights, which this encoder lacks")
    shared = CachingEncoder.sharing(encoder)
    try:
        if library == "langchain_qdrant":
            return _for_qdrant(shared)
        if library == "langchain_milvus":
            return _for_milvus(shared)
    except ImportError as error:
        package = library.replace("_", "-")
        raise MissingDependencyError(
            f"{package} is not installed ({error}); run: pip install {package}"
        ) from error
    raise InvalidOptionError(
        f"library={library!r}; expected 'langchain_qdrant' or 'langchain_milvus'"
    )


class _LexicalWeights(Generic[R]):
    """The methods of both packages' interfaces, which differ in the type of one vector.

    `write` turns the lexical weights of one text into the package's type.
    """

    def __init__(self, encoder: CachingEncoder, write: Callable[[dict[int, float]], R]) -> None:
        self._encoder = encoder
        self._write = write

    def embed_documents(self, texts: list[str]) -> list[R]:
        return self._rows(self._encoder.encode_documents(texts, colbert=False))

    def _query(self, query: str) -> R:
        return self._rows(self._encoder.encode_queries([query]))[0]

    async def aembed_documents(self, texts: list[str]) -> list[R]:
        return self._rows(await self._encoder.aencode_documents(texts, colbert=False))

    async def _aquery(self, query: str) -> R:
        return self._rows(await self._encoder.aencode_queries([query]))[0]

    def _rows(self, vectors: Vectors) -> list[R]:
        if vectors.sparse is None:
            raise InvalidVectorsError("the encoder made no lexical weights")
        return [self._write(vectors.sparse.row(row)) for row in range(len(vectors))]


def _for_qdrant(encoder: CachingEncoder) -> SparseEmbeddings:
    from langchain_qdrant import SparseEmbeddings, SparseVector

    class QdrantSparse(_LexicalWeights[SparseVector], SparseEmbeddings):
        """An encoder as langchain-qdrant's `SparseEmbeddings`."""

        def embed_query(self, text: str) -> SparseVector:
            return self._query(text)

        async def aembed_query(self, text: str) -> SparseVector:
            return await self._aquery(text)

    return QdrantSparse(
        encoder, lambda row: SparseVector(indices=list(row), values=list(row.values()))
    )


def _for_milvus(encoder: CachingEncoder) -> BaseSparseEmbedding:
    from langchain_milvus.utils.sparse import BaseSparseEmbedding

    class MilvusSparse(_LexicalWeights[dict[int, float]], BaseSparseEmbedding):
        """An encoder as langchain-milvus's `BaseSparseEmbedding`, which that package checks for."""

        def embed_query(self, query: str) -> dict[int, float]:
            return self._query(query)

        async def aembed_query(self, query: str) -> dict[int, float]:
            return await self._aquery(query)

    return MilvusSparse(encoder, dict)
