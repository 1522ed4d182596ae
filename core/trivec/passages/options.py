"""How a long text is split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from trivec.arguments import named
from trivec.errors import InvalidOptionError


@dataclass(frozen=True, slots=True, kw_only=True)
class Passages:
    """How long texts are split into passages.

    Args:
        tokens: The most tokens of a passage, at least 16. Special tokens do not count.
        overlap: The most tokens at the end of a passage that the next one begins with. Only whole
            sentences are repeated.

    Raises:
        InvalidOptionError: If a value is no integer or out of range.

    Example:
        >>> Passages(tokens=128)
        Passages(tokens=128, overlap=32)
    """

    LEAST: ClassVar[int] = 16

    tokens: int = 256
    overlap: int = 32

    def __post_init__(self) -> None:
        for name, least in (("tokens", self.LEAST), ("overlap", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                given = named(f"Passages: {name}", value)
                raise InvalidOptionError(f"{given} must be an integer of at least {least}")
        if self.overlap >= self.tokens:
            raise InvalidOptionError(
                f"Passages: overlap={self.overlap} must be less than tokens={self.tokens}"
            )
