"""How many rejects a run accepts: a number, or a share of the records."""

from __future__ import annotations

import math
from dataclasses import dataclass

from trivec.arguments import shown
from trivec.errors import InvalidOptionError

MIN_RECORDS = 1_000
"""The records after which a share is compared; before, it is compared at the end of the source."""


@dataclass(frozen=True, slots=True)
class RejectLimit:
    """The most rejects that a run accepts.

    Example:
        >>> limit = RejectLimit.parse("2%")
        >>> limit.is_exceeded(3, 100, ended=True), limit.is_exceeded(3, 100)
        (True, False)
        >>> RejectLimit.parse(2).is_exceeded(3, 100)
        True
    """

    count: int | None = None
    percent: float | None = None

    @classmethod
    def parse(cls, value: int | str | None) -> RejectLimit:
        """Parse a number such as 10 or a share such as "1%"; None is no limit.

        Raises:
            InvalidOptionError: If it is neither.
        """
        if value is None:
            return cls()
        text = str(value).strip()
        if not isinstance(value, bool):
            try:
                if text.endswith("%"):
                    percent = float(text[:-1])
                    if math.isfinite(percent) and 0 <= percent <= 100:
                        return cls(percent=percent)
                elif isinstance(value, int | str) and (count := int(text)) >= 0:
                    return cls(count)
            except ValueError:
                pass
        raise InvalidOptionError(
            f"max_rejects={shown(value)}; expected a number such as 10, or a share such as '1%'"
        )

    def is_exceeded(self, failed: int, records: int, *, ended: bool = False) -> bool:
        """Return whether too many of the records that were read were rejected.

        Args:
            failed: The number of rejects.
            records: The number of records that were read.
            ended: Whether these are all records.
        """
        if self.count is not None:
            return failed > self.count
        if self.percent is None or not (ended or records >= MIN_RECORDS):
            return False
        return failed * 100 > self.percent * records

    def __str__(self) -> str:
        """Return the limit as it is given."""
        return f"{self.percent:g}%" if self.percent is not None else str(self.count)
