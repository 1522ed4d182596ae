"""Checks of Milvus's answers. Those of another shape raise what `unreadable_answers` translates."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

from trivec.errors import StoreError, StoreUnavailableError


def check_written(answer: object, sent: int) -> None:
    """Check that as many rows were written as were sent.

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
    """Check that this is the answer to a deletion: a count, or the ids.

    A server also counts ids that it never had.
    """
    if not isinstance(answer, Mapping | Sequence) or isinstance(answer, str):
        raise StoreUnavailableError(f"Milvus answered a deletion with {type(answer).__name__}")


def count_of(rows: Any) -> int:  # noqa: ANN401 - pymilvus has no types
    """Return the number in the answer to a query for `count(*)`.

    >>> count_of([{"count(*)": 3}])
    3
    """
    (row,) = rows
    count = row["count(*)"]
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise StoreError(f"Milvus answered {count!r} where it was asked for a number of rows")
    return count


def rows_by_id(
    rows: Iterable[Mapping[str, Any]], name: str, asked: Container[str]
) -> dict[str, dict[str, Any]]:
    """Return rows by their ids."""
    by_id = {}
    for row in rows:
        id = row[name]
        if id in by_id:
            raise StoreError(f"Milvus answered the row {id!r} twice")
        by_id[id] = dict(row)
    check_among(by_id, asked)
    return by_id


def check_among(ids: Iterable[str], asked: Container[str]) -> None:
    """Raise `StoreError` if one of the ids is not among those that were asked for."""
    for id in ids:
        if id not in asked:
            raise StoreError(f"Milvus answered the hit {id!r}, which was not asked for")


def ids_after(last: str, rows: Iterable[Mapping[str, Any]], name: str) -> list[str]:
    """Return the ids of a page, which all come after the last id of the page before.

    >>> ids_after("b", [{"id": "c"}, {"id": "d"}], "id")
    ['c', 'd']
    """
    ids = [row[name] for row in rows]
    for id in ids:
        if not isinstance(id, str) or id <= last:
            raise StoreError(
                f"Milvus was asked for the rows after {last!r} and answered {id!r}, so that "
                "reading would never end"
            )
    return ids


def scored_rows(hits: Iterable[Any], name: str) -> Iterator[tuple[str, float, dict[str, Any]]]:
    """Yield the id, the score and the row of each hit of one query."""
    seen = set()
    for hit in hits:
        id, score, row = hit[name], hit["distance"], hit["entity"]
        if not isinstance(id, str) or id in seen:
            raise StoreError(f"Milvus answered the hit {id!r} twice, or without an id")
        if not isinstance(score, float | int) or not math.isfinite(score):
            raise StoreError(f"Milvus answered the hit {id!r} with the score {score!r}")
        seen.add(id)
        yield id, float(score), {**row, name: id}
