"""An engine reads and writes one collection: a server's client or an embedded database."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeVar

import numpy as np

from trivec.collection import Collection
from trivec.document import Document
from trivec.search import Part
from trivec.stores.steps import Steps, ask
from trivec.vectors import Vectors
from trivec_qdrant.filters import Condition
from trivec_qdrant.mapping import PointVectors, Row
from trivec_qdrant.schema import DATATYPES, Description, Names, Quantization

TINY = float(np.finfo(np.float32).tiny)  # a lexical score above 0

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S")

PayloadKeys = bool | list[str]
"""Which payload keys come along: all of them, none, or these."""


@dataclass(frozen=True, slots=True)
class Nearest:
    """The points nearest to a vector.

    Args:
        part: Which of the three vectors.
        vector: That part of the question.
        limit: How many points.
        over: Where the candidates come from; empty for the whole collection.
        among: The ids of the only points that count; empty for all that satisfy the condition.
    """

    part: Part
    vector: PointVectors
    limit: int
    over: tuple[Nearest, ...] = ()
    among: tuple[str | int, ...] = ()


@dataclass(frozen=True, slots=True)
class Weighted:
    """A weighted sum of scores; a point that a stage does not return scores 0 there."""

    stages: tuple[Nearest, ...]
    factors: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Fused:
    """Reciprocal rank fusion: 1/(60 + rank) summed over the stages, rank from 1."""

    stages: tuple[Nearest, ...]


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a batch.

    Args:
        root: What to rank by.
        limit: How many points.
        payload: Which payload keys come along.
        vectors: Which vectors come along.
    """

    root: Nearest | Weighted | Fused
    limit: int
    payload: PayloadKeys = True
    vectors: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class ScoredRow:
    """A point in the result of a query."""

    score: float
    row: Row


def vector_names(parts: Sequence[Part], names: Names) -> list[str] | bool:
    """Return the vectors that come along, as clients of Qdrant ask for them."""
    return [names.vector(part) for part in parts] or False


# About how many numbers of 4 bytes a point has, where it is not known.
_PART_NUMBERS: Mapping[Part, int] = {"dense": 1024, "sparse": 400, "colbert": 200_000}
_PAYLOAD_NUMBERS, _ID_NUMBERS = 200, 5


def numbers_written(documents: Sequence[Document], vectors: Vectors) -> int:
    """Return about how many numbers a write has; 4 bytes of text count as one."""
    return (int(vectors.row_bytes().sum()) + sum(d.size_bytes for d in documents)) // 4


def numbers_read(points: int, parts: Sequence[Part]) -> int:
    """Return about how many numbers so many points have."""
    return points * (_PAYLOAD_NUMBERS + sum(_PART_NUMBERS[part] for part in parts))


def numbers_queried(query: Query) -> int:
    """Return about how many numbers a query and its result have."""
    root = query.root
    stages = (root,) if isinstance(root, Nearest) else root.stages
    vectors = [s.vector for stage in stages for s in (stage, *stage.over)]
    given = sum(vector.numbers for vector in vectors)
    among = sum(len(s.among) for stage in stages for s in stage.over)
    if query.payload is not True:
        return given + among + query.limit * _ID_NUMBERS
    return given + among + numbers_read(query.limit, query.vectors)


class Engine(ABC):
    """Everything that reads and writes one collection.

    Its operations are generators of requests (see `trivec.stores.steps`), which `send` and `asend`
    send. They raise the errors of trivec, and may be called from several threads.
    """

    number_bytes: ClassVar[int] = 4
    """The bytes that one number of a vector takes in a write."""
    colbert_bits: ClassVar[tuple[int, ...]] = (16, *(bits for bits in DATATYPES if bits != 16))
    """The bits that one number of a token vector can take, the default first."""
    rounds: ClassVar[bool] = True
    """Whether the database rounds token vectors to the bits of their collection."""

    def __init__(self, name: str, names: Names) -> None:
        self.name = name
        self.names = names

    @property
    @abstractmethod
    def route(self) -> str:
        """How writes reach the database, for `capabilities`."""

    @property
    def endpoint(self) -> str:
        """The protocol and the port of a server, for errors; "" for an embedded database."""
        return ""

    @abstractmethod
    def describe(self) -> Steps[Description | None]:
        """Return the description of the collection, or None."""

    @abstractmethod
    def create(self, collection: Collection, quantization: Quantization | None) -> Steps[None]:
        """Create the collection with its payload indexes."""

    @abstractmethod
    def write(self, documents: Sequence[Document], vectors: Vectors) -> Steps[None]:
        """Write whole points; return when searches find them."""

    @abstractmethod
    def query(
        self, queries: Sequence[Query], where: Condition | None
    ) -> Steps[list[list[ScoredRow]]]:
        """Answer each query, best first, from the points that satisfy the condition."""

    @abstractmethod
    def read(self, ids: Sequence[str | int], parts: Sequence[Part]) -> Steps[list[Row]]:
        """Return the points with these ids that exist, in any order."""

    @abstractmethod
    def scroll(
        self,
        offset: object,
        limit: int,
        parts: Sequence[Part],
        where: Condition | None,
        payload: PayloadKeys = True,
    ) -> Steps[tuple[list[Row], object]]:
        """Return one page of points, and the offset of the next page or None after the last.

        The first page has the offset None.
        """

    @abstractmethod
    def delete(self, ids: Sequence[str | int]) -> Steps[None]:
        """Delete the points with these ids."""

    @abstractmethod
    def delete_where(self, where: Condition) -> Steps[None]:
        """Delete the points that satisfy the condition."""

    @abstractmethod
    def count(self, where: Condition | None) -> Steps[int]:
        """Count the points that satisfy the condition."""

    @abstractmethod
    def drop(self) -> Steps[None]:
        """Delete the collection, if it exists."""

    def optimize(self) -> Steps[tuple[int, int] | None]:
        """Build the indexes and give back disk; return the bytes before and after.

        None is for servers, which do so by themselves.
        """
        yield from ()
        return None

    @abstractmethod
    def close(self) -> None:
        """Release what belongs to this engine."""

    async def aclose(self) -> None:
        """Release what belongs to this engine, also what belongs to the running event loop."""
        await asyncio.to_thread(self.close)

    def send(self, request: Any) -> Any:  # noqa: ANN401 - an engine's own requests and answers
        """Send one request and wait for its answer."""
        return request()

    def asend(self, request: Any) -> Awaitable[Any] | None:  # noqa: ANN401
        """Return an awaitable of the answer, or None to have `send` called in a thread."""
        return None


def one_request(
    method: Callable[Concatenate[S, P], T],
) -> Callable[Concatenate[S, P], Steps[T]]:
    """Make a method an operation of one request: the call of the method."""

    @wraps(method)
    def operation(self: S, /, *args: P.args, **kwargs: P.kwargs) -> Steps[T]:
        return ask(partial(method, self, *args, **kwargs))

    return operation
