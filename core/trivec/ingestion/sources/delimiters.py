"""The delimiter of a table, found in its first records."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from itertools import islice

from trivec.errors import InvalidOptionError

DELIMITERS = (",", ";", "\t", "|")

RECORDS = 10
"""How many records below the header decide between two delimiters."""


def excel_delimiter(line: str) -> str | None:
    r"""Return the delimiter that Excel's first line "sep=;" names, or None.

    >>> excel_delimiter("sep=;\r")
    ';'
    """
    text = line.strip("\r\n").strip('"')
    return text[4] if len(text) == 5 and text[:4].lower() == "sep=" else None


def delimiter_of(
    lines: Sequence[str], path: str, *, default: str, quoted: bool, columns: int | None
) -> str:
    r"""Return the delimiter of a table.

    A delimiter in the header decides. If several stand in the header, the one that gives each of
    the first records as many cells as the header is taken.

    Args:
        lines: The first lines of the table, the header first, without their ends.
        path: The name of the file in errors.
        default: The delimiter of a table with one column.
        quoted: Whether double quotes may enclose cells.
        columns: The number of columns of a table without a header.

    Raises:
        InvalidOptionError: If no delimiter or several fit.

    >>> delimiter_of(["id;text", "1;a, b"], "a.csv", default=",", quoted=True, columns=None)
    ';'
    """
    counts = {d: _cells(lines, d, quoted=quoted) for d in DELIMITERS}
    if columns is not None:
        if columns == 1:
            return default
        fitting = [d for d, cells in counts.items() if set(cells) == {columns}]
        candidates = fitting or [d for d, cells in counts.items() if columns in cells]
    else:
        candidates = [d for d, cells in counts.items() if cells and cells[0] > 1]
        if not candidates:
            return default
    if len(candidates) > 1:
        same = [d for d in candidates if len(set(counts[d])) == 1]
        candidates = same if len(same) == 1 else candidates
    if len(candidates) == 1:
        return candidates[0]
    found = " and ".join(map(repr, candidates)) or "none of them"
    raise InvalidOptionError(
        f"{path!r}: which character stands between the cells is not clear: of "
        f"{', '.join(map(repr, DELIMITERS))}, {found} may be it; give delimiter=',' or another "
        "(--delimiter)"
    )


def _cells(lines: Sequence[str], delimiter: str, *, quoted: bool) -> list[int]:
    """Return the number of cells in the first records; the last one may be incomplete."""
    if not quoted:
        return [line.count(delimiter) + 1 for line in lines[: RECORDS + 1] if line.strip("\r")]
    counts: list[int] = []
    try:
        reader = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter)
        counts.extend(len(record) for record in islice(reader, RECORDS + 1) if record)
    except csv.Error:
        pass
    return counts
