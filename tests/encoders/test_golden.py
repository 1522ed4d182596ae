"""The encoder and `score` against the numbers of FlagEmbedding 1.4.2.

scripts/make_golden.py made tests/encoders/golden.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from trivec import Encoder, Vectors, Weights, score

GOLDEN = Path(__file__).parent / "golden"
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def golden() -> Any:
    return json.loads((GOLDEN / "golden.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def encoded(golden: Any) -> dict[str, Vectors]:
    encoder = Encoder.load(GOLDEN / "checkpoint", device="cpu", precision="float32")
    return {
        "queries": encoder.encode_queries(golden["texts"]["queries"]),
        "documents": encoder.encode_documents(
            golden["texts"]["documents"], max_length=golden["max_length"]
        ),
    }


@pytest.mark.parametrize("name", ["queries", "documents"])
def test_vectors(golden: Any, encoded: dict[str, Vectors], name: str) -> None:
    expected, found = load_file(GOLDEN / "vectors.safetensors"), encoded[name]
    assert found.dense is not None
    assert found.sparse is not None
    assert found.colbert is not None
    np.testing.assert_allclose(found.dense, expected[f"{name}.dense"], atol=TOLERANCE)
    for i, lexical in enumerate(golden["lexical"][name]):
        assert found.sparse.row(i) == pytest.approx(
            {int(token): weight for token, weight in lexical.items()}, abs=TOLERANCE
        )
        np.testing.assert_allclose(
            found.colbert.row(i), expected[f"{name}.colbert.{i}"], atol=TOLERANCE
        )


@pytest.mark.parametrize(
    "parts", ["dense", "sparse", "colbert", "sparse+dense", "colbert+sparse+dense"]
)
def test_scores(golden: Any, encoded: dict[str, Vectors], parts: str) -> None:
    weights = Weights(
        **{part: weight if part in parts else 0.0 for part, weight in golden["weights"].items()}
    )
    found = [
        score(query, document, weights).hybrid or 0.0
        for query in encoded["queries"]
        for document in encoded["documents"]
    ]
    expected = golden["scores"][parts]
    assert max(expected) > 0
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)
