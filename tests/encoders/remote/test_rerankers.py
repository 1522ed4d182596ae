"""Cross-encoders behind /rerank of text-embeddings-inference and of Infinity."""

from __future__ import annotations

import numpy as np
import pytest
from encoder_doubles import Double, OpenAi, Refusal, Tei, pair_score

from trivec.errors import EncoderError, InvalidInputError, InvalidOptionError
from trivec.reranking import Candidate, RemoteReranker, Rescorer

PAIRS = [
    ("which whale", "a blue whale"),
    ("which fox", "a red fox"),
    ("which whale", "a red fox"),
    ("which fox", "which is a fox"),
] * 20


@pytest.mark.parametrize(
    ("double", "kind"), [(Tei(pooling=None, batch=3), "tei"), (OpenAi(prefix=""), "infinity")]
)
def test_scores(double: Double, kind: str) -> None:
    expected = np.array([pair_score(*pair) for pair in PAIRS], np.float32)
    with double.serving() as address:
        reranker = RemoteReranker(f"{kind}+http://{address}", batch_texts=7)
        np.testing.assert_allclose(reranker.score_pairs(PAIRS), expected, atol=1e-6)
        sigmoid = 1 / (1 + np.exp(-expected))
        np.testing.assert_allclose(reranker.score_pairs(PAIRS, sigmoid=True), sigmoid, atol=1e-6)
        assert reranker.score_pairs([]).shape == (0,)
        scores = Rescorer(cross_encoder=reranker).scores("which fox", [Candidate("a red fox")])
        assert scores == pytest.approx([pair_score("which fox", "a red fox")])
        reranker.close()


def test_answers_that_are_wrong() -> None:
    double = Tei(pooling=None)
    with double.serving() as address:
        reranker = RemoteReranker(f"tei+http://{address}")
        for body in ([], [{"index": 3, "score": 1.0}], {"scores": [1.0]}, [{"index": 0}]):
            double.refusals = [Refusal(200, body)]
            with pytest.raises(EncoderError, match=r"expected a|for 1 texts"):
                reranker.score_pairs(PAIRS[:1])
        double.pooling = "cls"
        with pytest.raises(EncoderError, match="status 424"):
            reranker.score_pairs(PAIRS[:1])


def test_arguments_that_are_wrong() -> None:
    with pytest.raises(InvalidOptionError, match="unknown reranker scheme 'openai"):
        RemoteReranker("openai+http://localhost/v1")
    with pytest.raises(InvalidOptionError, match="unknown option x"):
        RemoteReranker("tei+http://localhost", x=1)
    reranker = RemoteReranker("infinity+http://localhost", model="m")
    assert repr(reranker) == "RemoteReranker('infinity+http://localhost')"
    pairs = [("a",)]
    with pytest.raises(InvalidInputError, match="pair 0"):
        reranker.score_pairs(pairs)  # type: ignore[arg-type]
