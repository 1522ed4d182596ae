"""The cells of a table as values of declared fields."""

from __future__ import annotations

import ast
import json

from trivec.arguments import shown
from trivec.fields import FieldType

MAX_LITERAL = 100_000
"""The maximum characters of a list that is read as a Python literal."""

_BOOLS = {"true": True, "1": True, "false": False, "0": False}


def typed(cell: str, name: str, type_: FieldType) -> object:
    """Parse a cell as the type of a declared field; an empty cell is null, except as text.

    An integer may be written as a number with a zero fraction. A list is one of JSON, a Python
    literal, or items with semicolons between them.

    Args:
        cell: The text of the cell.
        name: The name of the field, for errors.
        type_: The type.

    Raises:
        ValueError: If the cell is something else.

    >>> typed("2020.0", "year", FieldType.INT), typed("a; b", "tags", FieldType.LIST_STR)
    (2020, ['a', 'b'])
    """
    if type_ is FieldType.STR:
        return cell
    if not cell.strip():
        return None
    try:
        match type_:
            case FieldType.INT:
                return _integer(cell)
            case FieldType.FLOAT if "_" in cell:
                raise ValueError(cell)  # only Python reads 1_0 as a number
            case FieldType.FLOAT:
                return float(cell)
            case FieldType.BOOL:
                return _BOOLS[cell.strip().lower()]
            case FieldType.LIST_STR:
                return _items(cell)
            case FieldType.LIST_INT:
                return [_integer(i) if isinstance(i, str) else i for i in _items(cell)]
            case _:
                return cell
    except (ValueError, KeyError, RecursionError) as error:
        raise ValueError(f"{name!r} is declared {type_}, got {shown(cell)}") from error


def _integer(cell: str) -> int:
    """Return an integer, also of a number such as 2020.0, or raise `ValueError`."""
    if "_" in cell:
        raise ValueError(cell)  # only Python reads 1_0 as a number
    try:
        return int(cell)
    except ValueError:
        whole, point, zeros = cell.strip().partition(".")
        if not point or zeros.strip("0"):
            raise
        return int(whole)


def _items(cell: str) -> list[object]:
    """Return the items of a list, or raise `ValueError`."""
    text = cell.strip()
    if not text.startswith("["):
        if text.startswith(("{", "(", '"')):
            raise ValueError(cell)
        return [item.strip() for item in text.split(";") if item.strip()]
    try:
        items = json.loads(text)
    except ValueError:
        if len(text) > MAX_LITERAL:
            raise
        try:
            items = ast.literal_eval(text)
        except (SyntaxError, TypeError, MemoryError) as error:
            raise ValueError(cell) from error
    if not isinstance(items, list):
        raise ValueError(cell)
    return items
