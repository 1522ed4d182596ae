"""Passages whose vectors come from one pass over the whole text."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, PreTrainedTokenizerFast

from trivec import Encoder, Vector
from trivec.encoders import CachingEncoder, OnnxEncoder, PassageEncoder
from trivec.encoders.backbone import Backbone
from trivec.encoders.onnx_export import export_model
from trivec.encoders.ranges import Ranges
from trivec.encoders.windows import divide
from trivec.errors import InvalidInputError, InvalidOptionError
from trivec.rows import Float
from trivec.testing import HashEncoder

Text = Callable[..., str]
Copy = Callable[[Path], Path]
Declare = Callable[[Path, str], None]

TOLERANCE = 2e-6


def load(folder: Path, **options: Any) -> Encoder:
    return Encoder.load(folder, device="cpu", **{"precision": "float32", **options})


def colbert(vector: Vector) -> Float:
    assert vector.colbert is not None
    return vector.colbert


def close(one: object, other: object) -> None:
    np.testing.assert_allclose(np.asarray(one), np.asarray(other), atol=TOLERANCE)


def close_weights(one: Vector, other: Vector) -> None:
    assert one.sparse is not None
    assert other.sparse is not None
    assert one.sparse.keys() == other.sparse.keys()
    for token, weight in one.sparse.items():
        assert weight == pytest.approx(other.sparse[token], abs=TOLERANCE)


@pytest.mark.parametrize("length", [1, 5, 256, 257, 512, 700])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mcls": True},
        {"precision": "int8"},
        {"document_instruction": "kaka lolo: "},
        {"document_instruction": "kaka lolo: ", "mcls": True},
        {"truncate_dim": 8},
    ],
    ids=str,
)
def test_the_whole_text_as_a_passage(
    m3: Path, random_text: Text, options: dict[str, Any], length: int
) -> None:
    """It has the vectors of the document, but for those of the instruction and the end."""
    encoder = load(m3, **options)
    text = random_text(length)
    passage = encoder.encode_passages(text, [slice(0, length)])[0]
    document = encoder.encode_documents([text])[0]
    close(colbert(passage), colbert(document)[-length - 1 : -1])
    if "document_instruction" not in options:
        close_weights(passage, document)
    instruction = options.get("document_instruction", "").split()
    if not options.get("mcls") or length + len(instruction) <= 256:  # of one first token
        close(passage.dense, document.dense)


@pytest.mark.parametrize("include_prompt", [True, False])
@pytest.mark.parametrize("mode", ["cls", "mean"])
def test_pooling_and_instructions(
    m3: Path,
    copy: Copy,
    declare_pooling: Declare,
    random_text: Text,
    mode: str,
    include_prompt: bool,
) -> None:
    folder = copy(m3)
    declare_pooling(folder, mode)
    encoder = load(folder, document_instruction="kaka lolo: ")
    encoder._include_prompt = include_prompt
    text = random_text(90)
    whole, part = encoder.encode_passages(text, [slice(0, 90), slice(30, 50)])
    document = encoder.encode_documents([text])[0]
    close(whole.dense, document.dense)
    close(colbert(part), colbert(document)[-91:-1][30:50])
    assert part.dense is not None
    assert document.dense is not None
    assert part.dense @ document.dense < 0.999


def test_the_vectors_of_passages(m3: Path, random_text: Text) -> None:
    """ColBERT vectors are a slice; a lexical weight is the highest of the passage's own tokens."""
    encoder = load(m3)
    text = random_text(400, seed=3)
    tokens = encoder.whole_tokens(text)
    passages = [slice(100, 180), slice(0, 1), slice(0, 400), slice(170, 260), slice(399, 400)]
    passages += [slice(100, 180)]
    vectors = encoder.encode_passages(text, passages)
    single = encoder.encode_passages(text, [slice(i, i + 1) for i in range(400)])
    document = encoder.encode_documents([text])[0]
    assert vectors.colbert is not None
    assert vectors.colbert.weights is not None
    for row, passage in enumerate(passages):
        found = vectors[row]
        close(colbert(found), colbert(document)[passage])
        highest: dict[int, float] = {}
        for i in range(passage.start, passage.stop):
            for token, weight in (single[i].sparse or {}).items():
                assert token == tokens[i].id
                highest[token] = max(weight, highest.get(token, 0.0))
        assert found.sparse is not None
        assert found.sparse == pytest.approx(highest, abs=TOLERANCE)
        start, stop = vectors.colbert.indptr[row : row + 2].tolist()
        expected = [found.sparse.get(token.id, 0.0) for token in tokens[passage]]
        assert vectors.colbert.weights[start:stop].tolist() == expected
    close(vectors[0].dense, vectors[5].dense)
    assert any(
        0 < (vectors[0].sparse or {})[t] < (document.sparse or {})[t] - 0.01
        for t in vectors[0].sparse or {}
    )


@pytest.mark.parametrize("mode", ["cls", "mean"])
def test_the_last_layers_read_each_passage_alone(
    m3: Path, copy: Copy, declare_pooling: Declare, random_text: Text, mode: str
) -> None:
    """The same by the layers of transformers."""
    folder = copy(m3)
    declare_pooling(folder, mode)
    text = random_text(60)
    model = AutoModel.from_pretrained(
        folder, dtype=torch.float32, add_pooling_layer=False, attn_implementation="eager"
    ).eval()
    inputs = PreTrainedTokenizerFast.from_pretrained(folder)(text, return_tensors="pt")
    dense = load(folder).encode_passages(text, [slice(7, 30), slice(50, 60)]).dense
    assert dense is not None
    with torch.inference_mode():
        states = model(**inputs, output_hidden_states=True).hidden_states[-2]
        for row, (start, stop) in enumerate([(7, 30), (50, 60)]):
            own = torch.cat([states[:, :1], states[:, start + 1 : stop + 1], states[:, -1:]], 1)
            last = model.encoder.layer[-1](own)
            last = (last if isinstance(last, torch.Tensor) else last[0])[0]
            pooled = last[0] if mode == "cls" else last.mean(0)
            close(dense[row], torch.nn.functional.normalize(pooled, dim=0).numpy())


def windows_by_hand(encoder: Encoder, text: str, bounds: list[int]) -> Float:
    """Return the ColBERT vectors of a text, a word a token, that is read in these windows."""
    words = text.split()
    windows = [" ".join(words[begin:end]) for begin, end in pairwise(bounds)]
    return np.concatenate([colbert(v)[:-1] for v in encoder.encode_documents(windows)])


@pytest.mark.parametrize("batch_tokens", [40, 150, 4096])
def test_texts_longer_than_a_window(m3: Path, random_text: Text, batch_tokens: int) -> None:
    encoder = load(m3, max_length=102, batch_tokens=batch_tokens)
    text = random_text(250)  # two and a half windows
    tokens = encoder.whole_tokens(text)
    assert len(tokens) == 251
    assert len(encoder.tokens(text)) == 101
    passages = [slice(i, i + 10) for i in range(0, 250, 10)]
    vectors = encoder.encode_passages(text, passages)
    assert vectors.colbert is not None
    expected = windows_by_hand(encoder, text, [0, 90, 180, 250])
    close(vectors.colbert.values, expected)
    alone = encoder.encode_passages(" ".join(text.split()[90:180]), [slice(0, 10)])[0]
    close(vectors[9].dense, alone.dense)
    close_weights(vectors[9], alone)


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", TOLERANCE), ("int8", 0.0)])
def test_vectors_do_not_depend_on_the_batch(
    m3: Path, random_text: Text, precision: str, tolerance: float
) -> None:
    text = random_text(700)
    order = np.random.default_rng(2).permutation(60).tolist()
    passages = [slice(n * 10, n * 10 + 30) for n in order]
    alone = load(m3, max_length=64, batch_tokens=1, precision=precision)
    expected = alone.encode_passages(text, passages)
    for batch_tokens in (100, 200, 10_000):
        encoder = load(m3, max_length=64, batch_tokens=batch_tokens, precision=precision)
        together = encoder.encode_passages(text, passages)
        for one, other in zip(together, expected, strict=True):
            assert one.dense is not None
            assert other.dense is not None
            np.testing.assert_allclose(one.dense, other.dense, rtol=0, atol=tolerance)
            np.testing.assert_allclose(colbert(one), colbert(other), rtol=0, atol=tolerance)
            close_weights(one, other)


def test_a_text_is_read_once(m3: Path, random_text: Text, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = load(m3)
    read: list[int] = []
    begin = Backbone.begin

    def counted(self: Backbone, texts: Any) -> torch.Tensor:
        read.append(len(texts.ids))
        return begin(self, texts)

    monkeypatch.setattr(Backbone, "begin", counted)
    passages = [slice(i, i + 20) for i in range(0, 480, 10)]
    encoder.encode_passages(random_text(500), passages)
    assert read == [502]


def test_memory_that_is_too_small(
    m3: Path, random_text: Text, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = load(m3, max_length=32, batch_tokens=1000)
    text = random_text(200)
    passages = [slice(i, i + 10) for i in range(0, 200, 10)]
    expected = encoder.encode_passages(text, passages)
    most = 70
    begin = Backbone.begin

    def small(self: Backbone, texts: Any) -> torch.Tensor:
        if len(texts.ids) > most:
            raise torch.OutOfMemoryError("too large")
        return begin(self, texts)

    monkeypatch.setattr(Backbone, "begin", small)
    found = encoder.encode_passages(text, passages)
    close(found.dense, expected.dense)
    assert found.colbert is not None
    assert expected.colbert is not None
    close(found.colbert.values, expected.colbert.values)
    most = 10
    with pytest.raises(torch.OutOfMemoryError):
        encoder.encode_passages(text, passages)


def test_special_tokens_in_a_text(m3: Path) -> None:
    """They have no lexical weight, and as many ColBERT vectors as tokens."""
    for mcls in (False, True):
        encoder = load(m3, mcls=mcls)
        text = "<s> kaka <pad> lolo nothing </s> kaka"
        tokens = encoder.whole_tokens(text)
        count = len(tokens) - 1
        vectors = encoder.encode_passages(text, [slice(0, count), slice(0, 1), slice(4, count)])
        assert [len(colbert(vector)) for vector in vectors] == [count, 1, count - 4]
        assert set(vectors[0].sparse or {}) <= {t.id for t in tokens if t.text.isalpha()}
        assert vectors[1].sparse == {}
        assert not {0, 1, 2, 3} & set(vectors[0].sparse or {})


def test_a_model_with_dense_vectors_only(bert: Path, random_text: Text) -> None:
    encoder = load(bert)
    vectors = encoder.encode_passages(random_text(200), [slice(0, 50), slice(150, 200)])
    assert vectors.sparse is None
    assert vectors.colbert is None
    assert vectors.dense is not None
    np.testing.assert_allclose(np.linalg.norm(vectors.dense, axis=1), 1, atol=1e-6)


def test_a_model_without_a_sparse_head(m3: Path, copy: Copy, random_text: Text) -> None:
    folder = copy(m3)
    (folder / "sparse_linear.pt").unlink()
    vectors = load(folder).encode_passages(random_text(20), [slice(0, 5), slice(3, 9)])
    assert vectors.sparse is None
    assert vectors.colbert is not None
    assert vectors.colbert.weights is None
    assert vectors.colbert.indptr.tolist() == [0, 5, 11]


def test_float16_token_vectors(m3: Path, random_text: Text) -> None:
    text, passages = random_text(50), [slice(10, 30)]
    small = load(m3, colbert_dtype="float16").encode_passages(text, passages)[0]
    assert colbert(small).dtype == np.float16
    exact = load(m3).encode_passages(text, passages)[0]
    np.testing.assert_allclose(colbert(small), colbert(exact), atol=1e-3)


def test_no_passages(m3: Path) -> None:
    encoder = load(m3)
    for text in ("", "  ", "kaka lolo"):
        vectors = encoder.encode_passages(text, [])
        assert len(vectors) == 0
        assert vectors.colbert is not None
        assert vectors.colbert.dim == encoder.schema.colbert


@pytest.mark.parametrize(
    ("passages", "message"),
    [
        ([slice(0, 4)], "not within the text, which has 3 tokens"),
        ([slice(0, 2), slice(2, 2)], "passage 1: .* holds no token"),
        ([slice(-1, 2)], "not within the text"),
        ([slice(None)], "with two integers"),
        (slice(0, 2), "expected a list of slices"),
    ],
)
def test_wrong_passages(m3: Path, passages: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        load(m3).encode_passages("kaka lolo kalo", passages)


@pytest.mark.parametrize("text", [None, b"kaka", ["kaka"], "kaka \ud800"])
def test_only_texts_have_passages(m3: Path, text: Any) -> None:
    encoder = load(m3)
    for method in (lambda: encoder.encode_passages(text, []), lambda: encoder.whole_tokens(text)):
        with pytest.raises(InvalidInputError, match="text 0"):
            method()


def test_passages_longer_than_a_window(m3: Path, random_text: Text) -> None:
    text = random_text(100)
    encoder = load(m3, max_length=32)
    assert len(encoder.encode_passages(text, [slice(0, 30), slice(70, 100)])) == 2
    for passages in ([slice(0, 31)], [slice(0, 5), slice(60, 100)]):
        with pytest.raises(InvalidOptionError, match=r"at most 30 at once.*make passages shorter"):
            encoder.encode_passages(text, passages)
    instructed = load(m3, max_length=32, document_instruction="kaka " * 30)
    with pytest.raises(InvalidOptionError, match=r"a passage has 1 tokens, .* at most 0 at once"):
        instructed.encode_passages(text, [slice(0, 1)])


def test_the_cache_passes_passages_on(m3: Path, random_text: Text) -> None:
    encoder, text = load(m3), random_text(30)
    cached: Any = CachingEncoder(encoder)
    passages: PassageEncoder = cached
    assert passages.whole_tokens(text) == encoder.whole_tokens(text)
    assert passages.tokens(text) == encoder.tokens(text)
    found = passages.encode_passages(text, [slice(3, 9)])[0]
    close(colbert(found), colbert(encoder.encode_documents([text])[0])[3:9])
    assert len(CachingEncoder(HashEncoder()).encode_passages("a b", [slice(0, 2)])) == 1  # type: ignore[attr-defined]


class Server:
    """An encoder that has neither tokens nor passages."""

    schema = HashEncoder().schema
    encode_documents = encode_queries = encode_query = HashEncoder().encode_documents
    aencode_documents = aencode_queries = aencode_query = HashEncoder().aencode_documents


def test_the_cache_of_an_encoder_without_passages_has_none() -> None:
    server: Any = Server()
    for name in ("tokens", "whole_tokens", "encode_passages", "nothing"):
        assert not hasattr(CachingEncoder(server), name)
    assert hasattr(CachingEncoder(server), "options")


def test_an_exported_model_has_tokens_but_no_passages(
    m3: Path, tmp_path: Path, random_text: Text
) -> None:
    """Its graph has no states between the layers."""
    export_model(m3, tmp_path / "onnx")
    exported = OnnxEncoder.load(tmp_path / "onnx", max_length=20)
    text = random_text(100)
    assert exported.whole_tokens(text) == load(m3).whole_tokens(text)
    assert not hasattr(exported, "encode_passages")


@pytest.mark.parametrize("seed", range(40))
def test_windows_cover_their_passages(seed: int) -> None:
    """They are no longer than allowed, and as few as if each were filled up."""
    rng = np.random.default_rng(seed)
    tokens, room = int(rng.integers(1, 400)), int(rng.integers(1, 90))
    starts = rng.integers(0, tokens, rng.integers(1, 40))
    stops = np.minimum(starts + rng.integers(1, room + 1, len(starts)), tokens)
    windows, of_passages = divide(Ranges(starts, stops), tokens, room)
    assert (windows.sizes() <= room).all()
    assert (windows.starts >= 0).all()
    assert (windows.stops <= tokens).all()
    assert (windows.starts[of_passages] <= starts).all()
    assert (windows.stops[of_passages] >= stops).all()
    assert set(of_passages.tolist()) == set(range(len(windows)))
    if room >= tokens:
        assert windows.starts.tolist() == [0]
        assert windows.stops.tolist() == [tokens]
    assert set(windows.starts.tolist()) <= {
        0,
        *starts.tolist(),
        *stops.tolist(),
        *(stops - room).tolist(),
    }


def test_windows_of_a_text_in_passages_are_about_equal() -> None:
    starts = np.arange(0, 1000, 10)
    windows, _ = divide(Ranges(starts, starts + 10), 1000, 400)
    assert windows.stops.tolist() == [340, 680, 1000]
    assert windows.starts.tolist() == [0, 340, 680]
    overlapping, _ = divide(Ranges(starts, np.minimum(starts + 14, 1000)), 1000, 400)
    assert len(overlapping) == 3
    assert overlapping.starts.tolist()[0] == 0
    assert overlapping.stops.tolist()[-1] == 1000
    none, of_passages = divide(Ranges(starts[:0], starts[:0]), 1000, 400)
    assert len(none) == len(of_passages) == 0


def test_passages_far_apart_are_read_with_the_text_around() -> None:
    """What lies between them is read as far as fits."""
    ranges = Ranges(np.array([5, 900]), np.array([10, 910]))
    windows, of_passages = divide(ranges, 1000, 1000)
    assert (windows.starts.tolist(), windows.stops.tolist()) == ([0], [1000])
    windows, of_passages = divide(ranges, 1000, 100)
    assert (windows.starts.tolist(), windows.stops.tolist()) == ([0, 810], [10, 910])
    assert of_passages.tolist() == [0, 1]
