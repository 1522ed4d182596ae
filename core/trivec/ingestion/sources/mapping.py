"""Documents of the records of one file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain

from trivec.document import Document
from trivec.errors import InvalidDocumentError
from trivec.ingestion.report import Rejected
from trivec.ingestion.sources.encoding import visible
from trivec.ingestion.sources.members import path_of
from trivec.ingestion.sources.options import SourceOptions
from trivec.ingestion.sources.records import Records, Row, json_of
from trivec.ingestion.sources.shape import METADATA, Shape

MAX_AHEAD = 100
"""The maximum rows that are read before the first document, to find members that options name."""

_Numbered = tuple[int, Row]


@dataclass(slots=True, kw_only=True)
class FileMapper:
    """Makes documents of the records of one file.

    Args:
        options: The options of the source.
        path: The file in the positions of rejects.
        name: The file in ids that are made of rows: its name, or its path below the source.
        format: The format of the file.
        report: Called with what was recognised, and with columns whose values change.

    Attributes:
        row (Row | None): The row of the last document.
    """

    options: SourceOptions
    path: str
    name: str
    format: str
    report: Callable[[str], None]
    row: Row | None = field(default=None, init=False)

    def documents(self, records: Records) -> Iterator[Document | Rejected]:
        """Yield each row as a document, or as a `Rejected`.

        Raises:
            InvalidDocumentError: If the file has columns and none is the id or the text.
            InvalidOptionError: If none of the first rows has a member that an option names.
        """
        if records.columns is not None and not records.columns:
            return
        if records.note:
            self.report(records.note)
        rows = enumerate(records.rows, start=1)
        ahead, failure = _ahead(rows, self.options, records.columns)
        shape = None if records.columns is None else self._of_columns(records, ahead)
        for number, row in chain(ahead, rows if failure is None else ()):
            if row.values is None:
                yield self._rejected(row, row.problem)
                continue
            try:
                if shape is None:
                    later = [each for each in ahead if each[0] >= number] or [(number, row)]
                    shape = self._shape(None, later)
                document = shape.document(row.values, number)
            except InvalidDocumentError as error:
                yield self._rejected(row, str(error))
            else:
                self.row = row
                yield document
        if failure is not None:
            raise failure

    def _of_columns(self, records: Records, ahead: list[_Numbered]) -> Shape:
        try:
            return self._shape(records.columns, ahead)
        except InvalidDocumentError as error:
            where = f"{self.path}, {records.header}" if records.header else self.path
            raise InvalidDocumentError(f"{where}: {error}") from error

    def _shape(self, columns: tuple[str, ...] | None, rows: list[_Numbered]) -> Shape:
        head = [row.values for _, row in rows if row.values is not None]
        return Shape.resolve(
            self.options, columns, head, format=self.format, file=self.name, report=self.report
        )

    def position(self, row: Row) -> str:
        """Return the file and the line of a row."""
        return visible(f"{self.path}, {row.where}" if row.where else self.path)

    def _rejected(self, row: Row, problem: str) -> Rejected:
        content = json_of(row.values) if row.values and not row.content else visible(row.content)
        return Rejected(self.position(row), problem, content, readable=False)


def _ahead(
    rows: Iterator[_Numbered], options: SourceOptions, columns: tuple[str, ...] | None
) -> tuple[list[_Numbered], Exception | None]:
    """Return the first rows, up to one in which all members are that options name.

    An error that ends the file comes back beside the rows before it.
    """
    wanted = _wanted(options) if columns is None else set[str]()
    ahead: list[_Numbered] = []
    names: dict[str, None] = {}
    readable = False
    try:
        for number, row in rows:
            ahead.append((number, row))
            if row.values is not None:
                readable = True
                names |= dict.fromkeys(row.values)
                if isinstance(inner := row.values.get(METADATA), Mapping):
                    names |= dict.fromkeys(inner)
                wanted -= {name for name in wanted if path_of(name, names)}
            if (readable and not wanted) or len(ahead) == MAX_AHEAD:
                break
    except Exception as error:  # it is raised after the rows before it
        return ahead, error
    return ahead, None


def _wanted(options: SourceOptions) -> set[str]:
    """Return the members that one of the first rows must have."""
    names = {*(options.keep or ()), *options.drop, *options.rename}
    texts = options.text_names or ()
    if options.text is not None or len(texts) > 1:
        names |= set(texts)
    return names
