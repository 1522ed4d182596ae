"""Questions and relevance judgements from files: BEIR's layout, TREC's, or plain tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trivec.errors import InvalidOptionError

__all__ = ["Qrels", "checked_grades", "judged_queries", "read_beir", "read_qrels", "read_queries"]

Qrels = Mapping[str, Mapping[str, int]]
"""For each query the grades of documents; above 0 is relevant."""

_ID_FIELDS = ("_id", "id", "query_id", "query-id")
_TEXT_FIELDS = ("text", "query", "question")
_DOCUMENT_FIELDS = ("corpus-id", "doc_id", "document_id", "document", "docid")
_GRADE_FIELDS = ("score", "relevance", "grade")


def read_beir(folder: str | Path, *, split: str = "test") -> tuple[dict[str, str], Qrels]:
    """Read `queries.jsonl` and `qrels/SPLIT.tsv` (or `qrels.tsv`) of a folder in BEIR's layout.

    Args:
        folder: The folder.
        split: Which judgements, such as "test" or "dev".

    Returns:
        The questions, id to text, and their judgements.

    Raises:
        InvalidOptionError: If a file is missing or cannot be understood.
    """
    root = Path(folder)
    candidates = (root / "qrels" / f"{split}.tsv", root / "qrels.tsv")
    qrels = next((path for path in candidates if path.is_file()), None)
    if qrels is None:
        raise InvalidOptionError(f"there is neither {candidates[0]} nor {candidates[1]}")
    return read_queries(root / "queries.jsonl"), read_qrels(qrels)


def read_queries(path: str | Path) -> dict[str, str]:
    """Read questions: JSON Lines (`_id` or `id`, `text` or `query`), or id, tab, text.

    Raises:
        InvalidOptionError: If there is no such file, or a line is something else.
    """
    queries: dict[str, str] = {}
    for where, line in _lines(path):
        if _is_object(line):
            row = _object(line, where)
            one, text = _member(row, _ID_FIELDS, where), _member(row, _TEXT_FIELDS, where)
        else:
            one, tab, text = line.partition("\t")
            if not tab:
                raise InvalidOptionError(f"{where}: expected an id, a tab and a text")
        if str(one) in queries:
            raise InvalidOptionError(f"{where}: the query {str(one)!r} is there twice")
        queries[str(one)] = str(text)
    return queries


def read_qrels(path: str | Path) -> dict[str, dict[str, int]]:
    """Read judgements.

    A line is one of: BEIR's query, document, grade; TREC's query, 0, document, grade; both
    separated by tabs (TREC's also by blanks), with or without a head; or a JSON object such as
    `{"query_id": "1", "doc_id": "a", "relevance": 2}`. A grade such as 1.0 counts as an integer.

    Raises:
        InvalidOptionError: If there is no such file, or a line is something else.
    """
    qrels: dict[str, dict[str, int]] = {}
    for number, (where, line) in enumerate(_lines(path)):
        if table := not _is_object(line):
            cells = line.split("\t") if "\t" in line else line.split()
            if len(cells) not in (3, 4):
                raise InvalidOptionError(f"{where}: expected query, document and grade")
            query, document, grade = cells[0], cells[-2], cells[-1]
        else:
            row = _object(line, where)
            fields = (_ID_FIELDS, _DOCUMENT_FIELDS, _GRADE_FIELDS)
            query, document, grade = (str(_member(row, names, where)) for names in fields)
        value = _number(grade)
        if value is None and table and number == 0:  # the head
            continue
        qrels.setdefault(query, {})[document] = _integer(value, grade, where)
    return qrels


def checked_grades(qrels: Mapping[Any, Mapping[Any, Any]]) -> dict[str, dict[str, int]]:
    """Return judgements whose ids are strings and whose grades are integers, as 1 for 1.0.

    Raises:
        InvalidOptionError: If an id is no string, or a grade no integer.
    """
    checked: dict[str, dict[str, int]] = {}
    for query, grades in qrels.items():
        where = f"qrels of {query!r}"
        for one in (query, *grades):
            if not isinstance(one, str):
                raise InvalidOptionError(f"{where}: the id {one!r} is no string")
        checked[query] = {
            document: _integer(_number(grade), grade, where) for document, grade in grades.items()
        }
    return checked


def judged_queries(queries: Mapping[str, str], qrels: Qrels) -> dict[str, str]:
    """Return the questions that have judgements, in the order of `queries`.

    Raises:
        InvalidOptionError: If there is none, or a judged question has no text.
    """
    missing = [one for one in qrels if one not in queries]
    if missing:
        raise InvalidOptionError(
            f"{len(missing)} of {len(qrels)} judged queries have no text, {missing[0]!r} first; "
            "give their texts, or leave their judgements out"
        )
    judged = {one: text for one, text in queries.items() if qrels.get(one)}
    if not judged:
        raise InvalidOptionError("no query has a judgement")
    return judged


def _lines(path: str | Path) -> Iterator[tuple[str, str]]:
    file = Path(path)
    if not file.is_file():
        raise InvalidOptionError(f"there is no file {str(path)!r}")
    with file.open(encoding="utf-8-sig") as lines:
        try:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield f"{path}, line {number}", line.rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise InvalidOptionError(f"{path}: not in UTF-8: {error.reason}") from error


def _is_object(line: str) -> bool:
    return line.lstrip().startswith("{")


def _number(grade: object) -> float | None:
    try:
        return float(str(grade))
    except ValueError:
        return None


def _integer(value: float | None, grade: object, where: str) -> int:
    if value is None or not value.is_integer():
        raise InvalidOptionError(f"{where}: the grade {grade!r} is no integer")
    return int(value)


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line, parse_float=str)  # as they are written, like the cells of a table
    except json.JSONDecodeError as error:
        raise InvalidOptionError(f"{where}: not JSON: {error}") from error
    if not isinstance(row, dict):
        raise InvalidOptionError(f"{where}: expected an object")
    return row


def _member(row: Mapping[str, Any], names: tuple[str, ...], where: str) -> str | int:
    for name in names:
        if isinstance(row.get(name), str | int):
            value: str | int = row[name]
            return value
    raise InvalidOptionError(f"{where}: expected one of {', '.join(map(repr, names))}")
