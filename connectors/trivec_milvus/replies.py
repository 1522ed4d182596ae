"""What an answer of Milvus must be; other shapes raise what `reading` makes a `StoreError`."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

from trivec.errors import StoreError, StoreUnavailableError

__all__ = [
    "check_among",
    "check_deleted",
    "check_written",
    "count_of",
    "ids_after",
    "rows_by_id",
    "scored",
]


def check_written(answer: object, sent: int) -> None:
    """Raise unless as many rows were written as were sent.

    Args:
        answer: What an insert or an upsert returned.
        sent: The rows that were sent.

    Raises:
        StoreUnavailableError: If not; how many were written is unknown, and they may be sent again.
    """
    counts = answer if isinstance(answer, Mapping) else {}
    written = counts.get("upsert_count", 0) or counts.get("insert_count", 0)
    if written != sent:
        raise StoreUnavailableError(
            f"Milvus says that it wrote {written!r} of {sent} rows; send them again"
        )


def check_deleted(answer: object) -> None:
    """Raise unless this is what a deletion returns: a count, or the ids.

    The count is that of the server's choice: ids that it had never seen count too.

    Raises:
        StoreUnavailableError: If not; the deletion may be asked for again.
    """
    if not isinstance(answer, Mapping | Sequence) or isinstance(answer, str):
        raise StoreUnavailableError(f"Milvus answered a deletion with {type(answer).__name__}")


def count_of(found: Any) -> int:  # noqa: ANN401 - pymilvus has no types
    """Return the number of rows that a query for it returned.

    >>> count_of([{"count(*)": 3}])
    3
    """
    (row,) = found
    count = row["count(*)"]
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise StoreError(f"Milvus answered {count!r} where it was asked for a number of rows")
    return count


def rows_by_id(
    rows: Iterable[Mapping[str, Any]], name: str, asked: Container[str]
) -> dict[str, dict[str, Any]]:
    """Return rows by their ids.

    Args:
        rows: The rows.
        name: The field with the id.
        asked: The ids that were asked for; another is an error.
    """
    found = {}
    for row in rows:
        one = row[name]
        if one in found:
            raise StoreError(f"Milvus answered the row {one!r} twice")
        found[one] = dict(row)
    check_among(found, asked)
    return found


def check_among(ids: Iterable[str], asked: Container[str]) -> None:
    """Raise if Milvus found what it was told not to look at.

    Args:
        ids: The ids that it found.
        asked: Those that it was asked for.
    """
    for one in ids:
        if one not in asked:
            raise StoreError(f"Milvus answered the hit {one!r}, which was not asked for")


def ids_after(last: str, rows: Iterable[Mapping[str, Any]], name: str) -> list[str]:
    """Return the ids of a page, which all come after that of the page before.

    >>> ids_after("b", [{"id": "c"}, {"id": "d"}], "id")
    ['c', 'd']
    """
    ids = [row[name] for row in rows]
    for one in ids:
        if not isinstance(one, str) or one <= last:
            raise StoreError(
                f"Milvus was asked for the rows after {last!r} and answered {one!r}, so that "
                "reading would never end"
            )
    return ids


def scored(hits: Iterable[Any], name: str) -> Iterator[tuple[str, float, Mapping[str, Any]]]:
    """Yield the id, the score and the fields of each hit of one query.

    Args:
        hits: What a search returned for it.
        name: The field with the id.
    """
    seen = set()
    for hit in hits:
        one, score, entity = hit[name], hit["distance"], hit["entity"]
        if not isinstance(one, str) or one in seen:
            raise StoreError(f"Milvus answered the hit {one!r} twice, or without an id")
        if not isinstance(score, float | int) or not math.isfinite(score):
            raise StoreError(f"Milvus answered the hit {one!r} with the score {score!r}")
        seen.add(one)
        yield one, float(score), entity
