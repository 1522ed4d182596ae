"""Ranking a few documents again: by their vectors, by a cross-encoder, or for diversity.

Importing this package imports no HTTP client.
"""

from typing import TYPE_CHECKING

from trivec.lazy import imported_on_use
from trivec.reranking.mmr import diverse
from trivec.reranking.rescorer import Candidate, CrossEncoder, RerankMode, Rescorer

if TYPE_CHECKING:
    from trivec.reranking.cross_encoder import Reranker
    from trivec.reranking.remote import RemoteReranker
else:
    __getattr__, __dir__ = imported_on_use(
        __name__,
        {
            "trivec.reranking.cross_encoder": ("Reranker",),
            "trivec.reranking.remote": ("RemoteReranker",),
        },
    )

__all__ = [
    "Candidate",
    "CrossEncoder",
    "RemoteReranker",
    "RerankMode",
    "Reranker",
    "Rescorer",
    "diverse",
]
