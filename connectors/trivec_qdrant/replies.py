"""Whether an answer is one to what was asked: a server's word is not taken for it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from trivec.errors import StoreUnavailableError
from trivec_qdrant.engine import Found, Request
from trivec_qdrant.errors import unreadable
from trivec_qdrant.mapping import Row
from trivec_qdrant.schema import Description

__all__ = [
    "check_answers",
    "check_count",
    "check_description",
    "check_done",
    "check_number",
    "check_page",
    "check_rows",
    "check_whole",
    "version_of",
]

MAX_SIZE = 65_536
"""The most numbers of a vector that Qdrant holds (its openapi.json, VectorParams)."""


def check_number(name: str, requests: Sequence[object], answers: Sequence[object]) -> None:
    """Check that there is an answer to each query.

    Raises:
        StoreUnavailableError: If not, as all checks here do.
    """
    if len(answers) != len(requests):
        raise unreadable(name, f"{len(answers)} answers to {len(requests)} queries came")


def check_answers(
    name: str, requests: Sequence[Request], answers: Sequence[Sequence[Found]]
) -> None:
    """Check that no more was found than was asked for, and that its scores are numbers."""
    for request, found in zip(requests, answers, strict=True):
        if len(found) > request.limit:
            raise unreadable(name, f"{len(found)} hits where at most {request.limit} were asked")
        _check_ids(name, (one.row for one in found))
        for one in found:
            if not math.isfinite(one.score):
                raise unreadable(name, f"the point {one.row.id} has the score {one.score}")


def check_rows(name: str, ids: Sequence[str | int], rows: Sequence[Row]) -> None:
    """Check that only points came that were asked for, and each once."""
    _check_ids(name, rows)
    strangers = {row.id.lower() for row in rows} - {str(one).lower() for one in ids}
    if strangers:
        raise unreadable(name, f"the point {min(strangers)!r} came, which was not asked for")


def check_page(
    name: str, offset: object, limit: int, rows: Sequence[Row], following: object
) -> None:
    """Check that the next page of points comes after this one, so that a scroll ends.

    Qdrant scrolls in the order of the ids, numbers before UUIDs.

    Args:
        name: The collection.
        offset: The id that the page begins at; None for the first one.
        limit: How many points were asked for.
        rows: The points.
        following: The id that the next page begins at, or None.
    """
    if len(rows) > limit:
        raise unreadable(name, f"{len(rows)} points where at most {limit} were asked for")
    _check_ids(name, rows)
    if following is None:
        return
    end = _place(name, following)
    if offset is not None and end <= _place(name, offset):
        raise unreadable(name, f"the page after the one at {offset} begins at {following}")


def check_count(name: str, count: object) -> int:
    """Return a number of points."""
    if not isinstance(count, int) or not 0 <= count < 2**64:
        raise unreadable(name, "the points were counted wrongly")  # a number may be too long to say
    return count


def check_done(name: str, status: object) -> None:
    """Check that a write can be found, not only that it will be."""
    if status != "completed":
        raise StoreUnavailableError(
            f"{name!r}: the server answered {status!r} before the write was done; it may be "
            "applied later"
        )


def check_whole(name: str, points: Iterable[Any], *, payload: bool, vectors: bool) -> None:
    """Check that points of the client came with what was asked for.

    Args:
        name: The collection.
        points: The client's points or hits, with `payload` and `vector`.
        payload: Whether payloads were asked for; a point without any has an empty one.
        vectors: The same for vectors.
    """
    for point in points:
        if (payload and point.payload is None) or (vectors and point.vector is None):
            raise unreadable(name, f"the point {point.id} came without what was asked for")


def check_description(name: str, description: Description) -> Description:
    """Return a description whose vectors can be."""
    for vector, column in description.vectors.items():
        if not 1 <= column.size <= MAX_SIZE:
            raise unreadable(name, f"the vector {vector!r} has {column.size} numbers")
    if not isinstance(description.metadata, Mapping):
        raise unreadable(name, f"the metadata are a {type(description.metadata).__name__}")
    return description


def version_of(name: str, version: object) -> tuple[int, int]:
    """Return the major and minor version of a server.

    >>> version_of("c", "1.20.3-dev")
    (1, 20)
    """
    numbers = str(version).split(".")[:2]
    if len(numbers) < 2 or not all(n.isascii() and n.isdigit() and len(n) < 6 for n in numbers):
        raise unreadable(name, f"the server has the version {str(version)[:80]!r}")
    return int(numbers[0]), int(numbers[1])


def _check_ids(name: str, rows: Iterable[Row]) -> None:
    """Check that the ids are those of points and differ."""
    ids = [row.id for row in rows]
    for one in ids:
        _place(name, one)
    if len(set(ids)) < len(ids):
        raise unreadable(name, "the same point came twice")


def _place(name: str, point: object) -> tuple[int, int]:
    """Return where a point's id stands in Qdrant's order."""
    text = str(point)
    try:
        number = int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else None
        place = (1, UUID(text).int) if number is None else (0, number)
    except ValueError as error:
        raise unreadable(name, f"{text[:80]!r} is the id of no point") from error
    return place
