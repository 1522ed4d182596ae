"""The long documents of the benchmark: their answers are where they say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from joined_documents import LEAST, MOST, Answer, finds, groups, joined, read

TEXTS = {f"s{i}": f"Sentence {i} says {i * i}." for i in range(400)}
QUESTIONS = {"q": "What says 9?", "r": "What says 250000?"}
QRELS = {"q": {"s3": 1, "s4": 0}, "r": {"s7": 2, "s399": 1}}


def words(text: str) -> int:
    return 10 * len(text.split())


@pytest.mark.parametrize("separator", [" ", "", "\n\n"])
def test_answers_are_the_judged_texts(separator: str) -> None:
    collection = joined(TEXTS, QUESTIONS, QRELS, words, separator)
    texts = {document.id: document.text for document in collection.documents}
    assert separator.join(texts.values()) == separator.join(TEXTS.values())
    shown = {
        question: [texts[answer.document][answer.start : answer.end] for answer in answers]
        for question, answers in collection.answers.items()
    }
    assert shown == {"q": [TEXTS["s3"]], "r": [TEXTS["s7"], TEXTS["s399"]]}
    assert collection.qrels()["r"].keys() == {"long-0", collection.documents[-1].id}


@pytest.mark.parametrize("length", [1, 40, 900, 2300])
def test_documents_have_1000_to_6000_tokens(length: int) -> None:
    lengths = [length] * (60_000 // length)
    ranges = groups(lengths)
    assert [first for first, _ in ranges] == [0, *(stop for _, stop in ranges[:-1])]
    assert ranges[-1][1] == len(lengths)
    assert all(LEAST <= length * (stop - first) <= MOST for first, stop in ranges)


def test_an_answer_is_found_by_half_of_the_shorter() -> None:
    answer = Answer("a", 100, 200)
    assert finds(answer, 150, 400)
    assert not finds(answer, 151, 400)
    assert finds(answer, 190, 210)  # a short passage
    assert not finds(answer, 191, 211)
    assert finds(answer, 0, 1000)
    assert not finds(answer, 200, 300)


def test_a_folder_is_read(tmp_path: Path) -> None:
    for name, separator in (("xquad-r-zh", ""), ("xquad-r-en", " ")):
        folder = tmp_path / name
        folder.mkdir()
        rows = [{"_id": id, "title": "", "text": text} for id, text in TEXTS.items()]
        (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
        (folder / "queries.jsonl").write_text('{"_id": "q", "text": "?"}\n', "utf-8")
        (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq\ts3\t1\n", "utf-8")
        collection = read(folder, words)
        first = TEXTS["s0"] + separator + TEXTS["s1"]
        assert collection.documents[0].text.startswith(first)
        assert collection.answers["q"][0].start == len(separator.join([*TEXTS.values()][:3])) + len(
            separator
        )
