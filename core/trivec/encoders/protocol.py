"""The interface that ingestion, the framework classes and the tools expect of an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from trivec.schema import Schema
from trivec.vectors import Vector, Vectors


class TextEncoder(Protocol):
    """Anything that turns text into `Vectors`, as `trivec.Encoder` does."""

    @property
    def schema(self) -> Schema:
        """The vectors that the encoder makes."""
        ...

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Encode texts to be stored."""
        ...

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Encode questions."""
        ...

    def encode_query(self, text: str) -> Vector:
        """Encode one question."""
        ...

    async def aencode_documents(self, texts: Sequence[str]) -> Vectors:
        """Encode texts to be stored, without blocking the event loop."""
        ...

    async def aencode_queries(self, texts: Sequence[str]) -> Vectors:
        """Encode questions, without blocking the event loop."""
        ...

    async def aencode_query(self, text: str) -> Vector:
        """Encode one question, without blocking the event loop."""
        ...


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a text.

    Args:
        id: Its vocabulary id, under which a lexical weight is stored.
        text: The characters it stands for; a special token has its name, such as `</s>`.
        start: Where it starts in the original text, in characters.
        end: Where it ends (exclusive); a special token has no characters, so it ends at `start`.
    """

    id: int
    text: str
    start: int
    end: int


class TokenizingEncoder(TextEncoder, Protocol):
    """An encoder that also returns the tokens that its ColBERT vectors stand for."""

    def tokens(self, text: str) -> list[Token]:
        """Return a text's tokens in the order of its ColBERT vectors, one for each vector."""
        ...


class PassageEncoder(TokenizingEncoder, Protocol):
    """An encoder that makes the vectors of a text's passages from one pass over the whole text.

    This is late chunking: the states of a passage's tokens know the text around them.
    """

    def whole_tokens(self, text: str) -> list[Token]:
        """Return all tokens of a text, however long it is, in the form of `tokens`."""
        ...

    def encode_passages(self, text: str, passages: Sequence[slice]) -> Vectors:
        """Encode passages of a text to be stored.

        Args:
            text: The whole text.
            passages: Ranges of `whole_tokens(text)` without its last, special token. They may
                overlap.

        Returns:
            One row per passage, in their order. Its ColBERT vectors are those of its own tokens
            in their order, without special tokens around them.
        """
        ...
