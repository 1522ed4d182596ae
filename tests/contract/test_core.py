"""The contract of stores: the stores of trivec itself."""

from case_contract import CaseContract
from store_cases import case_named


class TestMemory(CaseContract):
    case = case_named("memory")


class TestArchive(CaseContract):
    case = case_named("archive")
