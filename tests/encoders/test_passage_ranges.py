"""Ranges of tokens, and the passages of the encoder without a model."""

from __future__ import annotations

import re

import numpy as np
import pytest

from trivec.encoders import PassageEncoder
from trivec.encoders.ranges import Ranges
from trivec.errors import InvalidInputError
from trivec.testing import HashEncoder

TEXT = "The Fox is red. The blue whale sings at night."


@pytest.mark.parametrize(
    ("passages", "message"),
    [
        (slice(0, 2), "expected a list of slices"),
        ("ab", "expected a list of slices, .* got str 'ab'"),
        ({0: slice(0, 2)}, "expected a list of slices"),
        (7, "expected a list of slices"),
        (None, "expected a list of slices, .* got None"),
        ([slice(0, 1), (0, 2)], "passage 1: expected a slice"),
        ([range(2)], "passage 0: expected a slice"),
        ([3], "passage 0: expected a slice"),
        ([slice(2)], r"with two integers .* got slice\(None, 2, None\)"),
        ([slice(2, None)], "with two integers"),
        ([slice(True, 2)], "with two integers"),
        ([slice(0, 2.0)], "with two integers"),
        ([slice(0, float("nan"))], "with two integers"),
        ([slice("0", "2")], "with two integers"),
        ([slice(0, np.array([1, 2]))], "with two integers"),
        ([slice(0, 4, 2)], "without a step"),
        ([slice(4, 0, -1)], "without a step"),
        ([slice(3, 3)], r"passage 0: slice\(3, 3, None\) holds no token"),
        ([slice(0, 1), slice(4, 2)], "passage 1: .* holds no token"),
        ([slice(0, -1)], "holds no token"),
        ([slice(-2, 3)], "not within the text, which has 10 tokens"),
        ([slice(0, 11)], "not within the text"),
        ([slice(10, 11)], "not within the text"),
        ([slice(0, 10**30)], "not within the text"),
        ([slice(-(10**30), 3)], "not within the text"),
        ([slice(10**30, 10**30 + 1)], "not within the text"),
    ],
)
def test_wrong_ranges(passages: object, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        HashEncoder().encode_passages(TEXT, passages)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match=message):
        Ranges.checked(passages, 10)  # type: ignore[arg-type]


def test_positions() -> None:
    passages = [slice(3, 5), slice(np.int64(0), np.int32(2), 1), slice(1, 4), slice(1, 4)]
    ranges = Ranges.checked(iter(passages), 5)  # type: ignore[arg-type]
    assert ranges.positions().tolist() == [3, 4, 0, 1, 1, 2, 3, 1, 2, 3]
    assert ranges.indptr().tolist() == [0, 2, 4, 7, 10]
    none = Ranges.checked([], 0)
    assert none.positions().tolist() == []
    assert none.indptr().tolist() == [0]


def test_passages_of_the_encoder_without_a_model() -> None:
    """They have the vectors of their words alone, without the one of the end."""
    encoder: PassageEncoder = HashEncoder()
    tokens = encoder.whole_tokens(TEXT)
    passages = [slice(0, 4), slice(2, 9), slice(0, len(tokens) - 1), slice(5, 6)]
    vectors = encoder.encode_passages(TEXT, passages)
    alone = encoder.encode_documents(
        [TEXT[tokens[p.start].start : tokens[p.stop - 1].end] for p in passages]
    )
    assert len(vectors) == len(passages)
    for row, passage in enumerate(passages):
        of_words, whole = vectors[row], alone[row]
        assert of_words.sparse == whole.sparse
        assert of_words.dense is not None
        np.testing.assert_array_equal(of_words.dense, whole.dense)
        assert of_words.colbert is not None
        assert whole.colbert is not None
        assert len(of_words.colbert) == passage.stop - passage.start
        np.testing.assert_array_equal(of_words.colbert, whole.colbert[:-1])
    assert vectors.colbert is not None
    weights = vectors.colbert.weights
    assert weights is not None
    ids = [token.id for passage in passages for token in tokens[passage]]
    of_row = np.repeat(np.arange(len(passages)), np.diff(vectors.colbert.indptr))
    expected = [(vectors[r].sparse or {})[i] for r, i in zip(of_row.tolist(), ids, strict=True)]
    np.testing.assert_allclose(weights, expected)


def test_a_text_counts_once() -> None:
    encoder = HashEncoder()
    encoder.encode_passages(TEXT, [slice(0, 4), slice(4, 8)])
    assert encoder.encoded == 1
    assert len(encoder.encode_passages("", [])) == 0
    with pytest.raises(InvalidInputError, match=re.escape("text 0: expected a str, got bytes")):
        encoder.encode_passages(b"fox", [])  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="lone surrogate"):
        encoder.encode_passages("fox \ud800", [slice(0, 1)])
