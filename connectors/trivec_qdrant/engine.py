"""What a search asks for, and the engine that answers: a client or an embedded shard."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from trivec.collection import Collection
from trivec.document import Document
from trivec.search import Part
from trivec.vectors import Vectors
from trivec_qdrant.filters import Condition
from trivec_qdrant.mapping import PointVectors, Row
from trivec_qdrant.schema import Description, Names, Storage

__all__ = ["Engine", "Found", "Fused", "Nearest", "PayloadKeys", "Request", "Weighted"]

PayloadKeys = bool | tuple[str, ...]
"""Which payload keys come along: all of them, none, or these."""


@dataclass(frozen=True, slots=True)
class Nearest:
    """The points nearest to a vector.

    Args:
        part: Which of the three vectors.
        query: That part of the query.
        limit: How many points.
        over: Where the candidates come from; empty for the whole collection.
        among: The ids of the only points that count; empty for all that satisfy the condition.
    """

    part: Part
    query: PointVectors
    limit: int
    over: tuple[Nearest, ...] = ()
    among: tuple[str | int, ...] = ()


@dataclass(frozen=True, slots=True)
class Weighted:
    """A weighted sum of scores; a point that a stage did not find scores 0 there."""

    stages: tuple[Nearest, ...]
    factors: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Fused:
    """Reciprocal rank fusion: 1/(60 + rank) summed over the stages, rank from 1."""

    stages: tuple[Nearest, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """One query.

    Args:
        root: What to rank by.
        limit: How many points.
        payload: Which payload keys come along: all of them, or these.
        vectors: Which vectors come along.
    """

    root: Nearest | Weighted | Fused
    limit: int
    payload: PayloadKeys = True
    vectors: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """One point that a query found."""

    score: float
    row: Row


class Engine(ABC):
    """Everything that reads and writes one collection.

    Its methods raise the errors of trivec, and may be called from several threads.

    Args:
        name: The collection.
        names: What vectors and payload keys are called.
    """

    number_bytes: ClassVar[int] = 4
    """The bytes that one number of a vector takes in a write."""

    def __init__(self, name: str, names: Names) -> None:
        self.name = name
        self.names = names

    @property
    @abstractmethod
    def route(self) -> str:
        """How writes reach the database, for `capabilities`."""

    @property
    def endpoint(self) -> str:
        """The protocol and the port of a server, for errors; "" for what is embedded."""
        return ""

    @abstractmethod
    def describe(self) -> Description | None:
        """Return what is there, or None."""

    @abstractmethod
    def create(self, collection: Collection, storage: Storage) -> None:
        """Create the collection with its payload indexes."""

    @abstractmethod
    def write(self, documents: Sequence[Document], vectors: Vectors) -> None:
        """Write whole points; return when they can be found."""

    @abstractmethod
    def query(self, requests: Sequence[Request], where: Condition | None) -> list[list[Found]]:
        """Answer each request, best first, from the points that satisfy the condition."""

    @abstractmethod
    def read(self, ids: Sequence[str | int], parts: Sequence[Part]) -> list[Row]:
        """Return the points of these ids that exist, in any order."""

    @abstractmethod
    def scroll(
        self,
        offset: object,
        limit: int,
        parts: Sequence[Part],
        where: Condition | None,
        *,
        payload: PayloadKeys = True,
    ) -> tuple[list[Row], object]:
        """Return one page of points with these payload keys, and where the next begins or None."""

    @abstractmethod
    def delete(self, ids: Sequence[str | int]) -> None:
        """Delete the points of these ids."""

    @abstractmethod
    def delete_where(self, where: Condition) -> None:
        """Delete the points that satisfy the condition."""

    @abstractmethod
    def count(self, where: Condition | None) -> int:
        """Count the points that satisfy the condition."""

    @abstractmethod
    def drop(self) -> None:
        """Delete the collection, if it is there."""

    @abstractmethod
    def close(self) -> None:
        """Release what belongs to this engine."""

    def optimize(self) -> tuple[int, int] | None:
        """Build the indexes and give back disk; return the bytes before and after.

        None is for what does so by itself, as servers do.
        """
        return None
