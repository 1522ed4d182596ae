"""Texts as token ids, cut to a length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trivec.arguments import described, shown
from trivec.encoders.files import reason
from trivec.encoders.protocol import Token
from trivec.encoders.token_ids import Ids, TokenIds, Truncation
from trivec.errors import CheckpointError, InvalidInputError, InvalidOptionError
from trivec.plain import surrogate_problem

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# The number of texts tokenised at once: the library keeps each token's string beside its id.
_CHUNK = 1024


@contextmanager
def _checkpoint_errors(what: str) -> Iterator[None]:
    """Translate the exceptions of the tokenizers library, which have no type of their own."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(f"the tokenizer {what}: {reason(error)}") from error


class TextTokenizer:
    """A checkpoint's tokenizer; any number of threads can use it.

    Args:
        tokenizer: A tokenizer without truncation and padding, which are mutable state in it.
        special_ids: The ids that never carry a lexical weight.
        keep_end: Whether a text that is too long loses its beginning instead of its end.
        typed: Whether the model takes token types, which tell the texts of a pair apart.

    Raises:
        CheckpointError: If it does not put one token before and one after a text.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        special_ids: Sequence[int],
        *,
        keep_end: bool = False,
        typed: bool = True,
    ) -> None:
        self._tokenizer = tokenizer
        self.keep_end = keep_end
        self._typed = typed
        self.special_ids = np.unique(np.asarray(special_ids, np.int64))
        ids = tokenizer.encode("").ids
        if len(ids) != 2:
            raise CheckpointError(
                f"the tokenizer makes the tokens {ids} of an empty text; expected one special "
                "token before a text and one after it"
            )
        self.first, self.last = ids

    @classmethod
    def load(cls, folder: Path, vocabulary: int, *, lower_case: bool = False) -> TextTokenizer:
        """Load the tokenizer of a model folder with a vocabulary of this size.

        If `lower_case`, texts are converted to lower case before the tokenizer's own steps.

        Raises:
            CheckpointError: If it cannot be read or has a token that the model lacks.
        """
        with _checkpoint_errors(f"in {folder} cannot be loaded"):
            return cls._read(folder, vocabulary, lower_case)

    @classmethod
    def _read(cls, folder: Path, vocabulary: int, lower_case: bool) -> TextTokenizer:
        from tokenizers import normalizers
        from transformers import AutoTokenizer

        loaded = AutoTokenizer.from_pretrained(folder, use_fast=True, trust_remote_code=False)
        tokenizer = getattr(loaded, "backend_tokenizer", None)
        if tokenizer is None:
            raise CheckpointError(
                f"the tokenizer in {folder} has no fast version; save one as tokenizer.json"
            )
        tokenizer.no_truncation()
        tokenizer.no_padding()
        _check_vocabulary(tokenizer, vocabulary, folder)
        typed = "token_type_ids" in loaded.model_input_names
        if typed and any(tokenizer.encode("").type_ids):
            raise CheckpointError(
                f"the tokenizer in {folder} gives a text that stands alone another token type than "
                "0, which is not supported"
            )
        if lower_case:
            before = [] if tokenizer.normalizer is None else [tokenizer.normalizer]
            tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *before])
        # As FlagEmbedding: the tokens for the beginning, the end, padding and unknown words. BERT
        # names the first two [CLS] and [SEP].
        names = ("cls", "bos", "eos", "sep", "pad", "unk")
        ids = [getattr(loaded, f"{name}_token_id", None) for name in names]
        result = cls(
            tokenizer,
            [i for i in ids if i is not None],
            keep_end=loaded.truncation_side == "left",
            typed=typed,
        )
        result.special_ids = np.union1d(result.special_ids, [result.first, result.last])
        return result

    @classmethod
    def from_file(
        cls, path: Path, vocabulary: int, special_ids: Sequence[int], *, keep_end: bool
    ) -> TextTokenizer:
        """Load a tokenizer that `save` wrote; it reads single texts only.

        Args:
            path: The file.
            vocabulary: The number of token ids that the model knows.
            special_ids: The ids that never carry a lexical weight.
            keep_end: Whether a text that is too long loses its beginning instead of its end.

        Raises:
            CheckpointError: If it cannot be read or has a token that the model lacks.
        """
        with _checkpoint_errors(f"{path} cannot be loaded"):
            from tokenizers import Tokenizer

            tokenizer = Tokenizer.from_file(str(path))
            _check_vocabulary(tokenizer, vocabulary, path)
            return cls(tokenizer, special_ids, keep_end=keep_end, typed=False)

    def save(self, path: Path) -> None:
        """Write the tokenizer as a tokenizer.json, its conversion to lower case included."""
        path.write_text(self._tokenizer.to_str(pretty=False), encoding="utf-8")

    def frame_of_pair(self) -> tuple[Ids, Ids, tuple[int, int]]:
        """Return the special tokens of a pair of texts, their types, and the types of both texts.

        Tokens and types are int64 (3 or 4,). The types are those that transformers passes to the
        model: 0 if the tokenizer's settings do not list them among the model's inputs.
        """
        with _checkpoint_errors("reads no pair of texts"):
            frame, pair = self._tokenizer.encode("", ""), self._tokenizer.encode("a", "a")
        ids, types = np.array(frame.ids, np.int64), np.array(frame.type_ids, np.int64)
        if not self._typed:
            return ids, np.zeros_like(types), (0, 0)
        texts = dict(zip(pair.sequence_ids, pair.type_ids, strict=True))
        return ids, types, (texts.get(0, int(types[0])), texts.get(1, int(types[-1])))

    def cut(self, content: Ids, room: int) -> Ids:
        """Return at most `room` tokens of a text, from the side that the checkpoint keeps."""
        return content[max(0, len(content) - room) :] if self.keep_end else content[:room]

    def text_of(self, token: int) -> str:
        """Return the text of a token, without the blank before a word.

        Raises:
            InvalidInputError: If the tokenizer has no token with this id.
        """
        piece = None
        is_id = isinstance(token, int | np.integer) and not isinstance(token, bool)
        if is_id and 0 <= token < 2**32:
            piece = self._tokenizer.id_to_token(token)
        if piece is None:
            raise InvalidInputError(f"{shown(token)} is the id of no token of this model")
        # A token that is only a blank has no text.
        return self._tokenizer.decode([token], skip_special_tokens=False).strip() or piece

    def prompt_length(self, instruction: str) -> int:
        """Return how many tokens precede the text after an instruction, the first one included."""
        return 1 + len(next(self.contents([instruction])))

    def contents(self, texts: Sequence[str]) -> Iterator[Ids]:
        """Yield each text's token ids without special tokens, int64 (tokens,)."""
        for start in range(0, len(texts), _CHUNK):
            chunk = list(texts[start : start + _CHUNK])
            with _checkpoint_errors("reads no text"):
                encodings = self._tokenizer.encode_batch_fast(chunk, add_special_tokens=False)
            for encoding in encodings:
                yield np.array(encoding.ids, np.int64)

    def tokens(
        self, text: str, *, max_length: int | None, window: int | None = None
    ) -> list[Token]:
        """Return a text's tokens with their positions, cut as `__call__` cuts it.

        The first special token and its repetitions are left out, since they have no ColBERT
        vectors. Without `max_length`, the text is not cut.
        """
        with _checkpoint_errors("reads no text"):
            encoding = self._tokenizer.encode(text, add_special_tokens=False)
        room = len(encoding.ids) if max_length is None else room_for_text(max_length, window)
        content = list(zip(encoding.ids, encoding.tokens, encoding.offsets, strict=True))
        kept = content[max(0, len(content) - room) :] if self.keep_end else content[:room]
        tokens = [_token(text, *entry) for entry in kept]
        name, end = self._tokenizer.id_to_token(self.last) or "", len(text)
        return [*tokens, Token(self.last, name, end, end)]

    def __call__(
        self, texts: Sequence[str], *, max_length: int, window: int | None = None
    ) -> TokenIds:
        """Return the token ids of texts, at most `max_length` each.

        Args:
            texts: Any strings; an empty one has two special tokens.
            max_length: The most tokens, with the special ones.
            window: Repeat the first special token after each `window` tokens (MCLS).
        """
        room = room_for_text(max_length, window)
        rows: list[Ids] = []
        truncated: list[Truncation] = []
        for index, content in enumerate(self.contents(texts)):
            row = self.framed(self.cut(content, room), window)
            if len(content) > room:
                tokens = len(self.framed(content, window))
                truncated.append(Truncation(index, tokens, len(row)))
            rows.append(row)
        return TokenIds(rows, tuple(truncated))

    def framed(self, content: Ids, window: int | None = None) -> Ids:
        """Return the tokens of a text with the special ones around and, with MCLS, in it."""
        if window is not None and len(content) > window:
            content = np.insert(content, np.arange(window, len(content), window), self.first)
        return np.concatenate([[self.first], content, [self.last]])


def _check_vocabulary(tokenizer: Tokenizer, vocabulary: int, path: Path) -> None:
    added = tokenizer.get_added_tokens_decoder()
    known = tokenizer.get_vocab(with_added_tokens=True).values()
    tokens = 1 + max((*known, *added), default=-1)
    if tokens > vocabulary:
        raise CheckpointError(
            f"the tokenizer in {path} has {tokens} tokens, the model "
            f"{vocabulary}; they belong to different models"
        )


def _token(text: str, token_id: int, piece: str, span: tuple[int, int]) -> Token:
    """Return a token without the blanks that tokenizers count as parts of words.

    >>> _token("a whale", 3, "▁whale", (1, 7))
    Token(id=3, text='whale', start=2, end=7)
    >>> _token("a 588", 4, "▁", (1, 3))
    Token(id=4, text='▁', start=2, end=2)
    """
    start, end = span
    covered = text[start:end]
    start += len(covered) - len(covered.lstrip())
    # SentencePiece gives its blank mark, when alone, the position of the next character.
    shown = "" if not piece.strip("▁") else covered.strip()
    return Token(token_id, shown or piece, start, start + len(shown))


def room_for_text(max_length: int, window: int | None) -> int:
    """Return how many tokens of the text itself fit.

    >>> room_for_text(8192, None), room_for_text(258, 256), room_for_text(260, 256)
    (8190, 256, 257)
    """
    enough_tokens(max_length)
    if window is None:
        return max_length - 2
    before_last = max_length - 1
    return before_last - -(-before_last // (window + 1))


def framed_positions(content: Ids, window: int | None) -> Ids:
    """Return where tokens of a text are in the row that `TextTokenizer.framed` makes.

    >>> framed_positions(np.array([0, 1, 2, 3]), None).tolist()
    [1, 2, 3, 4]
    >>> framed_positions(np.array([0, 1, 2, 3]), 2).tolist()
    [1, 2, 4, 5]
    """
    return content + 1 if window is None else content + 1 + content // window


def enough_tokens(max_length: int) -> int:
    """Return `max_length` if it leaves room for a token between the two special ones."""
    if max_length < 3:
        raise InvalidOptionError(f"max_length={max_length} must be at least 3")
    return max_length


def check_texts(texts: Sequence[str]) -> list[str]:
    """Return the texts as a list.

    Raises:
        InvalidInputError: If `texts` is a string or not a collection, or an item is not a string
            or holds half of a surrogate pair.
    """
    if isinstance(texts, str | bytes | Mapping) or not isinstance(texts, Iterable):
        raise InvalidInputError(
            f"texts: expected a list of texts, such as [text], got {described(texts)}"
        )
    checked = list(texts)
    for index, text in enumerate(checked):
        if not isinstance(text, str):
            raise InvalidInputError(f"text {index}: expected a str, got {described(text)}")
        if problem := surrogate_problem(text):
            raise InvalidInputError(f"text {index} holds {problem}")
    return checked
