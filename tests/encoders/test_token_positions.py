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
