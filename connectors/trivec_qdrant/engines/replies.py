"""Checks of answers, which raise StoreUnavailableError for another answer than was asked for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from trivec.errors import StoreUnavailableError
from trivec_qdrant.engines.engine import Query, ScoredRow
from trivec_qdrant.errors import unreadable
from trivec_qdrant.mapping import Row
from trivec_qdrant.schema import Description

MAX_SIZE = 65_536
"""The most numbers of a vector that Qdrant holds (its openapi.json, VectorParams)."""


def check_results(
    name: str, queries: Sequence[Query], results: Sequence[Sequence[ScoredRow]]
) -> None:
    """Check that no query has more points than it asked for, and that their scores are finite."""
    for query, points in zip(queries, results, strict=True):
        if len(points) > query.limit:
            raise unreadable(name, f"{len(points)} hits where at most {query.limit} were asked")
        _check_ids(name, (point.row for point in points))
        for point in points:
            if not math.isfinite(point.score):
                raise unreadable(name, f"the point {point.row.id} has the score {point.score}")


def check_rows(name: str, ids: Sequence[str | int], rows: Sequence[Row]) -> None:
    """Check that only the points came that were asked for, and each once."""
    _check_ids(name, rows)
    others = {row.id.lower() for row in rows} - {str(id).lower() for id in ids}
    if others:
        raise unreadable(name, f"the point {min(others)!r} came, which was not asked for")


def check_page(
    name: str, offset: object, limit: int, rows: Sequence[Row], following: object
) -> None:
    """Check that the next page comes after this one, so that a scroll ends.

    Qdrant scrolls in the order of the ids, numbers before UUIDs.
    `offset` is the id that this page begins at, or None for the first one; `following` is the id
    that the next page begins at, or None after the last.
    """
    if len(rows) > limit:
        raise unreadable(name, f"{len(rows)} points where at most {limit} were asked for")
    _check_ids(name, rows)
    if following is None:
        return
    end = _order(name, following)
    if offset is not None and end <= _order(name, offset):
        raise unreadable(name, f"the page after the one at {offset} begins at {following}")


def check_count(name: str, count: object) -> int:
    """Return a number of points."""
    if not isinstance(count, int) or not 0 <= count < 2**64:
        # Without the number, which may have too many digits to print.
        raise unreadable(name, "the points were counted wrongly")
    return count


def check_done(name: str, status: object) -> None:
    """Check that searches find a write already, and not only later."""
    if status != "completed":
        raise StoreUnavailableError(
            f"{name!r}: the server answered {status!r} before the write was done; it may be "
            "applied later"
        )


def check_whole(name: str, points: Iterable[Any], *, payload: bool, vectors: bool) -> None:
    """Check that points came with the payload, if only an empty one, and vectors asked for."""
    for point in points:
        if (payload and point.payload is None) or (vectors and point.vector is None):
            raise unreadable(name, f"the point {point.id} came without what was asked for")


def check_description(name: str, description: Description) -> Description:
    """Return a description whose vectors have sizes that Qdrant allows."""
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
    """Check that the ids are ids of points, and differ."""
    ids = [row.id for row in rows]
    for id in ids:
        _order(name, id)
    if len(set(ids)) < len(ids):
        raise unreadable(name, "the same point came twice")


def _order(name: str, point: object) -> tuple[int, int]:
    """Return the sort key of a point's id in Qdrant's order."""
    text = str(point)
    try:
        number = int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else None
        key = (1, UUID(text).int) if number is None else (0, number)
    except ValueError as error:
        raise unreadable(name, f"{text[:80]!r} is not the id of a point") from error
    return key
