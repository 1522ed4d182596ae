"""How a run shows itself: a callback, a bar on a terminal, or nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from trivec.ingestion.report import IngestReport, Progress

__all__ = ["shown"]


@contextmanager
def shown(progress: Progress | None, title: str) -> Iterator[Progress]:
    """Yield what to call after each part: the caller's function, a bar, or nothing."""
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
    """Say in one line how far a run is.

    >>> describe(IngestReport(documents=9, tokens=600, bytes=2_000_000, seconds=3, failed=1))
    '9 documents, 200 tokens/s, 2.0 MB written, 1 failed'
    """
    said = [f"{report.documents} documents"]
    if report.unchanged:
        said.append(f"{report.unchanged} unchanged")
    said.append(f"{report.tokens / max(report.seconds, 1e-9):.0f} tokens/s")
    said.append(f"{report.bytes / 1e6:.1f} MB written")
    if report.failed:
        said.append(f"{report.failed} failed")
    if report.remaining_seconds is not None:
        said.append(f"{timedelta(seconds=round(report.remaining_seconds))} left")
    return ", ".join(said)
