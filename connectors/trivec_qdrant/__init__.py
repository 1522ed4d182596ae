"""trivec's collections in Qdrant."""

from trivec_qdrant.options import QdrantOptions
from trivec_qdrant.schema import Names
from trivec_qdrant.store import QdrantBackend, QdrantStore

__all__ = ["Names", "QdrantBackend", "QdrantOptions", "QdrantStore"]
