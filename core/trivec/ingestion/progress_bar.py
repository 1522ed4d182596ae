"""The bar that a terminal shows while a run goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from trivec.ingestion.report import IngestReport, describe


class ProgressBar(Progress):
    """Shows the report of a run, which it asks for whenever it is drawn.

    The bar is the part of the source that was read; it pulses if the total is unknown.

    Args:
        title: The name of the run.
        current: Returns the report until now.
        console: The terminal.
    """

    def __init__(self, title: str, current: Callable[[], IngestReport], console: Console) -> None:
        columns = (
            SpinnerColumn(),
            TextColumn(title),
            BarColumn(bar_width=20),
            TaskProgressColumn(),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
        )
        self._current = current
        super().__init__(*columns, console=console)
        self._task = self.add_task("", total=None)

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return the bar with the report of this moment."""
        if self.task_ids:  # none while the bar is made
            report = self._current()
            task = self._tasks[self._task]
            task.description = describe(report)
            if report.fraction is not None:
                task.total, task.completed = 1.0, report.fraction
        yield from super().get_renderables()
