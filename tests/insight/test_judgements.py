"""Questions and judgements in the layouts that people have."""

from __future__ import annotations

import gzip
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
    [("only words\n", "a tab and a text"), ("1\ta\n1\tb\n", "'1' occurs twice"), ("[]", "a tab")],
)
def test_bad_questions_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "queries"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidOptionError, match=message):
        read_queries(path)
    with pytest.raises(InvalidOptionError, match="there is no file"):
        read_queries(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("q1 0 d1 1\r\nq1  Q0\td2\t0\n", {"q1": {"d1": 1, "d2": 0}}),
        ("1 4.5 005b2j4b 2\n1 5 010vptx3 1", {"1": {"005b2j4b": 2, "010vptx3": 1}}),
        ("q1\t0\ta b\t1\n", {"q1": {"a b": 1}}),
        ('q1\t"a"\t1\nq1\t"b\t0\n', {"q1": {'"a"': 1, '"b': 0}}),
        ("score\tcorpus-id\tquery-id\n2\td\tq\n", {"q": {"d": 2}}),
        ("qid iter docno rel note\nq x d 1 y\n", {"q": {"d": 1}}),
        ("q1\td\t1\nq1\td\t1.0\n", {"q1": {"d": 1}}),
        ("q1\td\u3000x\u00a0y\t1\n", {"q1": {"d\u3000x\u00a0y": 1}}),
        ("q1 d\u3000x 1\n", {"q1": {"d\u3000x": 1}}),
        ("q1\td\t1\rq1\te\t2\r", {"q1": {"d": 1, "e": 2}}),
    ],
)
def test_columns_of_judgements(tmp_path: Path, text: str, expected: object) -> None:
    path = tmp_path / "qrels"
    path.write_text(text, encoding="utf-8", newline="")
    assert read_qrels(path) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q1\td1\t2\t7\n", "line 1: .* as TREC has them; the iteration 'd1' is not a number"),
        ("q1\t0\td1\t2\nq1\ta\t1\tx\n", "line 2: .* the iteration 'a' is not a number"),
        ("q1 a b 2\n", "the iteration 'a' is not a number"),
        ("q1\td\tgood\n", "line 1: the grade 'good' is not an integer; if this line is a header"),
        ("q1\td\t1\nq1\t0\td\t1\n", "line 2: .* in 3 columns separated by tabs.* got 4"),
        ("q1\td\t1\nq1 e 1\n", "line 2: .* got 1"),
        ("q1\td\t1\nq1\td\t2\n", "line 2: query 'q1' and document 'd' have the grade 2, and 1 b"),
        ("q1\td\t1_0\n", "the grade '1_0'"),
        ('{"id": "q", "doc": "d", "score": 1}\nq\td\t1\n', "line 2: not JSON"),
        ('{"id": true, "doc": "d", "score": 1}\n', "expected one of 'query-id'"),
        ('{"id": "q", "id": "r", "doc": "d", "score": 1}\n', "'id' occurs twice"),
        ("query-id\tcorpus-id\tscore\n", "holds no judgement"),
        ("\n", "holds no judgement"),
        ("", "holds no judgement"),
    ],
)
def test_judgements_that_are_not_certain_are_errors(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "qrels"
    path.write_text(text, encoding="utf-8", newline="")
    with pytest.raises(InvalidOptionError, match=message):
        read_qrels(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("query-id\ttext\nq\tx\n", {"q": "x"}),
        ("q\tx\nid\ttext\n", {"q": "x", "id": "text"}),
        ('q\t"what is\np\tb" x\n', {"q": '"what is', "p": 'b" x'}),
        ("q\tone\u2028line\x85\n", {"q": "one\u2028line\x85"}),
        ("q\tx\n{1}\ty\n", {"q": "x", "{1}": "y"}),
    ],
)
def test_tables_of_questions(tmp_path: Path, text: str, expected: object) -> None:
    path = tmp_path / "queries.tsv"
    for pack in (bytes, gzip.compress):
        packed = path.with_suffix(".tsv.gz" if pack is gzip.compress else ".tsv")
        packed.write_bytes(pack(text.encode()))
        assert read_queries(packed) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"q\ttitle\tdescription\n", "line 1: expected an id, a tab and a text, got 2 tabs"),
        (b'{"id": 1, "text": "x"}\n2\ty\n', "line 2: not JSON"),
        (b"", "holds no question"),
        (b"id\ttext\n", "holds no question"),
        ("q\tx\n".encode("utf-16"), "begins like text in UTF-16"),
        (b"PK\x03\x04", "is a zip archive"),
    ],
)
def test_questions_that_are_not_certain_are_errors(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "queries"
    path.write_bytes(content)
    with pytest.raises(InvalidOptionError, match=message):
        read_queries(path)


@pytest.mark.parametrize("read", [read_queries, read_qrels])
def test_another_encoding_is_named(tmp_path: Path, read: Callable[[Path], object]) -> None:
    path = tmp_path / "latin.tsv"
    path.write_bytes("q1\tgrün\t1\n".encode("latin-1"))
    with pytest.raises(InvalidOptionError, match=r"latin\.tsv, line 1: not in UTF-8"):
        read(path)


def test_grades_from_python() -> None:
    assert checked_grades({"q": {"a": 1.0, "b": np.int64(2), "c": -2}}) == {
        "q": {"a": 1, "b": 2, "c": -2}
    }
    for qrels, message in (
        ({"q": {"a": 0.5}}, "qrels of 'q': the grade 0.5 is not an integer"),
        ({"q": {"a": None}}, "the grade None is not an integer"),
        ({"q": {7: 1}}, "the id 7 is not a string"),
        ({7: {"a": 1}}, "the id 7 is not a string"),
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
