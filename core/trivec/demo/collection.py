"""The demo collection: short facts in eleven languages, questions, and graded judgements."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trivec.document import Document

FOLDER = Path(__file__).parent / "collection"

FIELDS: dict[str, type] = {"lang": str, "topic": str, "year": int}
"""The metadata that the demo declares for filters."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question with what it tests: "exact", "meaning", "cross-lingual" or "plain"."""

    id: str
    text: str
    lang: str
    kind: str


@dataclass(frozen=True, slots=True)
class DemoCollection:
    """The documents, the questions, and for each question the grade of the documents that fit."""

    documents: list[Document]
    questions: list[Question]
    qrels: dict[str, dict[str, int]]


def load_collection() -> DemoCollection:
    """Read the collection that comes with trivec."""
    documents = [
        Document(row["id"], row["text"], row["metadata"]) for row in _rows("passages.jsonl")
    ]
    questions = [
        Question(row["id"], row["text"], row["lang"], row["kind"])
        for row in _rows("questions.jsonl")
    ]
    qrels: dict[str, dict[str, int]] = {}
    for line in _lines("qrels.tsv"):
        question, _, document, grade = line.split("\t")
        qrels.setdefault(question, {})[document] = int(grade)
    return DemoCollection(documents, questions, qrels)


def _rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _lines(name)]


def _lines(name: str) -> list[str]:
    # str.splitlines would also split at what a text may hold, such as U+2028.
    return (FOLDER / name).read_text(encoding="utf-8").rstrip("\n").split("\n")
