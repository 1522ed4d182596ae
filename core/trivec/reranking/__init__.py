"""Ranking a few documents again: by their vectors, by a cross-encoder, or for diversity.

Importing this package imports no HTTP client.
"""

from typing import TYPE_CHECKING, Any

from trivec.reranking.cross_encoder import Reranker
from trivec.reranking.mmr import diverse
from trivec.reranking.rescorer import Candidate, CrossEncoder, RerankMode, Rescorer

if TYPE_CHECKING:
    from trivec.reranking.remote import RemoteReranker

__all__ = [
    "Candidate",
    "CrossEncoder",
    "RemoteReranker",
    "RerankMode",
    "Reranker",
    "Rescorer",
    "diverse",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any attribute of a module
    """Import what takes long when it is asked for."""
    if name == "RemoteReranker":
        from trivec.reranking.remote import RemoteReranker

        return RemoteReranker
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
