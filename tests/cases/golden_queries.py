"""The vectors that FlagEmbedding makes of the questions of the golden checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from trivec.vectors import Vectors

GOLDEN = Path(__file__).parents[1] / "encoders" / "golden"


def assert_golden_queries(found: Vectors) -> None:
    """Compare the vectors of all questions, in their order."""
    golden = json.loads((GOLDEN / "golden.json").read_text(encoding="utf-8"))
    expected = load_file(GOLDEN / "vectors.safetensors")
    assert found.dense is not None
    assert found.sparse is not None
    assert found.colbert is not None
    np.testing.assert_allclose(found.dense, expected["queries.dense"], atol=1e-5)
    for i, lexical in enumerate(golden["lexical"]["queries"]):
        weights = {int(token): weight for token, weight in lexical.items()}
        assert found.sparse.row(i) == pytest.approx(weights, abs=1e-5)
        colbert = expected[f"queries.colbert.{i}"]
        np.testing.assert_allclose(found.colbert.row(i), colbert, atol=1e-5)
