"""How deep filters go: the one limit that every notation, every store and every database keeps."""

from __future__ import annotations

from trivec.errors import InvalidFilterError

MAX_DEPTH = 32
"""Of `and`, `or` and `not` in one another.

Qdrant reads at most 128 objects and lists in one another as JSON, and 100 messages over gRPC. Two
of either are one group of a filter; a comparison, and the query around the filter, take up to 18.
"""


def check_depth(depth: int) -> int:
    """Return how many groups lie in one another, or refuse more than `MAX_DEPTH`.

    Raises:
        InvalidFilterError: If there are more.

    Example:
        >>> check_depth(33)
        Traceback (most recent call last):
        trivec.errors.InvalidFilterError: a filter has 33 or more groups (and, or, not, \
brackets) in one another; at most 32 are allowed. Join conditions of one kind in one group, as \
in And((a, b, c)), and use in_([...]) for many values of one field
    """
    if depth > MAX_DEPTH:
        raise InvalidFilterError(
            f"a filter has {depth} or more groups (and, or, not, brackets) in one another; at most "
            f"{MAX_DEPTH} are allowed. Join conditions of one kind in one group, as in "
            "And((a, b, c)), and use in_([...]) for many values of one field"
        )
    return depth
