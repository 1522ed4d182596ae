"""Members of JSON objects that another program wrote, read with checks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from trivec.arguments import described
from trivec.errors import InvalidInputError


def to_bytes(value: object) -> bytes:
    """Return compact JSON in UTF-8."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def loaded(text: str | bytes, what: str) -> Any:  # noqa: ANN401 - any JSON
    """Parse JSON in UTF-8.

    Raises:
        InvalidInputError: If it is malformed, or an object has two members of the same name; the
            message begins with `what`.
    """
    try:
        text = text if isinstance(text, str) else text.decode("utf-8")
        return json.loads(text, object_pairs_hook=_members)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{what} is not JSON: {str(error)[:100]}") from None


def json_object(text: str | bytes, what: str) -> dict[str, Any]:
    """Parse a JSON object; raise `InvalidInputError` for anything else."""
    value = loaded(text, what)
    if not isinstance(value, dict):
        raise InvalidInputError(f"{what}: expected a JSON object, got {described(value)}")
    return value


def member(value: Mapping[str, Any], name: str, of: type, default: Any) -> Any:  # noqa: ANN401
    """Return a member of a type; the default if it is missing or null.

    Raises:
        InvalidInputError: If it has another type.
    """
    found = value.get(name)
    if found is None:
        return default
    if not isinstance(found, of) or (of is int and isinstance(found, bool)):
        raise InvalidInputError(f"{name}: expected {of.__name__}, got {described(found)}")
    return found


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):  # programs on the way may read the other one
        raise ValueError("two members of an object have the same name")
    return members


def strings(value: object, what: str) -> list[str]:
    """Return a list of strings; raise `InvalidInputError` if it is none."""
    if not isinstance(value, list):
        raise InvalidInputError(f"{what}: expected a list of strings, got {described(value)}")
    for index, text in enumerate(value):
        if not isinstance(text, str):
            raise InvalidInputError(f"{what}[{index}]: expected a string, got {described(text)}")
    return value
