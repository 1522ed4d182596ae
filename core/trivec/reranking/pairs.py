"""Pairs of texts as token ids, framed as the checkpoint's tokenizer does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trivec.encoders.tokenizer import PackedTexts, TextTokenizer
from trivec.errors import CheckpointError, InvalidOptionError

__all__ = ["PairIds", "PairTokenizer"]

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class PairIds:
    """The token ids and the token types of n pairs, one int64 (tokens,) each."""

    rows: list[Ids]
    types: list[Ids]

    def lengths(self) -> NDArray[np.int64]:
        """Return the number of tokens of each pair, int64 (n,)."""
        return np.fromiter(map(len, self.rows), np.int64, len(self.rows))

    def packed(self, places: NDArray[np.int64]) -> PackedTexts:
        """Return the pairs at these places, laid end to end."""
        rows = [self.rows[place] for place in places.tolist()]
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        return PackedTexts(
            np.concatenate(rows),
            np.concatenate([[0], np.cumsum(lengths)]),
            np.concatenate([self.types[place] for place in places.tolist()]),
        )


class PairTokenizer:
    """Frames pairs: `<s> question </s></s> document </s>` or `[CLS] … [SEP] … [SEP]`.

    Args:
        tokenizer: A checkpoint's tokenizer.

    Attributes:
        types: How many token types it uses.
    """

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer
        # The special tokens of a pair of empty texts; the document's part begins behind the
        # tokens that end the question, of which XLM-RoBERTa has two.
        ids, self._types, self._text_types = tokenizer.frame_of_pair()
        if len(ids) < 3:
            raise CheckpointError(
                f"the tokenizer makes the tokens {ids.tolist()} of a pair of empty texts; expected "
                "one special token before, between and behind the texts"
            )
        self._before, self._between, self._behind = ids[:1], ids[1:-1], ids[-1:]
        self.types = 1 + max(int(self._types.max()), *self._text_types)

    def __call__(
        self, questions: Sequence[str], documents: Sequence[str], max_length: int
    ) -> PairIds:
        """Return the ids of n pairs, at most `max_length` tokens each.

        Raises:
            InvalidOptionError: If `max_length` leaves no room for a text.
        """
        frame = len(self._types)
        if max_length <= frame:
            raise InvalidOptionError(f"max_length={max_length} must be above {frame}")
        rows, types = [], []
        contents = zip(
            self._tokenizer.contents(questions), self._tokenizer.contents(documents), strict=True
        )
        for question, document in contents:
            question = self._tokenizer.cut(question, min(max_length * 3 // 4, max_length - frame))
            document = self._tokenizer.cut(document, max_length - frame - len(question))
            parts = (self._before, question, self._between, document, self._behind)
            rows.append(np.concatenate(parts))
            types.append(
                np.insert(
                    self._types,
                    np.repeat([1, frame - 1], [len(question), len(document)]),
                    np.repeat(self._text_types, [len(question), len(document)]),
                )
            )
        return PairIds(rows, types)
