"""A local Ray with two CPUs."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator

import pytest

ray = pytest.importorskip("ray", reason="ray is not installed")


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """Start Ray, which phones nobody, and yield its address."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        logging_level=logging.ERROR,
        log_to_driver=False,
        object_store_memory=200 * 2**20,
    )
    with warnings.catch_warnings():  # of Ray about the defaults of its own settings
        warnings.simplefilter("ignore", DeprecationWarning)
        ray.data.DataContext.get_current().enable_progress_bars = False
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()
