"""trivec's collections in Qdrant."""

from trivec_qdrant.schema import Names, Storage
from trivec_qdrant.store import QdrantStore

__all__ = ["Names", "QdrantStore", "Storage"]
