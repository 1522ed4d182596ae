"""The device of these tests: a CUDA GPU, or the one that TRIVEC_GPU_TESTS names."""

from __future__ import annotations

import os

import pytest
import torch


@pytest.fixture(scope="session")
def device() -> str:
    """Skip if there is no GPU; TRIVEC_GPU_TESTS=cpu runs the tests on the CPU instead."""
    asked = os.environ.get("TRIVEC_GPU_TESTS", "")
    if asked:
        return asked
    if not torch.cuda.is_available():
        pytest.skip("PyTorch finds no CUDA GPU")
    return "cuda"
