"""The contract of stores: Qdrant's embedded engine."""

from case_contract import CaseContract
from store_cases import case_named


class TestQdrantEdge(CaseContract):
    case = case_named("qdrant-edge")


class TestQdrantEdgeExact(CaseContract):
    case = case_named("qdrant-edge-exact")
