"""The reranker against transformers' own sequence classification."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

from trivec.encoding.reranker import Reranker
from trivec.errors import CheckpointError, InvalidInputError, InvalidOptionError

Text = Callable[..., str]


@pytest.fixture(scope="module", params=["xlm-roberta", "bert"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    builders: dict[str, Any] = runpy.run_path(str(Path(__file__).parent / "conftest.py"))
    dimensions = builders["DIMENSIONS"] | {"num_labels": 1}
    folder = tmp_path_factory.mktemp("rerankers") / str(request.param)
    torch.manual_seed(3)
    model: Any
    if request.param == "bert":
        model = BertForSequenceClassification(BertConfig(**dimensions))
    else:
        model = XLMRobertaForSequenceClassification(
            XLMRobertaConfig(
                max_position_embeddings=130, type_vocab_size=1, pad_token_id=1, **dimensions
            )
        )
    builders["_randomise"](model)
    model.save_pretrained(folder)
    builders["save_tokenizer"](folder, request.param)
    return folder


def expected(folder: Path, pairs: list[tuple[str, str]], max_length: int) -> list[float]:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    scores = []
    for question, document in pairs:
        inputs = tokenizer(
            question,
            document,
            truncation="only_second",
            max_length=max_length,
            return_tensors="pt",
            return_token_type_ids="bert" in folder.name and "roberta" not in folder.name,
        )
        with torch.inference_mode():
            scores.append(float(model(**inputs).logits[0, 0]))
    return scores


def test_scores_equal_transformers(checkpoint: Path, random_text: Text) -> None:
    pairs = [(random_text(a, seed=a), random_text(b, seed=b)) for a, b in ((3, 9), (5, 80), (1, 1))]
    reranker = Reranker.load(checkpoint, device="cpu", precision="float32")
    wanted = np.array(expected(checkpoint, pairs, 60))
    assert np.ptp(wanted) > 0.01
    np.testing.assert_allclose(reranker.score_pairs(pairs, max_length=60), wanted, atol=1e-5)
    sigmoid = reranker.score_pairs(pairs, max_length=60, sigmoid=True)
    np.testing.assert_allclose(sigmoid, 1 / (1 + np.exp(-wanted)), atol=1e-5)


def test_a_long_question_leaves_room_for_the_document(checkpoint: Path, random_text: Text) -> None:
    reranker = Reranker.load(checkpoint, device="cpu", precision="float32")
    question = random_text(100)
    cut = " ".join(question.split()[:30])  # three quarters of 40
    found = reranker.score_pairs([(question, "kalo mine"), (cut, "kalo mine")], max_length=40)
    assert found[0] == pytest.approx(found[1], abs=1e-6)


def test_no_pairs_and_wrong_pairs(checkpoint: Path) -> None:
    reranker = Reranker.load(checkpoint, device="cpu", precision="float32")
    assert reranker.score_pairs([]).shape == (0,)
    with pytest.raises(InvalidInputError, match="pair 0"):
        reranker.score_pairs(["ab"])  # type: ignore[list-item]
    with pytest.raises(InvalidInputError, match="text 1 holds the lone surrogate"):
        reranker.score_pairs([("kalo", "mine"), ("kalo", "\ud800")])
    with pytest.raises(InvalidOptionError, match="max_length"):
        reranker.score_pairs([("kalo", "mine")], max_length=3)


def test_an_encoder_is_no_reranker(m3: Path) -> None:
    with pytest.raises(CheckpointError, match="is no reranker"):
        Reranker.load(m3, device="cpu", precision="float32")
