"""The progress of a run: reported to a callback, to a bar on a terminal, or not at all."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from trivec.ingestion.report import IngestReport, Progress


@contextmanager
def shown(
    progress: Progress | None, title: str, current: Callable[[], IngestReport]
) -> Iterator[Progress]:
    """Yield the function to call after each batch: the caller's, or one that updates nothing.

    Args:
        progress: The caller's function; without it, a terminal shows a bar.
        title: The name of the run.
        current: Returns the report until now, which the bar shows ten times a second.
    """
    if progress is not None:
        yield progress
    elif not sys.stderr.isatty():
        yield _nothing
    else:
        from rich.console import Console

        from trivec.ingestion.progress_bar import ProgressBar

        with ProgressBar(title, current, Console(stderr=True)):
            yield _nothing


def _nothing(report: IngestReport) -> None:
    """Do nothing with a report."""


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
    facts.append(f"{report.documents:,} stored")
    if report.tokens:
        facts.append(f"{report.tokens / seconds:,.0f} tokens/s")
    if report.bytes:
        facts.append(f"{report.bytes / 1e6:.1f} MB written")
    if report.failed:
        facts.append(f"{report.failed:,} rejected")
    if report.remaining_seconds is not None:
        facts.append(f"{timedelta(seconds=round(report.remaining_seconds))} left")
    return ", ".join(facts)
