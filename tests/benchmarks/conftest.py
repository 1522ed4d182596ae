"""What the benchmarks share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the archives."""
    kept = os.environ.get("TRIVEC_BENCHMARK_VECTORS")
    return Path(kept) if kept else tmp_path_factory.mktemp("vectors")
