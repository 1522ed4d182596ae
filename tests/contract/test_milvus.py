"""The contract of stores: Milvus Lite, the double of a Milvus server, and a server."""

from case_contract import CaseContract
from store_cases import case_named


class TestMilvusLite(CaseContract):
    case = case_named("milvus-lite")


class TestMilvusDouble(CaseContract):
    case = case_named("milvus-double")


class TestMilvus(CaseContract):
    case = case_named("milvus")
