"""The report of an ingestion run: what was written, and what could not be stored."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from trivec.errors import InvalidDocumentError
from trivec.ingestion.pace import Pace

KEPT_FAILURES = 100
"""The number of failures in a report; `rejected` and the journal get all of them."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A document or a line that could not be stored.

    Args:
        where: The file and line; the document's id if that is unknown.
        problem: The reason.
        content: The line as it was read, or the document as one line of JSON.
        readable: Whether it is a document; False for a line that is none.
        id: The document's id; "" for a line that is no document, or if `where` is the id.
    """

    where: str
    problem: str
    content: str
    readable: bool = True
    id: str = ""

    @property
    def error(self) -> InvalidDocumentError:
        """The error that says this, with the position."""
        return InvalidDocumentError(f"{self.where}: {self.problem}")


@dataclass(frozen=True, slots=True)
class IngestReport:
    """The report of one `ingest`, also while it runs.

    Args:
        records: The number of records that were read. When the run has ended, each is among
            `documents`, `unchanged`, `replaced` or `failed`; one that was written before another
            one with its id came is among both `documents` and `replaced`.
        documents: The number of documents that the store acknowledged. The numbers below are of
            documents of the source, too, unless they say otherwise.
        passages: The number of passages that they were stored as; 0 without the option `passages`.
        touched: How many of them were written without encoding, since only metadata differed.
        unchanged: How many the journal already had as acknowledged.
        replaced: How many had an id that came before in this run; the last one is kept.
        failed: How many could not be stored; `failures` holds the first 100.
        unreadable: How many of the failed ones were not documents but unreadable lines.
        pruned: How many were deleted, since they vanished from the source.
        missing: How many the journal had as acknowledged and the store lacked.
        requests: The number of writes.
        bytes: The bytes of text, metadata and vectors written.
        tokens: The ColBERT vectors of what was written, before the collection prunes and
            pools them.
        overflowed: How many had more ColBERT vectors than the database can hold.
        seconds: The time since the start.
        encode_seconds: The time spent encoding; reading and writing continue meanwhile.
        write_seconds: The time spent writing.
        fraction: How much of the source has been read, from 0 to 1; None if that is unknown.
        remaining_seconds: The estimated time until the end; None if the source does not know how
            much is left.
        failures: The documents and lines that could not be stored.
    """

    records: int = 0
    documents: int = 0
    passages: int = 0
    touched: int = 0
    unchanged: int = 0
    replaced: int = 0
    failed: int = 0
    unreadable: int = 0
    pruned: int = 0
    missing: int = 0
    requests: int = 0
    bytes: int = 0
    tokens: int = 0
    overflowed: int = 0
    seconds: float = 0.0
    encode_seconds: float = 0.0
    write_seconds: float = 0.0
    fraction: float | None = None
    remaining_seconds: float | None = None
    failures: tuple[Rejected, ...] = ()


Progress = Callable[[IngestReport], None]

_SUMMED = tuple(
    name
    for name in IngestReport.__slots__
    if name not in ("seconds", "fraction", "remaining_seconds", "failures")
)


def describe(report: IngestReport) -> str:
    """Return the progress of a run in one line.

    >>> report = IngestReport(records=12, documents=9, bytes=2_000_000, seconds=3, failed=1)
    >>> describe(report)
    '12 read (4/s), 9 stored, 2.0 MB written, 1 rejected'
    """
    seconds = max(report.seconds, 1e-9)
    facts = [f"{report.records:,} read ({report.records / seconds:,.0f}/s)"]
    if report.unchanged:
        facts.append(f"{report.unchanged:,} unchanged")
    passages = f" as {report.passages:,} passages" if report.passages else ""
    facts.append(f"{report.documents:,} stored{passages}")
    if report.tokens:
        facts.append(f"{report.tokens / seconds:,.0f} tokens/s")
    if report.bytes:
        facts.append(f"{report.bytes / 1e6:.1f} MB written")
    if report.failed:
        facts.append(f"{report.failed:,} rejected")
    if report.remaining_seconds is not None:
        facts.append(f"{timedelta(seconds=round(report.remaining_seconds))} left")
    return ", ".join(facts)


class IngestInterrupted(KeyboardInterrupt):
    """A KeyboardInterrupt that is raised after the writes in flight are done.

    Attributes:
        report (IngestReport): The report until then.
    """

    def __init__(self, report: IngestReport) -> None:
        super().__init__(f"interrupted after {report.documents} documents were written")
        self.report = report

    def __reduce__(self) -> tuple[type[IngestInterrupted], tuple[IngestReport]]:
        return type(self), (self.report,)


class Tally:
    """Sums up the reports of several threads.

    Args:
        fraction: Returns how much of the source has been read.
        clock: Returns the time in seconds.

    Attributes:
        records (int): The records that were read, which the reading thread counts.
    """

    def __init__(
        self,
        fraction: Callable[[], float | None] = lambda: None,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.records = 0
        self._lock = threading.Lock()
        self._clock = clock
        self._started = clock()
        self._fraction = fraction
        self._pace = Pace()
        self._sum = IngestReport()

    def add(self, done: IngestReport) -> None:
        """Add the numbers of a report."""
        with self._lock:
            sums = {name: getattr(self._sum, name) + getattr(done, name) for name in _SUMMED}
            failures = (self._sum.failures + done.failures)[:KEPT_FAILURES]
            self._sum = IngestReport(**sums, failures=failures)

    def take(self) -> IngestReport:
        """Return the sums without elapsed times, and start again from zero."""
        with self._lock:
            taken, self._sum = self._sum, IngestReport()
        return taken

    def report(self) -> IngestReport:
        """Return the sums, and the time since the start."""
        with self._lock:
            seconds = self._clock() - self._started
            fraction = self._fraction()
            return replace(
                self._sum,
                records=self._sum.records + self.records,
                seconds=seconds,
                fraction=fraction,
                remaining_seconds=self._pace.remaining(fraction, seconds),
            )

    def rejects(self) -> tuple[int, int]:
        """Return the number of rejects, and of the records that were read."""
        return self._sum.failed, self._sum.records + self.records
