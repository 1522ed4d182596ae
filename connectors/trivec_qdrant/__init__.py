"""trivec's collections in Qdrant."""

from trivec_qdrant.schema import Names
from trivec_qdrant.store import QdrantBackend, QdrantOptions, QdrantStore

__all__ = ["Names", "QdrantBackend", "QdrantOptions", "QdrantStore"]
