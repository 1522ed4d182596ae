"""The reranker against transformers' own sequence classification."""

from __future__ import annotations

import copy
import json
import pickle
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

from trivec import Encoder, Reranker
from trivec.errors import CheckpointError, InvalidInputError, InvalidOptionError

Text = Callable[..., str]
Copy = Callable[[Path], Path]


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
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    scores = []
    for question, document in pairs:
        inputs = tokenizer(
            question,
            document,
            truncation="only_second",
            max_length=max_length,
            return_tensors="pt",
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


def tokens_of(folder: Path, **settings: object) -> None:
    path = folder / "tokenizer_config.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | settings), encoding="utf-8")


@pytest.mark.parametrize(
    ("inputs", "types"),
    [
        (["input_ids", "token_type_ids", "attention_mask"], [0, 0, 0, 0, 1, 1, 1]),
        (["input_ids", "attention_mask"], [0] * 7),
    ],
)
def test_the_tokenizer_says_whether_there_are_token_types(
    checkpoint: Path, copy: Copy, inputs: list[str], types: list[int]
) -> None:
    folder = copy(checkpoint)
    tokens_of(folder, model_input_names=inputs)
    pair = ("kalo mine", "neka rusa")
    found = Reranker.load(folder, device="cpu", precision="float32").score_pairs([pair])
    np.testing.assert_allclose(found, expected(folder, [pair], 60), atol=1e-5)
    if checkpoint.name == "bert":
        given = AutoTokenizer.from_pretrained(folder)(*pair, return_tensors="pt")
        model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        with torch.inference_mode():
            by_hand = model(
                input_ids=given["input_ids"], token_type_ids=torch.tensor([types])
            ).logits[0]
        np.testing.assert_allclose(found, by_hand, atol=1e-5)


def test_token_types_that_the_model_lacks(checkpoint: Path, copy: Copy) -> None:
    folder = copy(checkpoint)
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    for piece in tokenizer["post_processor"]["pair"][2:]:
        next(iter(piece.values()))["type_id"] = 2
    path.write_text(json.dumps(tokenizer), encoding="utf-8")
    tokens_of(folder, model_input_names=["input_ids", "token_type_ids"])
    with pytest.raises(CheckpointError, match="uses 3 token types, the model has"):
        Reranker.load(folder, device="cpu", precision="float32")


def test_the_checkpoint_says_where_pairs_end(
    checkpoint: Path, copy: Copy, random_text: Text
) -> None:
    folder = copy(checkpoint)
    tokens_of(folder, model_max_length=20)
    reranker = Reranker.load(folder, device="cpu", precision="float32")
    assert reranker.max_length == 20
    pairs = [("kalo mine", random_text(50))]
    np.testing.assert_allclose(reranker.score_pairs(pairs), expected(folder, pairs, 20), atol=1e-5)
    np.testing.assert_allclose(
        reranker.score_pairs(pairs, max_length=40), expected(folder, pairs, 40), atol=1e-5
    )


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        Reranker.load(folder, device="cpu", precision="float32")
    return str(caught.value)


def test_the_length_of_pairs_at_loading(checkpoint: Path, random_text: Text) -> None:
    pairs = [(random_text(5), random_text(50, 1))]
    reranker = Reranker.load(checkpoint, device="cpu", precision="float32", max_length=20)
    again = pickle.loads(pickle.dumps(reranker))
    for short in (reranker, again):
        assert short.max_length == 20
        np.testing.assert_allclose(
            short.score_pairs(pairs), expected(checkpoint, pairs, 20), atol=1e-5
        )
    wrong_lengths: list[Any] = [0, 3, 10.0, True]
    for wrong in wrong_lengths:
        with pytest.raises(InvalidOptionError, match="max_length"):
            Reranker.load(checkpoint, device="cpu", precision="float32", max_length=wrong)


def test_settings_that_would_change_scores_are_refused(checkpoint: Path, copy: Copy) -> None:
    folder = copy(checkpoint)
    settings = folder / "config_sentence_transformers.json"
    settings.write_text('{"model_type": "CrossEncoder", "prompts": {"a": "A: "}}')
    Reranker.load(folder, device="cpu", precision="float32")
    settings.write_text('{"prompts": {"a": "A: "}, "default_prompt_name": "a"}')
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "base/model"}')
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {"extra.weight": torch.zeros(2)}, folder / "model.safetensors")
    message = refusal(folder)
    assert "'A: ' before each pair" in message
    assert "adapter of 'base/model'" in message
    assert "merge_and_unload()" in message
    assert "tensors that would be ignored: extra.weight" in message


def test_several_labels_are_refused(checkpoint: Path, copy: Copy) -> None:
    folder = copy(checkpoint)
    tensors = load_file(folder / "model.safetensors")
    name = "classifier" if checkpoint.name == "bert" else "classifier.out_proj"
    tensors |= {f"{name}.weight": torch.zeros(3, 32), f"{name}.bias": torch.zeros(3)}
    save_file(tensors, folder / "model.safetensors")
    message = refusal(folder)
    assert "it is no reranker" in message
    assert f"'{name}.weight': (3, 32)" in message


def test_a_reranker_is_no_encoder(checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match=r"rerankers are loaded with Reranker\.load"):
        Encoder.load(checkpoint, device="cpu", precision="float32")


def test_an_encoder_is_no_reranker(m3: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is no reranker.*Encoder\.load"):
        Reranker.load(m3, device="cpu", precision="float32")


def test_a_pickle_loads_the_same_reranker_again(checkpoint: Path) -> None:
    reranker = Reranker.load(checkpoint, device="cpu", precision="int8", batch_tokens=50)
    again = pickle.loads(pickle.dumps(reranker))
    assert repr(again) == repr(reranker)
    pairs = [("kalo", "mine"), ("mine", "kalo kalo")]
    np.testing.assert_array_equal(again.score_pairs(pairs), reranker.score_pairs(pairs))
    assert copy.deepcopy(reranker) is reranker
