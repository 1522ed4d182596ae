"""Groups of hits: which field makes them, which hits belong together, and the best of each."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

from trivec.document import PRIVATE_KEY
from trivec.errors import InvalidOptionError
from trivec.fields import FieldType, value_at
from trivec.filters.instants import parse_datetime
from trivec.hit import Hit
from trivec.passages.stored import PARENT
from trivec.search import Search


def check_group_field(path: str, fields: Mapping[str, FieldType]) -> None:
    """Check that hits can be grouped by a field.

    Args:
        path: The path of the field.
        fields: The declared fields of the collection.

    Raises:
        InvalidOptionError: If the field is not declared, unless it is "parent", or holds lists.
    """
    type_ = fields.get(path)
    if type_ is None and path != PARENT:
        declared = [f"{p} ({t})" for p, t in fields.items() if not p.startswith(f"{PRIVATE_KEY}.")]
        raise InvalidOptionError(
            f"group_by={path!r} is not a declared field; declared are "
            f"{', '.join(declared) or 'none'}, and {PARENT!r} needs no declaration"
        )
    if type_ is not None and type_.is_list:
        single = [repr(p) for p, t in fields.items() if not t.is_list]
        raise InvalidOptionError(
            f"group_by={path!r} is declared {type_}, and a document can be in one group only; "
            f"declared fields of single values are {', '.join(single) or 'none'}"
        )


def group_key(value: str | int | float, type_: FieldType | None) -> Hashable:
    """Return what the values of one group have in common.

    Values are equal as filters compare them: 1 and 1.0 are equal, 1 and True are not, and two
    spellings of an instant are equal in a field that is declared as datetime.

    Args:
        value: The value of the field.
        type_: The declared type of the field; None if it is not declared.

    Example:
        >>> group_key(1, None) == group_key(1.0, None), group_key(1, None) == group_key(True, None)
        (True, False)
    """
    moment = None
    if type_ is FieldType.DATETIME and isinstance(value, str):
        moment = parse_datetime(value)
    return isinstance(value, bool), value if moment is None else moment


def group_hits(
    hits: Sequence[Hit], search: Search, fields: Mapping[str, FieldType]
) -> list[list[Hit]]:
    """Return the groups of the best hits, best first, each with its best hits.

    A hit without a value of the field, or with a list or an object, is a group by itself. The hits
    of a group have one value as their `group`, that of the best hit.

    Args:
        hits: Hits, best first.
        search: The field, how many groups at most, and how many hits of each.
        fields: The declared fields, which give values their types.
    """
    path = search.group_by or PARENT
    type_ = fields.get(path)
    groups: dict[Hashable, list[Hit]] = {}
    for hit in hits:
        value = value_at(hit.document.metadata, path)
        scalar = value if isinstance(value, str | int | float) else None
        key: Hashable = (hit.document.id,) if scalar is None else group_key(scalar, type_)
        members = groups.get(key)
        if members is None and len(groups) < search.k:
            groups[key] = [replace(hit, group=scalar)]
        elif members is not None and len(members) < search.per_group:
            members.append(replace(hit, group=members[0].group))
    return list(groups.values())
