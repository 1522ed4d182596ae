"""The encoder and the reranker behind the server: calls of all clients share computations."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeGuard, TypeVar, Unpack

import numpy as np
from numpy.typing import NDArray

from trivec.encoders.batching import Batcher
from trivec.encoders.protocol import TextEncoder, Token
from trivec.encoders.remote.batches import ain_order
from trivec.encoders.remote.options import RemoteEncodingOptions
from trivec.schema import Schema
from trivec.serving.refusal import Refusal
from trivec.vectors import Vectors

Item = TypeVar("Item")
Result = TypeVar("Result")
Scores = NDArray[np.float32]
Pair = tuple[str, str]
Encoded = Callable[[str, Vectors], None]
"""Called after each computation with the kind of its texts and their vectors."""

_NOT_CUT = "max_length: this encoder does not cut texts; leave it out"
_AHEAD = 2  # pieces of one request that wait or run: the encoder never waits for the next


class PairScorer(Protocol):
    """Anything that scores pairs of a question and a document, as `trivec.Reranker` does."""

    def score_pairs(self, pairs: Sequence[Pair]) -> Scores:
        """Score each pair."""
        ...


class _ConfigurableEncoder(TextEncoder, Protocol):
    """An encoder that makes the parts asked for only, and cuts texts."""

    def encode_documents(
        self, texts: Sequence[str], **options: Unpack[RemoteEncodingOptions]
    ) -> Vectors: ...

    def encode_queries(
        self, texts: Sequence[str], **options: Unpack[RemoteEncodingOptions]
    ) -> Vectors: ...


@dataclass(frozen=True, slots=True)
class Task:
    """What to make of texts. Texts of equal tasks are encoded together.

    Args:
        kind: "documents" or "queries".
        parts: The representations to make.
        max_length: The most tokens of a text, or None for the encoder's default.
    """

    kind: str
    parts: tuple[str, ...]
    max_length: int | None = None


class Dispatcher:
    """Encodes and scores for all clients, in one thread for each of the two.

    Args:
        encoder: The encoder.
        reranker: The reranker, or None.
        share: The most texts of one computation.
        encoded: Called after each computation.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        reranker: PairScorer | None,
        *,
        share: int,
        encoded: Encoded,
    ) -> None:
        self.schema = encoder.schema
        self._encoder = encoder
        self._tokens: Callable[..., list[Token]] | None = getattr(encoder, "tokens", None)
        self._share = share
        self._encoded = encoded
        self._texts: Batcher[Task, str, Vectors] = Batcher(
            self._encode, Vectors.slice, max_items=share
        )
        self._pairs: Batcher[None, Pair, Scores] | None = None
        if reranker is not None:
            self._pairs = _pair_batcher(reranker, share)

    async def encode(self, task: Task, texts: Sequence[str]) -> Vectors:
        """Encode texts, which are checked already.

        Raises:
            Refusal: If the encoder cannot make the parts, or cannot cut texts.
        """
        missing = [part for part in task.parts if part not in self.schema.parts]
        if missing:
            raise Refusal(
                400,
                f"parts: {self.schema.model or 'the model'} makes no {' and no '.join(missing)} "
                f"vectors, only {', '.join(self.schema.parts)}",
            )
        if task.max_length is not None and not _is_configurable(self._encoder):
            raise Refusal(400, _NOT_CUT)
        pieces = await in_turns(lambda piece: self._texts.submit(task, piece), texts, self._share)
        return pieces[0] if len(pieces) == 1 else Vectors.concatenate(pieces)

    async def score(self, query: str, texts: Sequence[str]) -> Scores:
        """Score texts as answers to a question.

        Raises:
            Refusal: If there is no reranker.
        """
        pairs = self._pairs
        if pairs is None:
            raise Refusal(404, "this server has no reranker; start it with --reranker MODEL")
        asked = [(query, text) for text in texts]
        pieces = await in_turns(lambda piece: pairs.submit(None, piece), asked, self._share)
        return np.concatenate(pieces)

    async def tokens(self, text: str, max_length: int | None = None) -> list[Token]:
        """Return the tokens of a text, which is checked already.

        Args:
            text: The text.
            max_length: The most tokens, or None for the encoder's own.

        Raises:
            Refusal: If the encoder does not return tokens, or cannot cut texts.
        """
        tokens = self._tokens
        if tokens is None:
            raise Refusal(404, "the encoder of this server does not return tokens")
        if max_length is None:
            return await asyncio.to_thread(tokens, text)
        if not _takes(tokens, "max_length"):
            raise Refusal(400, _NOT_CUT)
        return await asyncio.to_thread(tokens, text, max_length=max_length)

    async def token_texts(self, ids: Sequence[int]) -> list[str]:
        """Return the texts of token ids.

        Raises:
            Refusal: If the encoder does not know them.
        """
        convert: Callable[[Mapping[int, float]], Mapping[str, float]] | None
        convert = getattr(self._encoder, "convert_id_to_token", None)
        if convert is None:
            raise Refusal(404, "the encoder of this server does not return the texts of tokens")

        def texts() -> list[str]:
            return [text for token in ids for text in convert({token: 1.0})]

        return await asyncio.to_thread(texts)

    async def count_tokens(self, texts: Sequence[str]) -> int:
        """Return the number of tokens of all texts, or 0 if the encoder does not return them."""
        tokens = self._tokens
        if tokens is None:
            return 0
        # One token, the first, has no ColBERT vector.
        return await asyncio.to_thread(lambda: sum(len(tokens(text)) + 1 for text in texts))

    @property
    def has_tokens(self) -> bool:
        """Whether the encoder returns tokens."""
        return self._tokens is not None

    def _encode(self, task: Task, texts: Sequence[str]) -> Vectors:
        """Encode texts of several clients; runs in the batcher's thread."""
        encoder = self._encoder
        queries = task.kind == "queries"
        if _is_configurable(encoder):
            encode = encoder.encode_queries if queries else encoder.encode_documents
            vectors = encode(
                texts,
                dense="dense" in task.parts,
                sparse="sparse" in task.parts,
                colbert="colbert" in task.parts,
                max_length=task.max_length,
            )
        else:
            plain = encoder.encode_queries if queries else encoder.encode_documents
            vectors = plain(texts).only(_only(self.schema, task.parts))
        self._encoded(task.kind, vectors)
        return vectors


async def in_turns(
    compute: Callable[[Sequence[Item]], Awaitable[Result]], items: Sequence[Item], share: int
) -> list[Result]:
    """Return the results of items, piece by piece, so that other callers come in between.

    Args:
        compute: Computes one piece.
        items: All items.
        share: The most items of a piece.
    """
    if len(items) <= share:
        return [await compute(items)]
    pieces = [items[start : start + share] for start in range(0, len(items), share)]
    # If one fails, or the client is gone, the others are not computed.
    return await ain_order(compute, pieces, at_once=_AHEAD)


def _pair_batcher(reranker: PairScorer, share: int) -> Batcher[None, Pair, Scores]:
    return Batcher(
        lambda _, pairs: reranker.score_pairs(pairs),
        lambda scores, start, stop: scores[start:stop],
        max_items=share,
    )


def _only(schema: Schema, parts: Sequence[str]) -> Schema:
    return Schema(
        dense=schema.dense if "dense" in parts else None,
        sparse="sparse" in parts,
        colbert=schema.colbert if "colbert" in parts else None,
    )


def _is_configurable(encoder: TextEncoder) -> TypeGuard[_ConfigurableEncoder]:
    """Return whether an encoder takes the options of `EncodingOptions`."""
    return _takes(encoder.encode_documents, "max_length")


def _takes(function: Callable[..., object], option: str) -> bool:
    parameters = inspect.signature(function).parameters
    return option in parameters or any(
        parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()
    )
