"""The stores that the demo's questions are asked of."""

from __future__ import annotations

from pathlib import Path

import pytest
from store_cases import CASES, StoreCase


@pytest.fixture(params=CASES, ids=lambda case: case.name, scope="module")
def case(request: pytest.FixtureRequest) -> StoreCase:
    case: StoreCase = request.param
    if case.fixture:
        request.getfixturevalue(case.fixture)
    return case


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")
