"""trivec's stores and encoders as LlamaIndex's classes; needs llama-index-core only."""

from trivec.errors import MissingDependencyError

try:
    import llama_index.core as _llama_index_core  # noqa: F401
except ImportError as error:
    raise MissingDependencyError(
        "trivec_llamaindex needs llama-index-core; run: pip install 'trivec[llamaindex]'"
    ) from error

from trivec_llamaindex.embeddings import TrivecEmbedding, TrivecSparseEmbedding
from trivec_llamaindex.reranker import TrivecRerank
from trivec_llamaindex.retriever import TrivecRetriever
from trivec_llamaindex.vector_store import TrivecVectorStore

__all__ = [
    "TrivecEmbedding",
    "TrivecRerank",
    "TrivecRetriever",
    "TrivecSparseEmbedding",
    "TrivecVectorStore",
]
