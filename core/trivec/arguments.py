"""What a call was given: checked, and named in errors as a reader would name it."""

from __future__ import annotations

from trivec.errors import InvalidInputError, InvalidOptionError

_SHOWN = 60
"""Characters of an argument that an error repeats."""

_REPEATED = 500
"""Characters of a filter, a dict or a list that an error repeats."""


def type_name(value: object) -> str:
    """Return the name of a value's type, with its module unless that is Python's own.

    >>> import decimal
    >>> type_name(True), type_name(decimal.Decimal(1))
    ('bool', 'decimal.Decimal')
    """
    return _qualified(type(value))


def described(value: object) -> str:
    """Return how an error names a value that it did not expect.

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
    """Return how an error repeats a value of any kind: whole if it is short, never failing.

    >>> shown({"year": 2020}), shown([10**5000])
    ("{'year': 2020}", 'list of int')
    """
    try:
        text = repr(value)
    except Exception:  # numbers of thousands of digits, lists a thousand deep, classes of others
        return described(value)
    return text if len(text) <= _REPEATED else f"{text[:_REPEATED]}…"


def named(what: str, value: object, *, between: str = "=") -> str:
    """Return how an error names an argument with its value, or with its type if that is long.

    >>> named("k", 0), named("k", [1, 2])
    ('k=0', 'k (list of int)')
    """
    plain = value is None or isinstance(value, str | int | float)
    text = repr(value) if plain and not _is_huge(value) else ""
    return f"{what}{between}{text}" if 0 < len(text) <= _SHOWN else f"{what} ({described(value)})"


def expect(
    value: object,
    kind: type | tuple[type, ...],
    what: str,
    expected: str,
    *,
    error: type[InvalidInputError] = InvalidOptionError,
) -> None:
    """Raise unless a value is of a kind.

    Args:
        value: What was given.
        kind: The type or types that it may have.
        what: The argument, as the message begins.
        expected: What should be given instead, and how to come by it.
        error: The class to raise.

    Raises:
        InvalidInputError: Of the class `error`, if the value is of another type.
    """
    if not isinstance(value, kind):
        raise error(f"{what}: expected {expected}, got {described(value)}")


def at_least_one(value: object, what: str) -> int:
    """Return an integer of at least 1 as an int; those of numpy are integers too.

    Raises:
        InvalidOptionError: If it is none; True and 2.0 are none.
    """
    number = None if isinstance(value, bool | str) else getattr(value, "__index__", None)
    try:
        whole = None if number is None else int(number())
    except TypeError:  # an array of several numbers
        whole = None
    if whole is None or whole < 1:
        raise InvalidOptionError(f"{named(what, value)} must be an integer of at least 1")
    return whole


def _is_huge(value: object) -> bool:
    """Return whether a number is one that Python refuses to print."""
    return isinstance(value, int) and value.bit_length() > 10_000


def _qualified(kind: type) -> str:
    module = kind.__module__
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"
