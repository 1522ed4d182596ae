"""The members of a record by their names, also inside objects."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from trivec.arguments import shown

Path = tuple[str, ...]
"""The names on the way to a member of an object: ("author", "name")."""


def same_name(name: str, names: Collection[str]) -> str | None:
    """Return which of some names is meant: the same, or the only one but for case and blanks.

    >>> same_name("id", [" ID ", "text"]), same_name("id", ["ID", "Id"])
    (' ID ', None)
    """
    if name in names:
        return name
    wanted = name.strip().casefold()
    similar = [other for other in names if other.strip().casefold() == wanted]
    return similar[0] if len(similar) == 1 else None


def path_of(name: str, names: Collection[str]) -> Path | None:
    """Return the path to a member among members of these names; None if there is none.

    A name with a dot is that of a member, or else a path into an object.

    >>> path_of("author.name", ["author"]), path_of("a.b", ["A.B", "a"]), path_of("x", ["a"])
    (('author', 'name'), ('A.B',), None)
    """
    same = same_name(name, names)
    if same is not None:
        return (same,)
    first, _, rest = name.partition(".")
    holder = same_name(first, names) if rest else None
    return None if holder is None else (holder, *rest.split("."))


def value_at(values: Mapping[str, Any], path: Path) -> object:
    """Return the value at a path, or None if there is none."""
    value: object = values
    for name in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def has(values: Mapping[str, Any], path: Path) -> bool:
    """Return whether there is a member at a path, which may be null."""
    holder = value_at(values, path[:-1])
    return isinstance(holder, Mapping) and path[-1] in holder


def without(values: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return a copy without the member at a path, and without objects that are empty then.

    >>> without({"author": {"name": "x", "id": 7}}, ("author", "id"))
    {'author': {'name': 'x'}}
    >>> without({"_id": {"$oid": "65f"}, "n": 1}, ("_id", "$oid"))
    {'n': 1}
    """
    made = dict(values)
    first, inside = path[0], path[1:]
    if not inside:
        made.pop(first, None)
    elif isinstance(inner := made.get(first), Mapping):
        rest = without(inner, inside)
        if rest or not inner:
            made[first] = rest
        else:
            del made[first]
    return made


def with_value(values: Mapping[str, Any], path: Path, value: object) -> dict[str, Any]:
    """Return a copy with a value at a path, in new objects where there are none."""
    made = dict(values)
    first, inside = path[0], path[1:]
    if inside:
        inner = made.get(first)
        value = with_value(inner if isinstance(inner, Mapping) else {}, inside, value)
    made[first] = value
    return made


def only(values: Mapping[str, Any], paths: Iterable[Path]) -> dict[str, Any]:
    """Return a copy with the members at some paths, those that are there.

    >>> only({"a": 1, "b": {"c": 2, "d": 3}}, [("b", "c"), ("x",)])
    {'b': {'c': 2}}
    """
    made: dict[str, Any] = {}
    for path in paths:
        first, inside = path[0], path[1:]
        if not inside:
            if first in values:
                made[first] = values[first]
        elif has(values, path):
            made = with_value(made, path, value_at(values, path))
    return made


def listed(names: Collection[str]) -> str:
    """Return names for a message, the first of them if there are many.

    >>> listed(["id", "text"]), listed([])
    ("'id', 'text'", 'none')
    """
    some = ", ".join(shown(name) for name in list(names)[:12])
    return f"{some} and {len(names) - 12} more" if len(names) > 12 else some or "none"
