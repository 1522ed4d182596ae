"""The contract of stores: Vespa's own container, and a server."""

from case_contract import CaseContract
from store_cases import case_named


class TestVespaStandin1(CaseContract):
    case = case_named("vespa-standin-1")


class TestVespaStandinH2c1(CaseContract):
    case = case_named("vespa-standin-h2c-1")


class TestVespaStandin2(CaseContract):
    case = case_named("vespa-standin-2")


class TestVespa(CaseContract):
    case = case_named("vespa")
