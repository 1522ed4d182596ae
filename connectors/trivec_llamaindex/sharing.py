"""What copies of LlamaIndex's classes share."""

from __future__ import annotations

import copy
from typing import Any, Self

__all__ = ["Sharing"]


class Sharing:
    """A model whose copies share its encoder and its store, which stay in their process."""

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Return a copy with the same encoder and store."""
        return copy.copy(self)

    def __getstate__(self) -> dict[str, Any]:
        """Refuse to be pickled; LlamaIndex would leave out what cannot be, without an error."""
        raise TypeError(
            f"cannot pickle {type(self).__name__}: encoders and stores stay in their "
            "process; make it anew in the other one"
        )
