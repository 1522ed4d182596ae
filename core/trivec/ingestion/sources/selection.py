"""Which members of the metadata are kept, and their names."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trivec.errors import InvalidDocumentError, InvalidOptionError
from trivec.ingestion.sources.members import (
    Path,
    has,
    listed,
    only,
    path_of,
    same_name,
    value_at,
    with_value,
    without,
)
from trivec.ingestion.sources.options import SourceOptions


@dataclass(frozen=True, slots=True)
class Selection:
    """What becomes of the metadata of each row of one file.

    Args:
        keep: The members to keep; None for all.
        drop: The members to leave out.
        rename: Members with their new paths.

    Example:
        >>> selection = Selection(None, (("size",),), ((("Title",), ("title",)),))
        >>> selection.of({"Title": "Whales", "size": 7, "lang": "en"})
        {'lang': 'en', 'title': 'Whales'}
    """

    keep: tuple[Path, ...] | None
    drop: tuple[Path, ...]
    rename: tuple[tuple[Path, Path], ...]

    @classmethod
    def resolve(
        cls,
        options: SourceOptions,
        rows: Sequence[Mapping[str, Any]],
        *,
        taken: Collection[str] = (),
        strict: bool = True,
    ) -> Selection | None:
        """Return the selection for a file that begins with this metadata; None for all of it.

        Args:
            options: The options.
            rows: The metadata of the first rows; or one mapping with the names of all columns.
            taken: The members of id and text, which are no metadata, so that dropping them is
                no error.
            strict: Whether one of the rows has every member that an option names.

        Raises:
            InvalidOptionError: If none of the rows has such a member, or a new name
                is there already.
        """
        if options.keep is None and not options.drop and not options.rename:
            return None
        names = dict.fromkeys(name for row in rows for name in row)

        def path(option: str, name: str) -> Path:
            made = path_of(name, names)
            # The value of a column is None while only its name is known.
            known = made and (len(made) == 1 or any(_may_have(row, made) for row in rows))
            if not strict and not known:
                return made or tuple(name.split("."))
            if not made or not known:
                raise InvalidOptionError(
                    f"{option}: there is no metadata {name!r}, only {listed(names)}"
                )
            return made

        rename = tuple(
            (path("rename", name), tuple(new.split("."))) for name, new in options.rename.items()
        )
        keep = options.keep
        kept = None if keep is None else tuple(path("keep", name) for name in keep)
        if kept is not None:
            kept += tuple(former for former, _ in rename if former not in kept)
        dropped = [name for name in options.drop if not same_name(name, taken)]
        drop = tuple(path("drop", name) for name in dropped)
        selection = cls(kept, drop, rename)
        for row in rows[:1]:
            try:
                selection.of(row)
            except InvalidDocumentError as error:
                raise InvalidOptionError(str(error)) from error
        return selection

    def of(self, metadata: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the selected members under their new names.

        Raises:
            InvalidDocumentError: If the new name of one is that of another.
        """
        made = metadata if self.keep is None else only(metadata, self.keep)
        for path in self.drop:
            made = without(made, path)
        moved = [
            (former, new, value_at(made, former))
            for former, new in self.rename
            if has(made, former)
        ]
        for former, _, _ in moved:
            made = without(made, former)
        for former, new, value in moved:
            if has(made, new) or _is_value(made, new):
                raise InvalidDocumentError(
                    f"rename: {'.'.join(former)!r} cannot be named {'.'.join(new)!r}, since there "
                    "is a member of that name; drop or rename that one too"
                )
            made = with_value(made, new, value)
        return made


def _may_have(row: Mapping[str, Any], path: Path) -> bool:
    return has(row, path) or (path[0] in row and row[path[0]] is None)


def _is_value(metadata: Mapping[str, Any], path: Path) -> bool:
    """Return whether an object on the way to a path is there and no object."""
    return any(
        has(metadata, path[:length]) and not isinstance(value_at(metadata, path[:length]), Mapping)
        for length in range(1, len(path))
    )
