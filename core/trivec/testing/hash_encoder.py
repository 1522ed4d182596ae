"""An encoder without a model, for the tests of programs that use trivec."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from trivec.encoders.known import remember
from trivec.encoders.protocol import Token
from trivec.encoders.ranges import Ranges
from trivec.encoders.tokenizer import check_texts
from trivec.rows import Float, SparseRows, TokenRows
from trivec.schema import Schema
from trivec.vectors import Vector, Vectors

_WORD = re.compile(r"\w+")


class HashEncoder:
    """Makes the three representations out of hashed words: fast, the same everywhere.

    Texts that share words are near each other in all three. A text without a word has an empty
    sparse row, and one ColBERT vector as every text has for its end.

    Args:
        dense: The dense dimension.
        colbert: The dimension of a token vector.

    Attributes:
        encoded (int): How many texts were encoded so far.

    Example:
        >>> encoder = HashEncoder(dense=16, colbert=8)
        >>> encoder.encode_documents(["blue whale", ""]).colbert.indptr
        array([0, 3, 4])
    """

    def __init__(self, *, dense: int = 32, colbert: int = 16) -> None:
        self.schema = Schema(dense=dense, sparse=True, colbert=colbert, model="hash")
        self.encoded = 0
        self._dense = dense
        self._colbert = colbert
        remember(self)

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Encode texts to be stored."""
        return self._encode(texts)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Encode questions."""
        return self._encode(texts)

    def encode_query(self, text: str) -> Vector:
        """Encode one question."""
        return self._encode([text])[0]

    async def aencode_documents(self, texts: Sequence[str]) -> Vectors:
        """Encode texts to be stored."""
        return await asyncio.to_thread(self.encode_documents, texts)

    async def aencode_queries(self, texts: Sequence[str]) -> Vectors:
        """Encode questions."""
        return await asyncio.to_thread(self.encode_queries, texts)

    async def aencode_query(self, text: str) -> Vector:
        """Encode one question."""
        return await asyncio.to_thread(self.encode_query, text)

    def tokens(self, text: str) -> list[Token]:
        """Return the words of a text with their places, and its end.

        Example:
            >>> HashEncoder().tokens("Blue whale")[1].text
            'whale'
        """
        check_texts([text])
        found = [
            Token(_word_id(word.group().lower()), word.group(), *word.span())
            for word in _WORD.finditer(text)
        ]
        return [*found, Token(_word_id(""), "</s>", len(text), len(text))]

    def whole_tokens(self, text: str) -> list[Token]:
        """Return the same as `tokens`, since no text is too long."""
        return self.tokens(text)

    def encode_passages(self, text: str, passages: Sequence[slice]) -> Vectors:
        """Encode passages of a text: ranges of its words.

        They have the vectors of their words alone, since these do not depend on the context, and
        no ColBERT vector for their end. The text counts as one that was encoded.

        Args:
            text: The whole text.
            passages: Slices of `whole_tokens(text)` without its last token.

        Raises:
            InvalidInputError: If a passage is not a slice, is empty, or is not within the text.

        Example:
            >>> encoder = HashEncoder()
            >>> passages = [slice(0, 2), slice(1, 3)]
            >>> encoder.encode_passages("blue whale song", passages).colbert.indptr
            array([0, 2, 4])
        """
        words = _words(check_texts([text])[0])
        ranges = Ranges.checked(passages, len(words))
        self.encoded += 1
        bounds = zip(ranges.starts.tolist(), ranges.stops.tolist(), strict=True)
        return self._vectors([words[start:stop] for start, stop in bounds], end=[])

    def _encode(self, texts: Sequence[str]) -> Vectors:
        checked = check_texts(texts)
        self.encoded += len(checked)
        return self._vectors([_words(text) for text in checked], end=[""])

    def _vectors(self, words: Sequence[list[str]], *, end: list[str]) -> Vectors:
        """Return the vectors of lists of words; ColBERT vectors of `end` follow those of each."""
        dense = [sum((_unit(w, self._dense) for w in row), _unit("", self._dense)) for row in words]
        sparse = [{_word_id(w): _weight(w) for w in row} for row in words]
        tokens = [[*row, *end] for row in words]
        weights = np.array([_weight(w) if w else 0.0 for row in tokens for w in row], np.float32)
        colbert = [np.stack([_unit(w, self._colbert) for w in row]) for row in tokens]
        stacked = np.stack(dense) if dense else np.zeros((0, self._dense), np.float32)
        norms = np.linalg.norm(stacked, axis=1, keepdims=True)
        return Vectors(
            dense=(stacked / np.maximum(norms, 1e-12)).astype(np.float32),
            sparse=SparseRows.from_dicts(sparse),
            colbert=replace(TokenRows.from_arrays(colbert, dim=self._colbert), weights=weights),
        )


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


def _weight(word: str) -> float:
    return 0.1 + 0.05 * (len(word) % 5)


def _word_id(word: str) -> int:
    return int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "little") % 250_002


@lru_cache(maxsize=10_000)
def _unit(word: str, dim: int) -> Float:
    values = np.random.default_rng(_word_id(word)).standard_normal(dim)
    return (values / np.linalg.norm(values)).astype(np.float32)
