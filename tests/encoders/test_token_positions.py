"""The tokens of a text with their positions: one token for each ColBERT vector."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from trivec import Encoder, explain
from trivec.encoders.tokenizer import TextTokenizer
from trivec.errors import InvalidInputError

Text = Callable[[int], str]


@pytest.mark.parametrize("length", [3, 8, 258, 259, 1000])
@pytest.mark.parametrize("mcls", [False, True])
def test_one_token_for_each_vector(m3: Path, random_text: Text, length: int, mcls: bool) -> None:
    encoder = Encoder.load(m3, precision="float32", mcls=mcls)
    for text in ("", " kaka  lolo ", random_text(700)):
        vector = encoder.encode_documents([text], max_length=length, on_truncate=lambda cut: None)
        assert vector.colbert is not None
        tokens = encoder.tokens(text, max_length=length)
        assert len(tokens) == len(vector.colbert.values)
        assert tokens[-1].text == "</s>"
        assert tokens[-1].start == tokens[-1].end == len(text)
        assert all(text[token.start : token.end] == token.text for token in tokens[:-1])


def test_lexical_weights_are_those_of_the_tokens(m3: Path, random_text: Text) -> None:
    encoder = Encoder.load(m3, precision="float32")
    text = random_text(60)
    weights = encoder.encode_query(text).sparse
    assert weights
    assert set(weights) <= {token.id for token in encoder.tokens(text)}
    found = explain(text, text, encoder)
    assert {match.token_id for match in found.lexical} == set(weights)
    assert all(match.document_spans for match in found.lexical)
    assert found.notes == ()


def test_positions_are_in_the_original_text() -> None:
    """With a normaliser that changes lengths, and blanks that belong to the next word."""
    vocabulary = {"<s>": 0, "</s>": 1, "<unk>": 2, "▁": 3, "▁fish": 4, "▁e": 5, "n": 6}
    tokenizer = Tokenizer(
        models.Unigram([(piece, -float(i)) for piece, i in vocabulary.items()], unk_id=2)
    )
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    found = TextTokenizer(tokenizer, [0, 1]).tokens("en ﬁsh  n", max_length=20)
    assert [(token.text, token.start, token.end) for token in found] == [
        ("e", 0, 1),
        ("n", 1, 2),
        ("ﬁsh", 3, 6),
        ("▁", 7, 7),
        ("▁", 8, 8),
        ("n", 8, 9),
        ("</s>", 9, 9),
    ]


def test_only_texts_have_tokens(m3: Path) -> None:
    encoder = Encoder.load(m3, precision="float32")
    with pytest.raises(InvalidInputError, match="text 0: expected a str, got bytes"):
        encoder.tokens(b"kaka")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="text 0 holds the lone surrogate"):
        encoder.tokens("kaka \ud800")
    assert np.all([token.id > 0 for token in encoder.tokens("kaka")])


@pytest.mark.parametrize("sparse", [True, False])
def test_each_vector_has_the_lexical_weight_of_its_token(
    m3: Path, random_text: Text, sparse: bool
) -> None:
    """In a batch of texts of all lengths, also where lexical weights are not asked for."""
    encoder = Encoder.load(m3, precision="float32")
    texts = ["", *map(random_text, (1, 5, 60, 200)), "kaka kaka lolo kaka", " kaka  lolo "]
    vectors = encoder.encode_documents(texts, sparse=sparse)
    whole = encoder.encode_documents(texts)
    assert (vectors.sparse is None) != sparse
    assert vectors.colbert is not None
    assert vectors.colbert.weights is not None
    assert whole.sparse is not None
    for i, text in enumerate(texts):
        lexical = whole.sparse.row(i)
        tokens = encoder.tokens(text)
        start, stop = vectors.colbert.indptr[i : i + 2]
        weights = vectors.colbert.weights[start:stop].tolist()
        assert weights == [lexical.get(token.id, 0.0) for token in tokens]
        assert weights[-1] == 0.0  # </s>
    assert vectors.colbert.weights.any()


def test_the_weights_of_a_batch_are_those_of_each_text(m3: Path, random_text: Text) -> None:
    encoder = Encoder.load(m3, precision="float32", batch_tokens=128)
    texts = [random_text(length) for length in (3, 300, 40, 7, 120)]
    together = encoder.encode_documents(texts).colbert
    assert together is not None
    assert together.weights is not None
    for i, text in enumerate(texts):
        alone = encoder.encode_documents([text]).colbert
        assert alone is not None
        assert alone.weights is not None
        of_text = together.weights[together.indptr[i] : together.indptr[i + 1]]
        np.testing.assert_allclose(of_text, alone.weights, atol=1e-6)


def test_without_token_vectors_or_a_sparse_head_there_are_no_weights(
    m3: Path, copy: Callable[[Path], Path], random_text: Text
) -> None:
    assert Encoder.load(m3).encode_documents([random_text(5)], colbert=False).colbert is None
    folder = copy(m3)
    (folder / "sparse_linear.pt").unlink()
    tokens = Encoder.load(folder).encode_documents([random_text(5)]).colbert
    assert tokens is not None
    assert tokens.weights is None
