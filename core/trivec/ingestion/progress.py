"""The progress of a run: reported to a callback, to a bar on a terminal, or not at all."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
