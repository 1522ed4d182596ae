"""The options that every run of ingestion takes, and their defaults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict

from trivec.arguments import at_least_one, expect
from trivec.checks import check_callback, check_journal
from trivec.errors import InvalidOptionError
from trivec.ingestion.reject_limit import RejectLimit
from trivec.ingestion.report import Progress, Rejected
from trivec.passages.options import Passages

OnError = Literal["raise", "skip"]
Rejects = Callable[[Rejected], None]

# A token is about 4 bytes of text and becomes 4 KiB of ColBERT vectors at 1,024 dimensions, so
# this much text becomes about 64 MiB.
BATCH_BYTES = 64 * 1024
BATCH_DOCUMENTS = 1024


class RunOptions(TypedDict, total=False):
    """The keyword options of every run that writes documents: `ingest`, `copy` and Ray's.

    Attributes:
        journal: The file that records what the store acknowledged; created if it does not exist.
        on_error: "raise", the default, ends the run at the first document that cannot be stored,
            with an error that names it; the documents before it are kept. "skip" continues
            without it.
        rejected: Called with each document that is skipped.
        progress: Called after each batch; without it a terminal shows a progress bar.
        max_rejects: With on_error="skip", the most rejects, as a number or as a share of the
            records such as "1%"; no limit by default. A run with more ends with a
            `TooManyRejectsError`: at once, or for a share when 1,000 records or all were read.
    """

    journal: str | Path | None
    on_error: OnError
    rejected: Rejects | None
    progress: Progress | None
    max_rejects: int | str | None


class IngestOptions(RunOptions, total=False):
    """The keyword options of `ingest`, those of `RunOptions` and three more.

    Attributes:
        passages: How texts are split, such as `Passages(tokens=256, overlap=32)`, 256, or the same
            as text. Each document is stored as passages: documents of their own with its id, "#"
            and a number as their id, and with its metadata, its id as "parent" and their characters
            of its text as "span". None, the default, stores documents whole. The journal, rejects
            and the report are about the documents of the source, in each case.
        part_bytes: The maximum bytes of text that are encoded at once; 64 KiB by default.
        prune: Whether to delete the documents that the journal knows and the source no longer
            has. Nothing is deleted unless the whole source was read without a bad line.
    """

    passages: Passages | str | int | None
    part_bytes: int
    prune: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingestion:
    """The options of one run with their defaults, checked."""

    journal: str | Path | None = None
    on_error: OnError = "raise"
    rejected: Rejects | None = None
    prune: bool = False
    part_bytes: int = BATCH_BYTES
    progress: Progress | None = None
    max_rejects: int | str | None = None
    passages: Passages | str | int | None = None

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
        if self.passages is not None:
            object.__setattr__(self, "passages", Passages.of(self.passages))
        check_on_error(self.on_error)
        RejectLimit.parse(self.max_rejects)
        if self.max_rejects is not None and self.on_error == "raise":
            raise InvalidOptionError(
                "max_rejects limits what on_error='skip' skips; on_error is 'raise'"
            )

    @property
    def splitting(self) -> Passages | None:
        """How texts are split; None if documents are stored whole."""
        return None if self.passages is None else Passages.of(self.passages)

    @property
    def reject_limit(self) -> RejectLimit:
        """The most rejects that are accepted."""
        return RejectLimit.parse(self.max_rejects)


def check_on_error(value: str) -> OnError:
    """Return the policy, or raise `InvalidOptionError` for an unknown one."""
    match value:
        case "raise" | "skip":
            return value
    raise InvalidOptionError(f"on_error={value!r}; expected 'raise' or 'skip'")
