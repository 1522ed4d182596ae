"""The vectors equal the reference's, in the order of the texts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trivec import Document, Encoder, Schema, Vector, Vectors
from trivec.encoders import Truncation
from trivec.errors import CheckpointError, InvalidInputError, InvalidOptionError
from trivec.rows import Float

Text = Callable[..., str]
Reference = Callable[..., Any]

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def encoder(m3: Path) -> Encoder:
    return Encoder.load(m3, device="cpu", precision="float32")


def assert_equal(found: Vector, expected: Any, tolerance: float = TOLERANCE) -> None:
    dense, sparse, colbert = expected
    assert found.dense is not None
    np.testing.assert_allclose(found.dense, dense, atol=tolerance)
    if found.sparse is not None:
        # A weight of almost 0 may round to either side of it.
        for token in set(sparse) | set(found.sparse):
            assert found.sparse.get(token, 0.0) == pytest.approx(
                sparse.get(token, 0.0), abs=tolerance
            )
    if found.colbert is not None:
        np.testing.assert_allclose(found.colbert, colbert, atol=tolerance)


def unit(vectors: Vector | Vectors) -> Float:
    assert vectors.dense is not None
    return vectors.dense


def test_any_batch_equals_each_text_alone(
    encoder: Encoder, m3: Path, random_text: Text, reference: Reference
) -> None:
    texts = [random_text(n, seed=n) for n in (5, 0, 40, 5, 300, 1, 17, 5)]
    texts += ["kalo unknown kalo", "<pad> kalo <s> mine"]
    expected = [reference(m3, text) for text in texts]
    assert sum(len(sparse) for _, sparse, _ in expected) > 50
    for budget in (1, 16, 10_000):
        encoder._batch_tokens = budget
        for found, wanted in zip(encoder.encode_documents(texts), expected, strict=True):
            assert_equal(found, wanted)
    backwards = encoder.encode_documents(texts[::-1])
    for found, wanted in zip(backwards, expected[::-1], strict=True):
        assert_equal(found, wanted)


@pytest.mark.parametrize("tokens", [1, 2, 255, 2047, 8190])
def test_lengths_up_to_the_longest(
    encoder: Encoder, m3: Path, random_text: Text, reference: Reference, tokens: int
) -> None:
    text = random_text(tokens)
    found = encoder.encode_documents([text])[0]
    assert found.colbert is not None
    assert len(found.colbert) == tokens + 1
    assert_equal(found, reference(m3, text))


def test_bert_and_its_positions(
    bert: Path, random_text: Text, reference: Reference, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = Encoder.load(bert, device="cpu", precision="float32")
    assert encoder.schema == Schema(dense=32, sparse=False, colbert=None, model="bge-small-en-v1.5")
    assert encoder.max_length == 64
    texts = [random_text(n, seed=n) for n in (3, 62, 90)]
    vectors = encoder.encode_documents(texts)
    assert vectors.sparse is None
    assert vectors.colbert is None
    for found, text in zip(vectors, texts, strict=True):
        assert_equal(found, reference(bert, text, max_length=64))
    assert "1 of 3 texts are cut" in caplog.text


@pytest.mark.parametrize("mode", ["cls", "mean"])
def test_the_checkpoint_determines_the_pooling(
    m3: Path,
    copy: Callable[[Path], Path],
    declare_pooling: Callable[[Path, str], None],
    random_text: Text,
    reference: Reference,
    mode: str,
) -> None:
    folder = copy(m3)
    declare_pooling(folder, mode)
    encoder = Encoder.load(folder, device="cpu", precision="float32")
    texts = [random_text(n, seed=n) for n in (9, 0, 30)]
    for found, text in zip(encoder.encode_documents(texts), texts, strict=True):
        assert_equal(found, reference(folder, text, mean=mode == "mean"))


@pytest.mark.parametrize(
    ("precision", "cosine"), [("bfloat16", 0.999), ("float16", 0.999), ("int8", 0.995)]
)
def test_other_precisions_point_the_same_way(
    m3: Path, encoder: Encoder, random_text: Text, precision: Any, cosine: float
) -> None:
    texts = [random_text(n, seed=n) for n in (4, 60, 200)]
    other = Encoder.load(m3, device="cpu", precision=precision)
    assert other.precision.value == precision
    found, exact = other.encode_documents(texts), encoder.encode_documents(texts)
    assert found.dense is not None
    assert exact.dense is not None
    assert np.sum(found.dense * exact.dense, axis=1).min() > cosine
    assert found.colbert is not None
    assert exact.colbert is not None
    assert np.sum(found.colbert.values * exact.colbert.values, axis=1).mean() > cosine


def test_mcls_is_the_mean_over_repeated_first_tokens(m3: Path, random_text: Text) -> None:
    from transformers import AutoModel

    encoder = Encoder.load(m3, device="cpu", precision="float32", mcls=True)
    content = encoder._tokenizer([random_text(600)], max_length=8192).rows[0][1:-1]
    ids = [0, *content[:256], 0, *content[256:512], 0, *content[512:], 2]
    model = AutoModel.from_pretrained(m3, add_pooling_layer=False).eval()
    with torch.inference_mode():
        states = model(input_ids=torch.tensor([ids])).last_hidden_state[0]
    mean = states[[0, 257, 514]].mean(0)
    short, long = encoder.encode_documents([random_text(256), random_text(600)])
    np.testing.assert_allclose(unit(long), mean / mean.norm(), atol=TOLERANCE)
    assert long.colbert is not None
    assert len(long.colbert) == 601
    plain = Encoder.load(m3, device="cpu", precision="float32")
    np.testing.assert_allclose(
        unit(short), unit(plain.encode_query(random_text(256))), atol=TOLERANCE
    )


def test_options_select_the_parts(encoder: Encoder) -> None:
    some = encoder.encode_documents(["kalo", "mine"], dense=False, colbert=False)
    assert some.dense is None
    assert some.colbert is None
    assert some.sparse is not None
    with pytest.raises(InvalidOptionError, match="no part is left"):
        encoder.encode_documents(["kalo"], dense=False, sparse=False, colbert=False)


def test_no_texts(encoder: Encoder) -> None:
    empty = encoder.encode_documents([])
    assert len(empty) == 0
    assert empty.dense is not None
    assert empty.dense.shape == (0, 32)
    assert empty.colbert is not None
    assert empty.colbert.dim == 16


def test_an_empty_text_has_its_end_only(encoder: Encoder) -> None:
    vector = encoder.encode_query("")
    assert vector.sparse == {}
    assert vector.colbert is not None
    assert vector.colbert.shape == (1, 16)


def test_one_string_and_other_things_are_refused(encoder: Encoder) -> None:
    with pytest.raises(InvalidInputError, match="list of texts"):
        encoder.encode_documents("kalo")
    with pytest.raises(InvalidInputError, match="text 1: expected a str, got None"):
        encoder.encode_queries(["kalo", None])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: e.encode_documents(None), "texts: expected a list of texts.*got None"),
        (lambda e: e.encode_documents({"a": "kalo"}), "texts: .*got dict"),
        (lambda e: e.encode_documents([Document("a", "kalo")]), "text 0: .*got trivec.*Document"),
        (lambda e: e.encode_queries("kalo"), "texts: expected a list of texts.*got str 'kalo'"),
        (lambda e: e.encode_query(["kalo"]), "text 0: expected a str, got list of str"),
        (lambda e: e.encode_documents(["kalo"], max_length="5"), "max_length='5' must be"),
        (lambda e: e.encode_documents(["kalo"], max_length=9.0), "max_length=9.0 must be"),
        (lambda e: e.tokens(["kalo"]), "text 0: expected a str, got list of str"),
        (lambda e: e.tokens("kalo", max_length=True), "max_length=True must be"),
        (lambda e: type(e).load(None), "model: expected the name of a model.*got None"),
        (lambda e: type(e).load(e), "model: expected the name.*got trivec.*Encoder"),
        (lambda e: type(e).load("x", batch_tokens="9"), "batch_tokens='9' must be"),
        (lambda e: type(e).load("x", colbert_dtype=np.float16), "colbert_dtype"),
    ],
)
def test_wrong_arguments_are_named(encoder: Encoder, call: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        call(encoder)


def test_half_a_surrogate_pair_is_refused_and_can_be_repaired(encoder: Encoder) -> None:
    whole, half = "kalo \ud83d\ude00", "kalo \ud83d"
    for method in (encoder.encode_documents, encoder.encode_queries):
        with pytest.raises(
            InvalidInputError, match=r"text 1 holds .* U\+D83D at character 5, .* replace"
        ):
            method(["kalo", whole])
    with pytest.raises(InvalidInputError, match="text 0 holds the lone surrogate"):
        encoder.encode_query(half)
    repaired = [
        t.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for t in (whole, half)
    ]
    assert repaired == ["kalo \N{GRINNING FACE}", "kalo \N{REPLACEMENT CHARACTER}"]
    assert len(encoder.encode_documents(repaired)) == 2


def test_cut_texts_are_reported_before_the_work(encoder: Encoder, random_text: Text) -> None:
    reports: list[Sequence[Truncation]] = []
    texts = [random_text(3), random_text(30), random_text(8)]
    vectors = encoder.encode_documents(texts, max_length=10, on_truncate=reports.append)
    assert reports == [(Truncation(index=1, tokens=32, kept=10),)]
    assert vectors.colbert is not None
    assert np.diff(vectors.colbert.indptr).tolist() == [4, 9, 9]
    encoder.encode_documents(texts[:1], max_length=10, on_truncate=reports.append)
    assert len(reports) == 1


def test_cut_texts_are_logged_without_a_callback(
    encoder: Encoder, random_text: Text, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "trivec"):
        encoder.encode_documents([random_text(3), random_text(30)], max_length=10)
    assert "number 1, has 32 tokens and keeps 10" in caplog.text


def test_progress_ends_with_all_texts(encoder: Encoder, random_text: Text) -> None:
    seen: list[tuple[int, int]] = []
    encoder._batch_tokens = 16
    encoder.encode_documents(
        [random_text(9, seed=i) for i in range(5)], progress=lambda *done: seen.append(done)
    )
    assert seen == [(i, 5) for i in range(1, 6)]


def test_each_token_runs_once(
    encoder: Encoder, random_text: Text, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: list[int] = []
    backbone = encoder._backbone

    def counting(texts: Any) -> torch.Tensor:
        passed.append(len(texts.ids))
        return backbone(texts)

    monkeypatch.setattr(encoder, "_backbone", counting)
    encoder._batch_tokens = 64
    lengths = [5, 30, 1, 44, 12, 90]
    encoder.encode_documents([random_text(n) for n in lengths])
    assert sum(passed) == sum(n + 2 for n in lengths)
    assert all(tokens <= 64 for tokens in passed if tokens != 92)


def test_a_batch_is_halved_when_the_gpu_is_out_of_memory(
    encoder: Encoder, random_text: Text, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = encoder._backbone

    def small(texts: Any) -> torch.Tensor:
        if len(texts.ids) > 40:
            raise torch.OutOfMemoryError("too large")
        return backbone(texts)

    texts = [random_text(n) for n in (9, 20, 9, 30)]
    expected = encoder.encode_documents(texts)
    monkeypatch.setattr(encoder, "_backbone", small)
    encoder._batch_tokens = 1000
    found = encoder.encode_documents(texts)
    np.testing.assert_allclose(unit(found), unit(expected), atol=TOLERANCE)
    with pytest.raises(torch.OutOfMemoryError):
        encoder.encode_documents([random_text(50)])


def test_float16_token_vectors(m3: Path, encoder: Encoder) -> None:
    small = Encoder.load(m3, device="cpu", precision="float32", colbert_dtype="float16")
    found, exact = (e.encode_query("kalo mine") for e in (small, encoder))
    assert found.colbert is not None
    assert exact.colbert is not None
    assert found.colbert.dtype == np.float16
    np.testing.assert_allclose(found.colbert, exact.colbert, atol=1e-3)


def test_questions_get_the_instruction_of_the_model(bert: Path, m3: Path) -> None:
    instruction = "Represent this sentence for searching relevant passages: "
    encoder = Encoder.load(bert, device="cpu", precision="float32")
    assert encoder.query_instruction == instruction
    by_hand = encoder.encode_documents([instruction + "kalo"])[0].dense
    np.testing.assert_array_equal(encoder.encode_query("kalo").dense, by_hand)
    assert Encoder.load(m3, device="cpu", precision="float32").query_instruction == ""
    without = Encoder.load(bert, device="cpu", precision="float32", query_instruction="")
    assert without.query_instruction == ""


def test_threads_share_an_encoder(encoder: Encoder, random_text: Text) -> None:
    texts = [[random_text(n, seed=n + k) for n in (3, 20, 7)] for k in range(16)]
    expected = [encoder.encode_documents(group) for group in texts]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(encoder.encode_documents, texts))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.dense, other.dense)


def test_repr_names_model_parts_device_and_precision(encoder: Encoder) -> None:
    assert repr(encoder) == (
        "Encoder(model='tiny-m3', parts=('dense', 'sparse', 'colbert'), device='cpu', "
        "precision='float32', max_length=8192)"
    )


def test_a_part_without_its_file(bert: Path) -> None:
    encoder = Encoder.load(bert, device="cpu", precision="float32")
    with pytest.raises(CheckpointError, match=r"sparse_linear\.pt"):
        encoder.encode_documents(["kalo"], sparse=True)
    with pytest.raises(CheckpointError, match=r"colbert_linear\.pt"):
        encoder.encode_query("kalo", colbert=True)
    assert encoder.encode_query("kalo", sparse=False).dense is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "abacus"}, "abacus"),
        ({"precision": "float64"}, "float64"),
        ({"colbert_dtype": "int8"}, "colbert_dtype"),
        ({"batch_tokens": 0}, "batch_tokens"),
        ({"document_instruction": ["passage: "]}, "document_instruction"),
    ],
)
def test_options_out_of_range(m3: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        Encoder.load(m3, **options)
