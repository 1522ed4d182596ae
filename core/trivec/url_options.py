"""Options after the question mark of a URL or of a model's name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import Field, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints
from urllib.parse import unquote

from trivec.arguments import shown
from trivec.errors import InvalidOptionError

_NAME = re.compile(r"[A-Za-z_]\w{0,60}", re.ASCII)
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})(?:e[+-]?[0-9]{1,2})?")


def query_options(query: str, where: str) -> dict[str, str]:
    """Return the options of `name=value&name=value`; values may be percent-encoded.

    Args:
        query: What follows the question mark.
        where: What an error begins with. No error repeats a value, which may be a secret.

    Raises:
        InvalidOptionError: If an option has another form, or comes twice.

    >>> query_options("model=BAAI/bge-m3&name=a%26b", "")
    {'model': 'BAAI/bge-m3', 'name': 'a&b'}
    """
    options: dict[str, str] = {}
    for entry in filter(None, query.split("&")):
        name, equals, value = entry.partition("=")
        if not equals or _NAME.fullmatch(name) is None:
            raise InvalidOptionError(f"{where}: expected options such as '?name=value&other=value'")
        if name in options:
            raise InvalidOptionError(f"{where}: {name} is given twice")
        try:
            options[name] = unquote(value, errors="strict")
        except UnicodeDecodeError:
            raise InvalidOptionError(f"{where}: {name} is not UTF-8 when decoded") from None
        if not options[name].isprintable():
            raise InvalidOptionError(f"{where}: {name} holds characters that cannot be printed")
    return options


def joined_options(
    options: type[Any], where: str, query: Mapping[str, str], given: Mapping[str, object]
) -> dict[str, object]:
    """Return the options of a URL, converted to their types, with those that are given by name.

    Names that the class does not have are left to it, as they are.

    Args:
        options: The dataclass of the options. A field with `repr=False` is a secret, and
            `metadata["environment"]` is the environment variable that may hold it.
        where: What an error begins with.
        query: The texts of the URL's options by their names.
        given: Values by the names of options.

    Raises:
        InvalidOptionError: If an option is given in both, is a secret, or cannot be converted.

    >>> from trivec.encoders.remote.options import RemoteOptions
    >>> joined_options(RemoteOptions, "", {"requests": "8", "deadline": "2.5"}, {"name": "a"})
    {'name': 'a', 'requests': 8, 'deadline': 2.5}
    """
    known: dict[str, Field[Any]] = {field.name: field for field in fields(options)}
    joined = dict(given)
    for name, text in query.items():
        if name in given:
            raise InvalidOptionError(f"{where}: {name} is given in the URL and by name; give one")
        field = known.get(name)
        if field is None:
            joined[name] = text
            continue
        if not field.repr:
            variable = field.metadata.get("environment")
            source = f", or the environment variable {variable}" if variable else ""
            raise InvalidOptionError(
                f"{where}: {name} does not belong in a URL, where logs show it; use the option "
                f"{name}={source}"
            )
        joined[name] = _converted(text, get_type_hints(options)[name], f"{where}: {name}")
    return joined


def _converted(text: str, annotation: object, what: str) -> object:
    """Return the value that a text means for an option of a type."""
    types = list(_alternatives(annotation))
    constants = [value for kind in types if get_origin(kind) is Literal for value in get_args(kind)]
    constants += [True, False] if bool in types else []
    constants += [None] if NoneType in types else []
    for constant in constants:
        word = constant is None or isinstance(constant, bool)
        if text == constant or (word and text.lower() == str(constant).lower()):
            return constant
    if int in types and _INTEGER.fullmatch(text):
        return int(text)
    if float in types and _DECIMAL.fullmatch(text):
        return float(text)
    if str in types:
        return text
    if Path in types:
        return Path(text)
    expected = [kind.__name__ for kind in (int, float) if kind in types]
    expected += map(repr, constants)
    if not set(expected) - {"None"}:
        raise InvalidOptionError(f"{what} cannot stand in a URL; give it by name")
    raise InvalidOptionError(f"{what}={shown(text)}: expected {' or '.join(expected)}")


def _alternatives(annotation: object) -> Iterator[object]:
    """Yield the types of which an annotation allows any."""
    if get_origin(annotation) in (Union, UnionType):
        for part in get_args(annotation):
            yield from _alternatives(part)
    else:
        yield annotation
