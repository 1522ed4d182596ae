"""What copies of LangChain's classes share."""

from __future__ import annotations

import copy
from typing import Any, ClassVar, Self

from pydantic import BaseModel

__all__ = ["Sharing", "SharingModel"]


class Sharing:
    """An object whose copies share its encoder and its store, which stay in their process."""

    def __copy__(self) -> Self:
        """Return a copy with the same attributes."""
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        return made

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Return a copy with the same encoder and store."""
        return copy.copy(self)

    def __getstate__(self) -> dict[str, Any]:
        """Refuse to be pickled."""
        raise _refusal(self)


class SharingModel(BaseModel):
    """A pydantic class whose copies share its encoder and its store.

    Attributes:
        shared (tuple[str, ...]): The fields that a deep copy has in common with the original.
    """

    shared: ClassVar[tuple[str, ...]]

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Return a copy with the same encoder and store, and copies of all else."""
        memo = {} if memo is None else memo
        for name in self.shared:
            one = getattr(self, name)
            memo[id(one)] = one  # counts as copied
        return super().__deepcopy__(memo)

    def __getstate__(self) -> dict[Any, Any]:
        """Refuse to be pickled."""
        raise _refusal(self)


def _refusal(one: object) -> TypeError:
    return TypeError(
        f"cannot pickle {type(one).__name__}: encoders and stores stay in their process; "
        "make it anew in the other one"
    )
