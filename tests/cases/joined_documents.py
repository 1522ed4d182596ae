"""Long documents with known answers, joined from short judged texts.

The sources are collections in BEIR's layout whose short texts answer the questions: the sentences
of XQuAD-R, or the abstracts of SciFact (title and text). Consecutive texts are joined to a document
until it has as many tokens as the next of `SIZES`, which are taken in turn, so that documents have
1,000 to 6,000 tokens. The answers to a question are the texts that are judged relevant, as ranges
of characters of the documents, and the documents that hold one are relevant. Of SciFact, the judged
abstracts and every fiftieth of the others are taken, in the order of the file. Nothing is random.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trivec import Document
from trivec.insight.judgements import Qrels, read_beir

SIZES = (1100, 2000, 1300, 3200, 1600, 4800)
LEAST, MOST = 1000, 6000
EVERY = 50  # of the abstracts that answer nothing


@dataclass(frozen=True, slots=True)
class Answer:
    """The part of a document that answers a question: the characters `start` to `end`."""

    document: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class LongDocuments:
    """Long documents, questions, and for each question the parts that answer it."""

    documents: list[Document]
    questions: dict[str, str]
    answers: dict[str, list[Answer]]

    def qrels(self) -> dict[str, dict[str, int]]:
        """Return the documents that hold an answer, for each question."""
        return {id: {a.document: 1 for a in answers} for id, answers in self.answers.items()}


def read(folder: Path, count: Callable[[str], int]) -> LongDocuments:
    """Build the long documents of a folder in BEIR's layout.

    Args:
        folder: The folder; its name says how its texts are joined.
        count: Returns the number of tokens of a text.
    """
    questions, qrels = read_beir(folder)
    texts = dict(_corpus(folder / "corpus.jsonl"))
    if folder.name == "scifact":
        judged = {id for grades in qrels.values() for id in grades}
        others = [id for id in texts if id not in judged]
        kept = judged.union(others[::EVERY])
        texts = {id: text for id, text in texts.items() if id in kept}
    return joined(texts, questions, qrels, count, between(folder.name))


def between(name: str) -> str:
    """Return what stands between two joined texts of a collection."""
    if name == "scifact":
        return "\n\n"
    return "" if name.endswith("-zh") else " "


def joined(
    texts: dict[str, str],
    questions: dict[str, str],
    qrels: Qrels,
    count: Callable[[str], int],
    separator: str,
) -> LongDocuments:
    """Join short texts to long documents.

    Args:
        texts: The texts by id, in their order.
        questions: The questions by id.
        qrels: The texts that answer each question.
        count: Returns the number of tokens of a text.
        separator: What stands between two texts.
    """
    ids = list(texts)
    documents: list[Document] = []
    places: dict[str, Answer] = {}
    for first, stop in groups([count(text) for text in texts.values()]):
        document, text = f"long-{len(documents)}", ""
        for id in ids[first:stop]:
            text += separator if text else ""
            places[id] = Answer(document, len(text), len(text) + len(texts[id]))
            text += texts[id]
        documents.append(Document(document, text))
    answers = {
        question: [places[id] for id, grade in grades.items() if grade > 0]
        for question, grades in qrels.items()
    }
    return LongDocuments(documents, questions, answers)


def groups(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Return ranges of consecutive texts that make a document together.

    A document ends before the text with which it would have more than `MOST` tokens. What is left
    at the end, if it is less than `LEAST` tokens, belongs to the document before it.

    >>> groups([600, 600, 500, 900, 700, 300])
    [(0, 2), (2, 6)]
    """
    ranges: list[tuple[int, int]] = []
    first = size = 0
    for index, length in enumerate(lengths):
        if size and size + length > MOST:
            ranges.append((first, index))
            first, size = index, 0
        size += length
        if size >= SIZES[len(ranges) % len(SIZES)]:
            ranges.append((first, index + 1))
            first, size = index + 1, 0
    if size:
        start = ranges.pop()[0] if ranges and size < LEAST else first
        ranges.append((start, len(lengths)))
    return ranges


def finds(answer: Answer, start: int, end: int) -> bool:
    """Return whether a passage shows an answer: half of the shorter of both lies in the other."""
    shared = min(answer.end, end) - max(answer.start, start)
    return 2 * shared >= min(answer.end - answer.start, end - start) > 0


def _corpus(path: Path) -> Iterator[tuple[str, str]]:
    for line in path.read_text("utf-8").splitlines():
        row = json.loads(line)
        yield row["_id"], f"{row.get('title', '')} {row['text']}".strip()
