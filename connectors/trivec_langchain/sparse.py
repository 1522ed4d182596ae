"""An encoder's lexical weights for those who keep langchain-qdrant or langchain-milvus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, overload

from trivec.encoders import CachingEncoder, TextEncoder
from trivec.errors import InvalidOptionError, MissingDependencyError

if TYPE_CHECKING:
    from langchain_milvus.utils.sparse import BaseSparseEmbedding
    from langchain_qdrant import SparseEmbeddings

__all__ = ["sparse_embeddings"]


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
            from trivec_langchain._sparse_qdrant import QdrantSparse

            return QdrantSparse(shared)
        if library == "langchain_milvus":
            from trivec_langchain._sparse_milvus import MilvusSparse

            return MilvusSparse(shared)
    except ImportError as error:
        package = library.replace("_", "-")
        raise MissingDependencyError(
            f"{package} is not installed ({error}); run: pip install {package}"
        ) from error
    raise InvalidOptionError(
        f"library={library!r}; expected 'langchain_qdrant' or 'langchain_milvus'"
    )
