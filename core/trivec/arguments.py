"""Checks of arguments, and their names in error messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any, TypeVar

from trivec.errors import InvalidInputError, InvalidOptionError

T = TypeVar("T")

_SHOWN = 60
"""The maximum characters of an argument in an error message."""

_REPEATED = 500
"""The maximum characters of a filter, a dict or a list in an error message."""


def type_name(value: object) -> str:
    """Return the name of a value's type, with its module unless it is a builtin.

    >>> import decimal
    >>> type_name(True), type_name(decimal.Decimal(1))
    ('bool', 'decimal.Decimal')
    """
    return _qualified(type(value))


def described(value: object) -> str:
    """Return the description of an unexpected value for an error message.

    >>> described("whale"), described([1.0, 2.0]), described(None), described(int)
    ("str 'whale'", 'list of float', 'None', 'the class int')
    """
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {_qualified(value)}"
    name = type_name(value)
    if _is_huge(value):
        return f"{name} of thousands of digits"
    if isinstance(value, str | int | float):
        text = repr(value)
        return f"{name} {text if len(text) <= _SHOWN else text[:_SHOWN] + '…'}"
    if isinstance(value, list | tuple) and value:
        return f"{name} of {type_name(value[0])}"
    return name


def shown(value: object) -> str:
    """Return the repr of any value for an error message, shortened if it is long; never fails.

    >>> shown({"year": 2020}), shown([10**5000])
    ("{'year': 2020}", 'list of int')
    """
    try:
        text = repr(value)
    except Exception:  # integers of thousands of digits, very deep lists, faulty __repr__
        return described(value)
    return text if len(text) <= _REPEATED else f"{text[:_REPEATED]}…"


def named(what: str, value: object, *, between: str = "=") -> str:
    """Return the name of an argument with its value, or with its type if the value is long.

    >>> named("k", 0), named("k", [1, 2])
    ('k=0', 'k (list of int)')
    """
    plain = value is None or isinstance(value, str | int | float)
    text = repr(value) if plain and not _is_huge(value) else ""
    return f"{what}{between}{text}" if 0 < len(text) <= _SHOWN else f"{what} ({described(value)})"


def expect(
    value: object,
    types: type | tuple[type, ...],
    what: str,
    expected: str,
    *,
    error: type[InvalidInputError] = InvalidOptionError,
) -> None:
    """Raise `error` if an argument has another type.

    The message begins with the argument's name, `what`, and says what is `expected` instead, and
    how to get it.
    """
    if not isinstance(value, types):
        raise error(f"{what}: expected {expected}, got {described(value)}")


def at_least_one(value: object, what: str) -> int:
    """Return an integer of at least 1, also of numpy, as an int; True and 2.0 are no integers."""
    number = None if isinstance(value, bool | str) else getattr(value, "__index__", None)
    try:
        whole = None if number is None else int(number())
    except TypeError:  # an array of several numbers
        whole = None
    if whole is None or whole < 1:
        raise InvalidOptionError(f"{named(what, value)} must be an integer of at least 1")
    return whole


def named_options(
    options: type[T],
    where: str,
    given: Mapping[str, object],
    *,
    renamed: Mapping[str, str] = MappingProxyType({}),
) -> T:
    """Return options that are given by name, such as the keyword arguments of `open_store`.

    Args:
        options: The dataclass of the options.
        where: What the options are for, which an error begins with.
        given: Values by the names of options.
        renamed: Names that options had before, and what to write instead.

    Raises:
        InvalidOptionError: If a name is unknown or a value out of range.
    """
    declared: Any = options
    known = [option.name for option in fields(declared)]
    for name in sorted(set(given) - set(known)):
        if name in renamed:
            raise InvalidOptionError(f"{where}: {name} has another name now: {renamed[name]}")
        raise InvalidOptionError(f"{where}: unknown option {name}; known are {', '.join(known)}")
    made: T = declared(**given)
    return made


def _is_huge(value: object) -> bool:
    """Return whether a value is an integer that Python may refuse to print."""
    return isinstance(value, int) and value.bit_length() > 10_000


def _qualified(cls: type) -> str:
    module = cls.__module__
    return cls.__qualname__ if module == "builtins" else f"{module}.{cls.__qualname__}"
