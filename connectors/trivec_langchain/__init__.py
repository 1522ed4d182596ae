"""trivec's stores and encoders as LangChain's classes; needs langchain-core only."""

from trivec.errors import MissingDependencyError

try:
    import langchain_core as _langchain_core  # noqa: F401
except ImportError as error:
    raise MissingDependencyError(
        "trivec_langchain needs langchain-core; run: pip install 'trivec[langchain]'"
    ) from error

from trivec_langchain.embeddings import TrivecEmbeddings
from trivec_langchain.filters import TrivecTranslator
from trivec_langchain.reranker import TrivecReranker
from trivec_langchain.retriever import TrivecRetriever
from trivec_langchain.sparse import sparse_embeddings
from trivec_langchain.vector_store import TrivecVectorStore

__all__ = [
    "TrivecEmbeddings",
    "TrivecReranker",
    "TrivecRetriever",
    "TrivecTranslator",
    "TrivecVectorStore",
    "sparse_embeddings",
]
