"""Questions and relevance judgements from files: BEIR's layout, TREC's, or plain tables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trivec.arguments import expect, shown
from trivec.errors import InvalidOptionError
from trivec.ingestion.sources.encoding import undecodable
from trivec.ingestion.sources.jsonl import json_object
from trivec.ingestion.sources.lines import read_lines
from trivec.ingestion.sources.opening import OpenFile
from trivec.plain import not_json

Qrels = Mapping[str, Mapping[str, int]]
"""For each query the grades of documents; a grade above 0 means relevant."""

_ID_FIELDS = ("_id", "id", "query_id", "query-id", "qid")
_TEXT_FIELDS = ("text", "query", "question")
_QUERY_FIELDS = ("query-id", "query_id", "_id", "id", "qid", "query", "topic")
_DOCUMENT_FIELDS = (
    *("corpus-id", "corpus_id", "doc_id", "doc-id", "document_id", "document-id", "document"),
    *("docid", "docno", "doc"),
)
_MAX_GRADE = 2**31 - 1  # trec_eval has grades of 32 bits
_GRADE_FIELDS = ("score", "relevance", "grade", "rel", "label")
_FIELDS = (_QUERY_FIELDS, _DOCUMENT_FIELDS, _GRADE_FIELDS)


def read_beir(folder: str | Path, *, split: str = "test") -> tuple[dict[str, str], Qrels]:
    """Read `queries.jsonl` and `qrels/SPLIT.tsv` (or `qrels.tsv`) of a folder in BEIR's layout.

    Args:
        folder: The folder.
        split: The name of the judgements, such as "test" or "dev".

    Returns:
        The questions, id to text, and their judgements.

    Raises:
        InvalidOptionError: If a file is missing or malformed.
    """
    root = Path(folder)
    candidates = (root / "qrels" / f"{split}.tsv", root / "qrels.tsv")
    qrels = next((path for path in candidates if path.is_file()), None)
    if qrels is None:
        raise InvalidOptionError(f"there is neither {candidates[0]} nor {candidates[1]}")
    return read_queries(root / "queries.jsonl"), read_qrels(qrels)


def read_queries(path: str | Path) -> dict[str, str]:
    """Read questions.

    The first line decides on the format of the file: JSON Lines (`_id` or `id`, `text` or `query`),
    or a table of id, tab, text, with or without a header that names the two columns. Quotes in a
    table are ordinary characters. The file may be compressed.

    Raises:
        InvalidOptionError: If the file does not exist or holds no question, or a line is malformed.
    """
    queries: dict[str, str] = {}
    for index, (where, row) in enumerate(_rows(path)):
        if isinstance(row, dict):
            id, text = _member(row, _ID_FIELDS, where), _member(row, _TEXT_FIELDS, where)
        else:
            cells = row.split("\t")
            if len(cells) != 2:
                raise InvalidOptionError(
                    f"{where}: expected an id, a tab and a text, got {len(cells) - 1} tabs"
                )
            id, text = cells
            if index == 0 and id in _QUERY_FIELDS and text in _TEXT_FIELDS:  # the header
                continue
        if id in queries:
            raise InvalidOptionError(f"{where}: the query {shown(id)} occurs twice")
        queries[id] = text
    if not queries:
        raise InvalidOptionError(f"{path}: holds no question")
    return queries


def read_qrels(path: str | Path) -> dict[str, dict[str, int]]:
    """Read judgements.

    The first line decides on the format of the file: a table of query, document, grade, as in BEIR;
    a table of query, iteration, document, grade, as in TREC; or JSON objects such as
    `{"query_id": "1", "doc_id": "a", "relevance": 2}`. Columns are separated by tabs, or by blanks
    if the first line has no tab. A header with the names of the columns decides on their order. A
    grade such as 1.0 counts as an integer. The file may be compressed.

    Raises:
        InvalidOptionError: If the file does not exist or holds no judgement, a line is malformed,
            or a document has two different grades.
    """
    qrels: dict[str, dict[str, int]] = {}
    columns: _Columns | None = None
    for where, row in _rows(path):
        if isinstance(row, dict):
            query, document, grade = (_member(row, names, where) for names in _FIELDS)
        else:
            if columns is None:
                columns, is_header = _columns(row, where)
                if is_header:
                    continue
            query, document, grade = columns.cells(row, where)
        value = _integer(grade, where)
        known = qrels.setdefault(query, {}).setdefault(document, value)
        if known != value:
            raise InvalidOptionError(
                f"{where}: query {shown(query)} and document {shown(document)} have the grade "
                f"{value}, and {known} before"
            )
    if not qrels:
        raise InvalidOptionError(f"{path}: holds no judgement")
    return qrels


def checked_grades(qrels: Mapping[Any, Mapping[Any, Any]]) -> dict[str, dict[str, int]]:
    """Return judgements after checking ids and grades; a grade of 1.0 becomes 1.

    Raises:
        InvalidOptionError: If an id is not a string, or a grade not an integer.
    """
    checked: dict[str, dict[str, int]] = {}
    for query, grades in qrels.items():
        where = f"qrels of {shown(query)}"
        for id in (query, *grades):
            if not isinstance(id, str):
                raise InvalidOptionError(f"{where}: the id {shown(id)} is not a string")
        checked[query] = {document: _integer(grade, where) for document, grade in grades.items()}
    return checked


def judged_queries(queries: Mapping[str, str], qrels: Qrels) -> dict[str, str]:
    """Return the questions that have judgements, in the order of `queries`.

    Raises:
        InvalidOptionError: If no question has a judgement, a judged question has no text, or an
            argument has the wrong type.
    """
    expect(queries, Mapping, "queries", "a mapping of ids to questions")
    expect(qrels, Mapping, "qrels", "a mapping of ids of questions to {id of a document: grade}")
    for id, text in queries.items():
        expect(text, str, f"queries[{shown(id)}]", "the text of a question")
    for id, grades in qrels.items():
        expect(grades, Mapping, f"qrels[{shown(id)}]", "a mapping of ids of documents to grades")
    missing = [id for id in qrels if id not in queries]
    if missing:
        raise InvalidOptionError(
            f"{len(missing)} of {len(qrels)} judged queries have no text, {shown(missing[0])} "
            "first; give their texts, or leave their judgements out"
        )
    judged = {id: text for id, text in queries.items() if qrels.get(id)}
    if not judged:
        raise InvalidOptionError("no query has a judgement")
    return judged


@dataclass(frozen=True, slots=True)
class _Columns:
    """The positions of a table's columns, and whether TREC's iteration is among them."""

    tabs: bool
    width: int
    query: int
    document: int
    grade: int
    iteration: bool = False

    def cells(self, line: str, where: str) -> tuple[str, str, str]:
        """Return query, document and grade of a line."""
        cells = _cells(line, tabs=self.tabs)
        if len(cells) != self.width:
            separator = "tabs" if self.tabs else "blanks"
            raise InvalidOptionError(
                f"{where}: expected query, document and grade in {self.width} columns separated "
                f"by {separator}, as in the first line; got {len(cells)}"
            )
        if self.iteration and cells[1].upper() != "Q0" and _number(cells[1]) is None:
            raise InvalidOptionError(
                f"{where}: expected query, iteration, document, grade, as TREC has them; "
                f"the iteration {shown(cells[1])} is not a number"
            )
        return cells[self.query], cells[self.document], cells[self.grade]


def _columns(line: str, where: str) -> tuple[_Columns, bool]:
    """Return the columns according to the first line, and whether it is a header."""
    tabs = "\t" in line
    cells = _cells(line, tabs=tabs)
    positions = [[i for i, cell in enumerate(cells) if cell in names] for names in _FIELDS]
    if all(len(matching) == 1 for matching in positions):
        (query,), (document,), (grade,) = positions
        return _Columns(tabs, len(cells), query, document, grade), True
    if len(cells) not in (3, 4):
        raise InvalidOptionError(
            f"{where}: expected query, document and grade, or TREC's query, iteration, document "
            f"and grade; got {len(cells)} columns"
        )
    if _number(cells[-1]) is None:
        raise InvalidOptionError(
            f"{where}: the grade {shown(cells[-1])} is not an integer; if this line is a header, "
            f"name its columns such as {', '.join(names[0] for names in _FIELDS)}"
        )
    width = len(cells)
    return _Columns(tabs, width, 0, width - 2, width - 1, iteration=width == 4), False


def _cells(line: str, *, tabs: bool) -> list[str]:
    return line.split("\t") if tabs else re.split("[ \t]+", line.strip(" \t"))


def _rows(path: str | Path) -> Iterator[tuple[str, str | dict[str, Any]]]:
    """Yield the lines that are not blank, each as an object if the first one is one."""
    as_json: bool | None = None
    with OpenFile(str(path)) as file:
        for number, line in enumerate(read_lines(file.stream, str(path)), start=1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            if problem := undecodable(line, None):
                raise InvalidOptionError(f"{where}: {problem.partition(';')[0]}; convert the file")
            row: str | dict[str, Any] = line.removesuffix("\r")
            if as_json is None:
                as_json = line.lstrip().startswith("{")
            if as_json:
                try:
                    row = json_object(line)  # as in a table
                except (ValueError, RecursionError) as error:
                    raise InvalidOptionError(f"{where}: {not_json(error)}") from error
            yield where, row


def _number(grade: object) -> float | None:
    try:
        text = str(grade).strip()
        return None if "_" in text else float(text)  # only Python reads 1_0 as a number
    except (ValueError, RecursionError):
        return None


def _integer(grade: object, where: str) -> int:
    value = _number(grade)
    if value is None or not value.is_integer():
        raise InvalidOptionError(f"{where}: the grade {shown(grade)} is not an integer")
    if abs(value) > _MAX_GRADE:
        raise InvalidOptionError(f"{where}: the grade {shown(grade)} is beyond 32 bits")
    return int(value)


def _member(row: Mapping[str, Any], names: tuple[str, ...], where: str) -> str:
    for name in names:
        value = row.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool):
            return str(value)
    raise InvalidOptionError(f"{where}: expected one of {', '.join(map(repr, names))}")
