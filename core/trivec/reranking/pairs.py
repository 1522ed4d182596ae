"""Pairs of texts as token ids, with the special tokens of the checkpoint's tokenizer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trivec.encoders.token_ids import TokenIds
from trivec.encoders.tokenizer import TextTokenizer
from trivec.errors import CheckpointError, InvalidOptionError


class PairTokenizer:
    """Makes pairs: `<s> question </s></s> document </s>` or `[CLS] … [SEP] … [SEP]`.

    Args:
        tokenizer: A checkpoint's tokenizer.

    Attributes:
        types: The number of token types that it uses.

    Raises:
        CheckpointError: If it does not put special tokens before, between and after the texts.
    """

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer
        # The special tokens of a pair of empty texts. The document begins after the tokens that
        # end the question; XLM-RoBERTa has two of them.
        ids, self._types, self._text_types = tokenizer.frame_of_pair()
        if len(ids) < 3:
            raise CheckpointError(
                f"the tokenizer makes the tokens {ids.tolist()} of a pair of empty texts; expected "
                "one special token before, between and after the texts"
            )
        self._before, self._between, self._after = ids[:1], ids[1:-1], ids[-1:]
        self.types = 1 + max(int(self._types.max()), *self._text_types)

    def check_length(self, max_length: int) -> None:
        """Check that `max_length` leaves room for a text between the special tokens."""
        if max_length <= len(self._types):
            raise InvalidOptionError(f"max_length={max_length} must be above {len(self._types)}")

    def __call__(
        self, questions: Sequence[str], documents: Sequence[str], max_length: int
    ) -> TokenIds:
        """Return the ids and types of n pairs, cut to `max_length` tokens with the special ones.

        Raises:
            InvalidOptionError: If `max_length` leaves no room for a text.
        """
        self.check_length(max_length)
        frame = len(self._types)
        rows, types = [], []
        contents = zip(
            self._tokenizer.contents(questions), self._tokenizer.contents(documents), strict=True
        )
        for question, document in contents:
            question = self._tokenizer.cut(question, min(max_length * 3 // 4, max_length - frame))
            document = self._tokenizer.cut(document, max_length - frame - len(question))
            parts = (self._before, question, self._between, document, self._after)
            rows.append(np.concatenate(parts))
            types.append(
                np.insert(
                    self._types,
                    np.repeat([1, frame - 1], [len(question), len(document)]),
                    np.repeat(self._text_types, [len(question), len(document)]),
                )
            )
        return TokenIds(rows, types=types)
