"""How a collection keeps the token vectors of ColBERT."""

from __future__ import annotations

from dataclasses import dataclass

from trivec.errors import InvalidOptionError


@dataclass(frozen=True, slots=True)
class ColbertStorage:
    """How a collection keeps its token vectors; a property of the collection, set by `create`.

    Args:
        bits: The bits of one number of a token vector: 16 by default, or as many as the database
            offers (`store.limits.colbert_bits`).

    Raises:
        InvalidOptionError: If it is no number of bits.
    """

    bits: int = 16

    def __post_init__(self) -> None:
        if isinstance(self.bits, bool) or not isinstance(self.bits, int) or self.bits < 1:
            raise InvalidOptionError(f"bits={self.bits!r}; expected a number such as 16 or 32")
