"""What of a record becomes id, text and metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from trivec import Document
from trivec.errors import InvalidDocumentError, InvalidOptionError
from trivec.ingestion.report import Rejected
from trivec.ingestion.sources import Source, SourceOptions
from trivec.ingestion.sources.shape import Shape

ROW = {"id": "a", "title": "Whales", "text": "The blue whale", "lang": "en", "n": 7}


def shape(*head: Mapping[str, Any], columns: Sequence[str] | None = None, **options: Any) -> Shape:
    return Shape.resolve(
        SourceOptions(**options), columns, head, format="jsonl", file="a.jsonl", report=print
    )


def document(row: Mapping[str, Any], **options: Any) -> Document:
    return shape(row, **options).document(row, 3)


def source(path: Path, *rows: Mapping[str, Any], **options: Any) -> Source:
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return Source(path, **options)


# --- texts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "text", "metadata"),
    [
        ({}, "The blue whale", {"title": "Whales", "lang": "en", "n": 7}),
        ({"text_field": "title"}, "Whales", {"text": "The blue whale", "lang": "en", "n": 7}),
        (
            {"text_field": ["title", "text"]},
            "Whales\nThe blue whale",
            {"title": "Whales", "lang": "en", "n": 7},
        ),
        (
            {"text": "{title}: {text} ({n}) {{}}"},
            "Whales: The blue whale (7) {}",
            {"title": "Whales", "lang": "en", "n": 7},
        ),
    ],
)
def test_texts_of_members(options: dict[str, Any], text: str, metadata: dict[str, Any]) -> None:
    assert document(ROW, **options) == Document("a", text, metadata)


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"title": "T", "text": ""}, "T"),
        ({"title": "", "text": "x"}, "x"),
        ({"title": None, "text": "x"}, "x"),
        ({"text": "x"}, "x"),
        ({"title": "T"}, "T"),
        ({"title": "", "text": ""}, ""),
        ({"title": ["A.", "B."], "text": 7.0}, "A.\nB.\n7"),
    ],
)
def test_missing_and_empty_members_are_left_out(row: dict[str, Any], text: str) -> None:
    made = shape(ROW, text_field=["title", "text"])
    assert made.document({"id": "a", **row}).text == text


@pytest.mark.parametrize("row", [{}, {"title": None}, {"title": None, "text": float("nan")}])
def test_one_member_of_the_text_must_be_there(row: dict[str, Any]) -> None:
    for options in ({"text_field": ["title", "text"]}, {"text": "{title}\n{text}"}):
        made = shape(ROW, **options)
        with pytest.raises(InvalidDocumentError, match="expected an object with 'id' and 'title'"):
            made.document({"id": "a", **row})


def test_texts_of_objects() -> None:
    row = {"id": 1, "doc": {"text": "x", "lang": "en"}, "by": {"name": "M"}, "by.name": "N"}
    assert document(row, text_field="doc.text", keep=["doc"]) == Document(
        "1", "x", {"doc": {"lang": "en"}}
    )
    # The name of a member comes before a path.
    assert document(row, text="{by.name}: {doc.text}", keep=[]) == Document("1", "N: x")


@pytest.mark.parametrize("value", [None, 7, True, {"a": 1}, [1], float("nan")])
def test_a_single_text_must_be_text(value: object) -> None:
    with pytest.raises(InvalidDocumentError, match="text"):
        shape(ROW).document({"id": "a", "text": value})


@pytest.mark.parametrize(
    "options",
    [{"text_field": ["titel", "text"]}, {"text": "{titel}\n{text}"}, {"text": "{titel}"}],
)
def test_a_wrong_name_in_a_text_is_an_error(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidOptionError, match="there is no member 'titel', only 'id', 'title'"):
        list(source(tmp_path / "a.jsonl", ROW, ROW, **options))


def test_a_member_of_the_text_may_come_later(tmp_path: Path) -> None:
    rows = [{"id": 1, "text": "x"}, {"id": 2, "text": "y", "title": "T"}]
    read = source(tmp_path / "a.jsonl", *rows, text_field=["title", "text"]).documents()
    assert [document.text for document in read] == ["x", "T\ny"]


# --- ids ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("id", "made"),
    [
        *((7, "7"), (7.0, "7"), (Decimal("7.0"), "7"), (np.int64(7), "7"), (np.float64(7), "7")),
        *((2**70, str(2**70)), (b"a-\xc3\xa9", "a-é"), (UUID(int=1), str(UUID(int=1)))),
        *((np.str_("a"), "a"), ("7.0", "7.0"), (-3, "-3")),
    ],
)
def test_ids_become_text(id: object, made: str) -> None:
    assert document({"id": id, "text": "x"}) == Document(made, "x")


@pytest.mark.parametrize(
    ("id", "problem"),
    [
        (True, "document id True is a bool"),
        (None, "there is no id: it is None"),
        (float("nan"), "there is no id: it is nan"),
        (np.datetime64("NaT"), "there is no id"),
        ("", "document id '' takes 0 bytes"),
        (1.5, "document id 1.5 is a float"),
        (1e17, "document id 1e+17 is a float"),
        (b"\xff", "it is binary and no text"),
        ([1], "is a list, expected text or an integer"),
        ({"$oid": "x"}, "is an object; name the member of it that is the id"),
    ],
)
def test_what_is_no_id_is_rejected_with_the_reason(id: object, problem: str) -> None:
    with pytest.raises(InvalidDocumentError) as error:
        shape(ROW).document({"id": id, "text": "x"})
    assert problem in str(error.value)


def test_an_id_inside_an_object() -> None:
    row = {"_id": {"$oid": "65f"}, "text": "x"}
    assert document(row, id_field="_id.$oid") == Document("65f", "x")


def test_names_ignore_case_and_blanks_if_one_fits() -> None:
    row = {" ID ": 1, "TEXT": "x", "Lang": "en"}
    assert document(row) == Document("1", "x", {"Lang": "en"})
    assert document(row, rename={"lang": "language"}).metadata == {"language": "en"}
    assert document({**row, "id": 2}) == Document("2", "x", {" ID ": 1, "Lang": "en"})
    with pytest.raises(InvalidDocumentError, match="expected an object with 'id', found 'ID', 'I"):
        shape({"ID": 1, "Id": 2, "text": "x"})


def test_ids_of_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "x", "id": 7}\n{"text"\n\n{"text": "x"}\n', encoding="utf-8")
    for _ in range(2):
        first, bad, last = Source(path, id="row")
        assert first == Document("a.jsonl:1", "x", {"id": 7})
        assert isinstance(bad, Rejected)
        assert last == Document("a.jsonl:3", "x")  # a blank line is no row


def test_ids_by_hash() -> None:
    rows = [{"text": "x", "n": 1, "m": 2}, {"m": 2, "n": 1, "text": "x"}, {"text": "x", "n": 2}]
    first, same, other = (document(row, id="hash") for row in rows)
    assert first == same
    assert first.id != other.id
    # Stored collections depend on it.
    assert document({"text": "x"}, id="hash").id == "5e2e6304ccd7d43721128be8043ab89d"
    # The length of the text keeps it apart from the metadata.
    texts = [document({"text": text}, id="hash").id for text in ("", "{}", "0\n{}")]
    assert len(set(texts)) == 3


# --- metadata ----------------------------------------------------------------------------------

NESTED = {"id": "a", "text": "x", "metadata": {"lang": "en", "by": {"name": "M", "id": 1}}}
FLAT = {"id": "a", "text": "x", "lang": "en", "by": {"name": "M", "id": 1}}


@pytest.mark.parametrize("row", [NESTED, FLAT])
@pytest.mark.parametrize(
    ("options", "metadata"),
    [
        ({"keep": ["lang"]}, {"lang": "en"}),
        ({"keep": []}, {}),
        ({"keep": ["by.name", "LANG"]}, {"lang": "en", "by": {"name": "M"}}),
        ({"drop": ["by"]}, {"lang": "en"}),
        ({"drop": ["by.id"]}, {"lang": "en", "by": {"name": "M"}}),
        ({"rename": {"lang": "l"}, "drop": ["by"]}, {"l": "en"}),
        ({"rename": {"lang": "by", "by": "lang"}}, {"by": "en", "lang": {"name": "M", "id": 1}}),
        ({"rename": {"by.name": "author"}, "keep": ["lang"]}, {"lang": "en", "author": "M"}),
        ({"rename": {"lang": "by.lang"}}, {"by": {"name": "M", "id": 1, "lang": "en"}}),
        ({"rename": {"by": "x.y"}, "keep": []}, {"x": {"y": {"name": "M", "id": 1}}}),
    ],
)
def test_metadata_by_choice(
    row: dict[str, Any], options: dict[str, Any], metadata: dict[str, Any]
) -> None:
    before = json.dumps(row)
    assert document(row, **options).metadata == metadata
    assert json.dumps(row) == before


@pytest.mark.parametrize("row", [NESTED, FLAT])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": ["language"]}, "keep: there is no metadata 'language', only 'lang', 'by'"),
        ({"drop": ["by.day"]}, "drop: there is no metadata 'by.day', only 'lang', 'by'"),
        ({"rename": {"x": "y"}}, "rename: there is no metadata 'x', only 'lang', 'by'"),
        ({"rename": {"lang": "by"}}, "rename: 'lang' cannot be named 'by', since there is a"),
        ({"rename": {"by": "lang.x"}}, "rename: 'by' cannot be named 'lang.x'"),
    ],
)
def test_wrong_names_list_what_is_there(
    row: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidOptionError) as error:
        shape(row, **options)
    assert message in str(error.value)


def test_a_name_may_be_missing_in_later_rows_and_in_the_first(tmp_path: Path) -> None:
    rows = [{"id": n, "text": "x", **({} if n % 3 else {"a": n})} for n in range(1, 200)]
    read = list(source(tmp_path / "a.jsonl", *rows, rename={"a": "b"}).documents())
    assert [document.metadata for document in read[:3]] == [{}, {}, {"b": 3}]
    rows = [{"id": n, "text": "x"} for n in range(1, 200)]
    with pytest.raises(InvalidOptionError, match="keep: there is no metadata 'a', only none"):
        list(source(tmp_path / "a.jsonl", *rows, keep=["a"]).documents())


def test_a_later_row_may_have_the_new_name() -> None:
    made = shape(FLAT, rename={"lang": "language"})
    with pytest.raises(InvalidDocumentError, match="cannot be named 'language'"):
        made.document({**FLAT, "language": "German"})


def test_a_title_beside_an_object_of_metadata() -> None:
    row = {"id": 1, "title": "T", "text": "x", "metadata": {"lang": "en"}}
    options = {"text_field": ["title", "text"]}
    assert document(row, **options) == Document("1", "T\nx", {"title": "T", "lang": "en"})
    bare = {"id": 1, "title": "T", "text": "x", "metadata": None}
    assert shape(row, **options).document(bare) == Document("1", "T\nx", {"title": "T"})
    made = shape(row, **options)
    made.document(row)
    with pytest.raises(InvalidDocumentError, match="'n' stands beside 'metadata'"):
        made.document({**row, "n": 1})


# --- what is there -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"_id": 1, "headline": "T", "body": "x"},
            "expected an object with 'id' and 'text', found '_id', 'headline', 'body'; "
            "try id_field='_id', text_field='body' (--id-field _id --text-field body)",
        ),
        (
            {"Doc ID": 1, "Title": "T", "Page Content": "x"},
            "try id_field='Doc ID', text_field=['Title', 'Page Content'] "
            "(--id-field 'Doc ID' --text-field 'Title,Page Content')",
        ),
        (
            {"n": 1, "inhalt": "Der Blauwal ist ein Säugetier."},
            "try id='hash', text_field='inhalt' (--id hash --text-field inhalt)",
        ),
        ({"id": 1, "n": 1}, "with 'text', found 'id', 'n'; try text_field=… (--text-field …)"),
        ({"text": "x"}, "expected an object with 'id', found 'text'; try id='hash' (--id hash)"),
        ({}, "expected an object with 'id' and 'text', found none; try id='hash'"),
        ({"docstore/data": {}}, "convert this docstore: jq -c '.[\"docstore/data\"][]'"),
    ],
)
def test_an_error_proposes_what_would_work(row: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidDocumentError) as error:
        shape(row)
    assert message in str(error.value)


def test_names_that_are_like_the_wanted_ones_are_proposed() -> None:
    with pytest.raises(InvalidDocumentError, match="try id_field='article_nr'"):
        shape({"article_nr": 1, "text": "x"}, id_field="article_no")


def test_many_names_are_not_all_listed() -> None:
    with pytest.raises(InvalidDocumentError, match="'c11' and 88 more; try"):
        shape({f"c{n}": n for n in range(100)})


def test_rows_are_rejected_until_one_has_an_id_and_a_text(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"id": 1}, {"text": "x"}, {"id": 2, "text": "x"}, {"id": 3}]
    first, second, third, fourth = source(tmp_path / "a.jsonl", *rows)
    assert third == Document("2", "x")
    assert isinstance(first, Rejected)
    assert isinstance(second, Rejected)
    assert isinstance(fourth, Rejected)
    assert "found 'id'; try" in first.problem
    assert "found 'text'; try" in second.problem
    assert fourth.problem == "expected an object with 'id' and 'text'"
