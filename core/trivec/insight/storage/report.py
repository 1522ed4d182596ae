"""The report of `measure_storage`, as it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trivec.insight.storage.results import StorageResults
from trivec.outputs import written_beside

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True, slots=True)
class StorageReport(StorageResults):
    """What storages of token vectors cost in bytes and in quality, on a sample of documents.

    It prints as a table and a chart with rich, and displays in a notebook. The fields and the
    choice of a storage are those of `StorageResults`.
    """

    def write_html(self, path: str | Path) -> None:
        """Write a self-contained HTML page with the table and the charts.

        Raises:
            OutputError: If the file cannot be written.
        """
        from trivec.insight.rendering.storage_html import storage_page

        page = storage_page(self).encode()
        with written_beside(path) as file:
            file.write(page)

    def __rich__(self) -> RenderableType:
        from trivec.insight.rendering.storage_text import storage_text

        return storage_text(self)

    def _repr_html_(self) -> str:
        from trivec.insight.rendering.storage_html import storage_html

        return storage_html(self)
