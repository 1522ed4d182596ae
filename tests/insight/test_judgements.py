"""Questions and judgements in the layouts that people have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from trivec.errors import InvalidOptionError
from trivec.insight.judgements import (
    checked_grades,
    judged_queries,
    read_beir,
    read_qrels,
    read_queries,
)

EXPECTED = {"q1": {"a b": 2, "c": 0}, "q2": {"c": 1}}


@pytest.mark.parametrize(
    "text",
    [
        "query-id\tcorpus-id\tscore\nq1\ta b\t2\nq1\tc\t0\nq2\tc\t1\n",
        "q1\ta b\t2\nq1\tc\t0\nq2\tc\t1\n",
        "q1\t0\ta b\t2\r\nq1\t0\tc\t0\r\nq2\t0\tc\t1\r\n",
        '{"query_id": "q1", "doc_id": "a b", "relevance": 2}\n\n'
        '{"query-id": "q1", "corpus-id": "c", "score": 0}\n'
        '{"id": "q2", "document": "c", "grade": 1}\n',
        "q1\ta b\t2.0\nq1\tc\t0.0\nq2\tc\t1.0\n",
        ' {"id": "q1", "doc_id": "a b", "score": 2.0}\n'
        '\t{"id": "q1", "doc_id": "c", "score": "0"}\n'
        '{"id": "q2", "doc_id": "c", "score": 1e0}\n',
    ],
)
def test_layouts_of_judgements(tmp_path: Path, text: str) -> None:
    path = tmp_path / "qrels"
    path.write_text(text, encoding="utf-8", newline="")
    assert read_qrels(path) == EXPECTED


def test_trec_with_blanks(tmp_path: Path) -> None:
    path = tmp_path / "qrels.txt"
    path.write_text("1 0 d1 1\n1 0 d2 0\n", encoding="utf-8")
    assert read_qrels(path) == {"1": {"d1": 1, "d2": 0}}


@pytest.mark.parametrize(
    "text",
    [
        '{"_id": "q1", "text": "one?"}\n{"_id": "2", "text": "zwei"}\n',
        '{"id": "q1", "query": "one?"}\n{"id": 2, "question": "zwei"}\n',
        ' {"id": "q1", "query": "one?"}\n\t{"id": 2, "question": "zwei"}\n',
        "\ufeffq1\tone?\n2\tzwei\n",
    ],
)
def test_layouts_of_questions(tmp_path: Path, text: str) -> None:
    path = tmp_path / "queries"
    path.write_text(text, encoding="utf-8")
    assert read_queries(path) == {"q1": "one?", "2": "zwei"}


def test_a_beir_folder(tmp_path: Path) -> None:
    (tmp_path / "queries.jsonl").write_text('{"_id": "1", "text": "x"}\n', encoding="utf-8")
    with pytest.raises(InvalidOptionError, match=r"qrels\.tsv"):
        read_beir(tmp_path)
    (tmp_path / "qrels.tsv").write_text("1\ta\t1\n", encoding="utf-8")
    assert read_beir(tmp_path) == ({"1": "x"}, {"1": {"a": 1}})
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "dev.tsv").write_text("1\tb\t1\n", encoding="utf-8")
    assert read_beir(tmp_path, split="dev")[1] == {"1": {"b": 1}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q1\ta\t1\nq1\tb\tgood\n", "line 2: the grade 'good'"),
        ("q1\ta\t1\njust words here and more\n", "line 2: expected query"),
        ("q1\ta\t1.5\nq1\tb\t1\n", "line 1: the grade '1.5'"),
        ("q1\ta\tnan\n", "line 1: the grade 'nan'"),
        ('{"id": "q1", "doc_id": "a", "grade": "good"}\n', "line 1: the grade 'good'"),
        ("{\n", "line 1: not JSON"),
        ('{"id": "q1", "grade": 1}\n', "'corpus-id'"),
    ],
)
def test_bad_judgements_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "qrels"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidOptionError, match=message):
        read_qrels(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [("only words\n", "a tab and a text"), ("1\ta\n1\tb\n", "'1' is there twice"), ("[]", "a tab")],
)
def test_bad_questions_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "queries"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidOptionError, match=message):
        read_queries(path)
    with pytest.raises(InvalidOptionError, match="there is no file"):
        read_queries(tmp_path / "nothing")


@pytest.mark.parametrize("read", [read_queries, read_qrels])
def test_another_encoding_is_named(tmp_path: Path, read: Callable[[Path], object]) -> None:
    path = tmp_path / "latin.tsv"
    path.write_bytes("q1\tgrün\t1\n".encode("latin-1"))
    with pytest.raises(InvalidOptionError, match=r"latin\.tsv: not in UTF-8"):
        read(path)


def test_grades_from_python() -> None:
    assert checked_grades({"q": {"a": 1.0, "b": np.int64(2), "c": -2}}) == {
        "q": {"a": 1, "b": 2, "c": -2}
    }
    for qrels, message in (
        ({"q": {"a": 0.5}}, "qrels of 'q': the grade 0.5 is no integer"),
        ({"q": {"a": None}}, "the grade None is no integer"),
        ({"q": {7: 1}}, "the id 7 is no string"),
        ({7: {"a": 1}}, "the id 7 is no string"),
    ):
        with pytest.raises(InvalidOptionError, match=message):
            checked_grades(qrels)


def test_only_judged_questions_are_asked() -> None:
    queries = {"b": "B", "a": "A", "c": "C"}
    assert list(judged_queries(queries, {"a": {"x": 1}, "b": {"x": 1}, "c": {}})) == ["b", "a"]
    with pytest.raises(InvalidOptionError, match="1 of 2 judged queries have no text, 'z' first"):
        judged_queries(queries, {"a": {"x": 1}, "z": {"x": 1}})
    with pytest.raises(InvalidOptionError, match="no query has a judgement"):
        judged_queries(queries, {})
