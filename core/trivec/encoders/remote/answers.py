"""What `trivec serve` answers: read with checks, and always of the same encoder."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import fields

from trivec.encoders.protocol import Token
from trivec.encoders.remote.exchange import HttpAnswer
from trivec.encoders.remote.identity import IDENTITY_HEADER, Identity
from trivec.encoders.remote.wire import (
    SAFETENSORS,
    EncodeRequest,
    token_texts_from_json,
    tokens_from_json,
    vectors_from_bytes,
)
from trivec.errors import EncoderError, InvalidInputError
from trivec.vectors import Vectors


class Answers:
    """Reads the answers of one server, and compares the identity of each with the first one's.

    Args:
        url: The server in error messages.

    Attributes:
        identity (Identity | None): The identity of the first answer, or None before it.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self.identity: Identity | None = None

    def see_health(self, answer: HttpAnswer) -> None:
        """Check the answer of `GET /health`."""
        self._see(answer.checked(), answer.content)

    def vectors(self, request: EncodeRequest, answer: HttpAnswer) -> Vectors:
        """Return the vectors of an answer.

        Args:
            request: The body of `POST /encode`.
            answer: Its answer.

        Raises:
            EncoderError: If they do not fit the request, or come from another encoder than before.
        """
        identity = self._same_encoder(answer)
        if answer.type != SAFETENSORS:
            raise EncoderError(
                f"{answer.where}: expected {SAFETENSORS}, got {answer.type or 'no type'}: "
                f"{answer.message()}"
            )
        try:
            vectors = vectors_from_bytes(answer.content)
        except InvalidInputError as error:
            raise EncoderError(f"{answer.where}: the answer holds {error}") from error
        problem = _misfit(vectors, len(request.texts), identity, request.parts)
        if problem:
            raise EncoderError(f"{answer.where}: the answer holds {problem}")
        return vectors

    def tokens(self, answer: HttpAnswer) -> list[Token]:
        """Return the tokens of an answer of `POST /tokens` with a text."""
        self._same_encoder(answer)
        try:
            return tokens_from_json(answer.content)
        except InvalidInputError as error:
            raise EncoderError(f"{answer.where}: {error}") from error

    def by_text(self, answer: HttpAnswer, weights: Mapping[int, float]) -> dict[str, float]:
        """Return weights by the texts of their ids, the higher one of two ids with one text.

        Args:
            answer: The answer of `POST /tokens` with the ids.
            weights: Ids and weights, in the order of the request.
        """
        self._same_encoder(answer)
        try:
            texts = token_texts_from_json(answer.content, len(weights))
        except InvalidInputError as error:
            raise EncoderError(f"{answer.where}: {error}") from error
        named = dict[str, float]()
        for text, weight in zip(texts, weights.values(), strict=True):
            named[text] = max(weight, named.get(text, weight))
        return named

    def _same_encoder(self, answer: HttpAnswer) -> Identity:
        answer.checked()
        return self._see(answer, answer.headers.get(IDENTITY_HEADER.lower()))

    def _see(self, answer: HttpAnswer, identity: str | bytes | None) -> Identity:
        """Compare the identity of an answer with the first one that came.

        Raises:
            EncoderError: If it is missing, malformed or another one.
        """
        if identity is None:
            raise EncoderError(
                f"{answer.where}: the answer has no header {IDENTITY_HEADER}: is there a proxy in "
                "between, or another kind of server than `trivec serve`?"
            )
        try:
            seen = Identity.from_json(identity)
        except InvalidInputError as error:
            raise EncoderError(
                f"{answer.where}: {error} ({answer.message()}); is this `trivec serve`?"
            ) from error
        with self._lock:
            if self.identity is None:
                self.identity = seen
            first = self.identity
        if seen != first:
            changes = "; ".join(
                f"{field.name} was {getattr(first, field.name)!r} and is "
                f"{getattr(seen, field.name)!r}"
                for field in fields(first)
                if getattr(first, field.name) != getattr(seen, field.name)
            )
            raise EncoderError(
                f"{self._url} encodes differently than before: {changes}. Vectors of both cannot "
                "be compared; start the server with the former model again, or open the encoder "
                "anew for a new collection"
            )
        return first


def _misfit(
    vectors: Vectors, count: int, identity: Identity, parts: Sequence[str] | None
) -> str | None:
    """Return how vectors differ from what was asked for, or None."""
    held = {
        "dense": None if vectors.dense is None else vectors.dense.shape[1],
        "sparse": None if vectors.sparse is None else True,
        "colbert": None if vectors.colbert is None else vectors.colbert.dim,
    }
    made = {"dense": identity.dense, "sparse": identity.sparse or None, "colbert": identity.colbert}
    if parts is not None:
        made = {part: size if part in parts else None for part, size in made.items()}
    if len(vectors) != count:
        return f"{len(vectors)} rows for {count} texts"
    if held != made:
        return f"vectors of {_sizes(held)}, expected {_sizes(made)}"
    return None


def _sizes(parts: Mapping[str, int | None]) -> str:
    return ", ".join(
        part if size is True else f"{part} {size}" for part, size in parts.items() if size
    )
