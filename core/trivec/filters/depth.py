"""The maximum depth of filters, the same for every notation, store and database."""

from __future__ import annotations

from trivec.errors import InvalidFilterError

MAX_DEPTH = 32
"""The maximum depth of nested `and`, `or` and `not`.

Qdrant accepts JSON up to a depth of 128 objects and lists, and gRPC messages up to a depth of 100.
One group of a filter takes two levels of either; a comparison and the query around the filter take
up to 18.
"""


def check_depth(depth: int) -> int:
    """Return the depth of nested groups if it is at most `MAX_DEPTH`.

    Raises:
        InvalidFilterError: If it is greater.

    Example:
        >>> check_depth(33)
        Traceback (most recent call last):
        trivec.errors.InvalidFilterError: a filter has 33 or more nested groups (and, or, \
not, brackets); at most 32 are allowed. Join conditions in one group, as in And((a, b, c)), and \
use in_([...]) for many values of one field
    """
    if depth > MAX_DEPTH:
        raise InvalidFilterError(
            f"a filter has {depth} or more nested groups (and, or, not, brackets); at most "
            f"{MAX_DEPTH} are allowed. Join conditions in one group, as in And((a, b, c)), and "
            "use in_([...]) for many values of one field"
        )
    return depth
