"""The policies for ColBERT rows longer than a database can hold, the same for every store."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trivec.colbert_storage import Overflow
from trivec.errors import InvalidOptionError, InvalidVectorsError
from trivec.pooling import pool_tokens
from trivec.rows import TokenRows


class OverflowingRowError(InvalidVectorsError):
    """A text has more ColBERT vectors than the database holds.

    Args:
        row: The position of the text.
        tokens: How many vectors it has.
        limit: How many the database holds.
    """

    def __init__(self, row: int, tokens: int, limit: int) -> None:
        super().__init__(
            f"{tokens} ColBERT vectors are more than the {limit} that the database holds; "
            "set colbert_overflow to 'pool', 'truncate' or 'drop'"
        )
        self.row = row


def check_overflow(value: str) -> Overflow:
    """Return the policy, or raise `InvalidOptionError` for an unknown one."""
    match value:
        case "error" | "pool" | "truncate" | "drop":
            return value
    raise InvalidOptionError(
        f"colbert_overflow={value!r}; expected 'error', 'pool', 'truncate' or 'drop'"
    )


def fit_rows(
    rows: TokenRows, limit: int | None, policy: Overflow
) -> tuple[TokenRows, NDArray[np.int64]]:
    """Bring every row down to `limit` tokens.

    Args:
        rows: Token vectors of n texts.
        limit: The most tokens of one row that the database holds; None for any number.
        policy: What to do with longer rows.

    Returns:
        The rows that fit, without lexical weights if any was changed, and the positions of those
        that were.

    Raises:
        OverflowingRowError: If the policy is "error" and a row is too long.

    Example:
        >>> long = TokenRows.from_arrays([np.ones((5, 2)), np.ones((2, 2))])
        >>> fitted, changed = fit_rows(long, 3, "truncate")
        >>> np.diff(fitted.indptr), changed
        (array([3, 2]), array([0]))
    """
    lengths = np.diff(rows.indptr)
    if limit is None or not len(lengths) or lengths.max() <= limit:
        return rows, np.zeros(0, np.int64)
    long = np.flatnonzero(lengths > limit)
    if policy == "error":
        raise OverflowingRowError(int(long[0]), int(lengths[long[0]]), limit)
    fitted = [rows.row(i) for i in range(len(rows))]
    for i in long:
        row = fitted[i]
        if policy == "pool":
            fitted[i] = pool_tokens(row, limit)
        else:
            fitted[i] = row[: limit if policy == "truncate" else 0]
    return replace(TokenRows.from_arrays(fitted), storage=rows.storage), long
