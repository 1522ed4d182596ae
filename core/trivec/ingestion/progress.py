"""The progress of a run: reported to a callback, to a bar on a terminal, or not at all."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from trivec.ingestion.report import IngestReport, Progress


@contextmanager
def shown(progress: Progress | None, title: str) -> Iterator[Progress]:
    """Yield the function to call after each batch: the caller's, or one that updates a bar."""
    if progress is not None:
        yield progress
    elif not sys.stderr.isatty():
        yield lambda report: None
    else:
        from rich.console import Console
        from rich.progress import Progress as Bar
        from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Bar(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(title)
            yield lambda report: bar.update(task, description=f"{title}: {describe(report)}")


def describe(report: IngestReport) -> str:
    """Return the progress of a run in one line.

    >>> describe(IngestReport(documents=9, tokens=600, bytes=2_000_000, seconds=3, failed=1))
    '9 documents, 200 tokens/s, 2.0 MB written, 1 failed'
    """
    facts = [f"{report.documents} documents"]
    if report.unchanged:
        facts.append(f"{report.unchanged} unchanged")
    facts.append(f"{report.tokens / max(report.seconds, 1e-9):.0f} tokens/s")
    facts.append(f"{report.bytes / 1e6:.1f} MB written")
    if report.failed:
        facts.append(f"{report.failed} failed")
    if report.remaining_seconds is not None:
        facts.append(f"{timedelta(seconds=round(report.remaining_seconds))} left")
    return ", ".join(facts)
