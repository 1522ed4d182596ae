"""The options that every run of ingestion takes, and their defaults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trivec.arguments import at_least_one, expect
from trivec.checks import check_callback, check_journal
from trivec.errors import InvalidOptionError
from trivec.ingestion.report import Progress, Rejected

OnError = Literal["raise", "skip"]
Rejects = Callable[[Rejected], None]

# A token is about 4 bytes of text and becomes 4 KiB of ColBERT vectors at 1,024 dimensions, so
# this much text becomes about 64 MiB.
BATCH_BYTES = 64 * 1024
BATCH_DOCUMENTS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestOptions:
    """The options of `ingest`, which describes them, and of what works like it."""

    journal: str | Path | None = None
    on_error: OnError = "raise"
    rejected: Rejects | None = None
    prune: bool = False
    part_bytes: int = BATCH_BYTES
    progress: Progress | None = None

    def __post_init__(self) -> None:
        check_journal(self.journal)
        check_callback(self.rejected, "rejected")
        check_callback(self.progress, "progress")
        expect(self.prune, bool, "prune", "True or False")
        object.__setattr__(self, "part_bytes", at_least_one(self.part_bytes, "part_bytes"))
        if self.prune and self.journal is None:
            raise InvalidOptionError(
                "prune=True deletes what a journal knows and the source lacks; give a journal"
            )
        check_on_error(self.on_error)


def check_on_error(value: str) -> OnError:
    """Return the policy, or raise `InvalidOptionError` for an unknown one."""
    match value:
        case "raise" | "skip":
            return value
    raise InvalidOptionError(f"on_error={value!r}; expected 'raise' or 'skip'")
