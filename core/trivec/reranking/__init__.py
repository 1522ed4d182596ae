"""Ranking a few documents again: by their vectors, by a cross-encoder, or for diversity."""

from trivec.reranking.cross_encoder import Reranker
from trivec.reranking.mmr import diverse
from trivec.reranking.remote import RemoteReranker
from trivec.reranking.rescorer import Candidate, CrossEncoder, RerankMode, Rescorer

__all__ = [
    "Candidate",
    "CrossEncoder",
    "RemoteReranker",
    "RerankMode",
    "Reranker",
    "Rescorer",
    "diverse",
]
