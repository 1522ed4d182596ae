"""The demo collection is complete and consistent."""

import json
import re
from pathlib import Path

import pytest

import trivec.demo

COLLECTION = Path(trivec.demo.__file__).parent / "collection"
KINDS = {"meaning", "exact", "cross-lingual", "plain"}

# A code is a word with a digit in it: P0302, BR-163, 40P01, 6205.
CODE = re.compile(r"[\w-]*\d[\w-]*")


def read_lines(name: str) -> list[dict[str, object]]:
    lines = (COLLECTION / name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def passages() -> dict[str, dict[str, object]]:
    return {str(passage["id"]): passage for passage in read_lines("passages.jsonl")}


@pytest.fixture(scope="module")
def questions() -> dict[str, dict[str, object]]:
    return {str(question["id"]): question for question in read_lines("questions.jsonl")}


@pytest.fixture(scope="module")
def judgements() -> list[tuple[str, str, int]]:
    lines = (COLLECTION / "qrels.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines]
    assert all(len(row) == 4 and row[1] == "0" for row in rows)
    return [(question, passage, int(grade)) for question, _, passage, grade in rows]


def language(passage: dict[str, object]) -> str:
    metadata = passage["metadata"]
    assert isinstance(metadata, dict)
    return str(metadata["lang"])


@pytest.mark.parametrize("name", ["passages.jsonl", "questions.jsonl"])
def test_ids_are_unique_slugs(name: str) -> None:
    ids = [str(row["id"]) for row in read_lines(name)]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*-\d\d", identifier) for identifier in ids)


def test_no_text_occurs_twice(passages: dict[str, dict[str, object]]) -> None:
    assert len({str(passage["text"]) for passage in passages.values()}) == len(passages)


def test_passages_have_the_same_fields(passages: dict[str, dict[str, object]]) -> None:
    for identifier, passage in passages.items():
        assert set(passage) == {"id", "text", "metadata"}, identifier
        metadata = passage["metadata"]
        assert isinstance(metadata, dict)
        assert {"lang", "topic"} <= set(metadata) <= {"lang", "topic", "year"}, identifier
        assert identifier.startswith(f"{metadata['lang']}-{metadata['topic']}-")
        assert isinstance(metadata.get("year", 0), int)


def test_the_collection_is_large_and_multilingual(
    passages: dict[str, dict[str, object]], questions: dict[str, dict[str, object]]
) -> None:
    assert len(passages) >= 300
    assert len({language(passage) for passage in passages.values()}) >= 8
    assert len(questions) >= 60


def test_every_kind_of_question_is_there(questions: dict[str, dict[str, object]]) -> None:
    assert {question["kind"] for question in questions.values()} == KINDS


def test_judgements_name_what_exists(
    passages: dict[str, dict[str, object]],
    questions: dict[str, dict[str, object]],
    judgements: list[tuple[str, str, int]],
) -> None:
    assert {passage for _, passage, _ in judgements} <= set(passages)
    assert {grade for _, _, grade in judgements} == {1, 2}
    assert len({(question, passage) for question, passage, _ in judgements}) == len(judgements)
    answered = {question for question, _, grade in judgements if grade == 2}
    assert answered == set(questions), "every question has an answer, and no other is judged"


def test_exact_questions_hold_a_code_that_their_answers_hold(
    passages: dict[str, dict[str, object]],
    questions: dict[str, dict[str, object]],
    judgements: list[tuple[str, str, int]],
) -> None:
    for question, passage, grade in judgements:
        if questions[question]["kind"] == "exact" and grade == 2:
            asked = set(CODE.findall(str(questions[question]["text"])))
            assert asked & set(CODE.findall(str(passages[passage]["text"]))), question


def test_cross_lingual_questions_have_no_answer_in_their_own_language(
    passages: dict[str, dict[str, object]],
    questions: dict[str, dict[str, object]],
    judgements: list[tuple[str, str, int]],
) -> None:
    for question, passage, _ in judgements:
        if questions[question]["kind"] == "cross-lingual":
            assert language(passages[passage]) != questions[question]["lang"], question
