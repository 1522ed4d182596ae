"""Objects that hold an encoder or a store, neither of which can be copied or leave its process."""

from __future__ import annotations

import copy
from typing import Any, Self


class InProcess:
    """A class whose objects are not pickled; a base of pydantic models, too."""

    def __getstate__(self) -> dict[Any, Any]:
        """Refuse to be pickled; some frameworks would silently leave out the encoder and store."""
        raise TypeError(
            f"cannot pickle {type(self).__name__}: encoders and stores stay in their process; "
            "make it anew in the other one"
        )


class Sharing(InProcess):
    """A class whose deep copies share everything; a base of pydantic models, too."""

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Return a copy with the same encoder and store."""
        return copy.copy(self)


class SharingObject(Sharing):
    """A class of plain objects whose copies share everything."""

    def __copy__(self) -> Self:
        """Return a copy with the same attributes."""
        copied = object.__new__(type(self))
        copied.__dict__.update(self.__dict__)
        return copied
