"""What ingestion and the framework classes need of an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from trivec.schema import Schema
from trivec.vectors import Vector, Vectors

__all__ = ["TextEncoder"]


class TextEncoder(Protocol):
    """Anything that turns text into `Vectors` as `trivec.Encoder` does."""

    @property
    def schema(self) -> Schema:
        """Which vectors the encoder makes."""
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
