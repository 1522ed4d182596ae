"""The contract of stores: Qdrant's client in its local mode, and a server."""

from case_contract import CaseContract
from store_cases import case_named


class TestQdrantMemory(CaseContract):
    case = case_named("qdrant-memory")


class TestQdrantLocal(CaseContract):
    case = case_named("qdrant-local")


class TestQdrant(CaseContract):
    case = case_named("qdrant")


class TestQdrantRest(CaseContract):
    case = case_named("qdrant-rest")
