"""The options of reading: declared once, checked together, and the same on the command line."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from trivec import read_documents
from trivec.cli.sources import SourceFlags, names_of, renames_of
from trivec.errors import InvalidOptionError
from trivec.fields import FieldType
from trivec.ingestion.sources import PRESETS, ReadOptions, Source, SourceOptions


def test_the_keywords_are_the_fields_of_the_options() -> None:
    names = {field.name for field in fields(SourceOptions)}
    assert set(get_type_hints(ReadOptions)) == names
    flags = {field.name for field in fields(SourceFlags)}
    assert names - flags == {"fields"}  # which each command declares by `--field`, or not at all
    assert flags <= names


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"id": "line"}, "id='line'; expected one of row, hash"),
        ({"metadata": "deep"}, "metadata='deep'; expected one of nested, flat"),
        ({"preset": "bier"}, "preset='bier'; expected one of beir, "),
        ({"id": "row", "id_field": "key"}, "id='row' makes ids and id_field='key' reads them"),
        ({"text": "{title}", "text_field": "text"}, "both say what the text is; give one"),
        ({"text": "{title!r}"}, "expected the name of a member in braces"),
        ({"text_field": []}, "text_field is empty"),
        ({"text_field": ["text", 7]}, "text_field: expected names of members, got int 7"),
        ({"keep": "lang"}, "keep='lang'; expected a list of names, ['lang']"),
        ({"keep": {"lang"}}, "keep: expected a list of names, got set"),
        ({"drop": None}, "drop: expected a list of names, got None"),
        ({"encoding": 8}, "encoding: expected a name such as 'utf-16', got int 8"),
        ({"delimiter": [","]}, "delimiter: expected a character, or 'tab', got list of str"),
        ({"drop": [""]}, "drop holds an empty name"),
        ({"rename": [("a", "b")]}, "rename: expected a dict such as"),
        ({"rename": {"a": "c", "b": "c"}}, "rename gives the name 'c' twice"),
        ({"keep": ["a"], "drop": ["a"]}, "drop names 'a', which keep or rename wants"),
        ({"fields": {"a": bytes}}, "field 'a': expected the type itself"),
        ({"allow_empty": "no"}, "allow_empty: expected True or False, got str 'no'"),
        ({"idfield": "key"}, "read_documents: unknown option idfield; known are format, "),
    ],
)
def test_wrong_options_are_told_before_anything_is_read(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    path = tmp_path / "a.jsonl"
    path.touch()
    with pytest.raises(InvalidOptionError) as error:
        read_documents(path, **options)
    assert message in str(error.value)


@pytest.mark.parametrize("source", [None, 7, b"a.jsonl", [None], [7]])
def test_a_source_that_is_no_path_is_an_error(source: Any) -> None:
    with pytest.raises(InvalidOptionError, match="source: expected a path, or a list of paths"):
        read_documents(source)


def test_columns_have_the_types_of_what_they_are_renamed_to() -> None:
    options = SourceOptions(rename={"Jahr": "year"}, fields={"year": int, "lang": str})
    assert options.column_types == {"Jahr": FieldType.INT, "lang": FieldType.STR}


def test_names_on_the_command_line() -> None:
    assert names_of(["title, text", "lang"]) == ["title", "text", "lang"]
    assert renames_of(["a=b,c=d", "e = f"]) == {"a": "b", "c": "d", "e": "f"}
    for wrong in ("a", "a=", "=b", "a=b,a=c", ""):
        with pytest.raises(InvalidOptionError, match=r"expected old=new"):
            renames_of([wrong])


def test_flags_become_options(tmp_path: Path) -> None:
    row = {"key": 7, "title": "Whales", "body": "Blue", "lang": "en", "size": 1, "x": 2}
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(row), encoding="utf-8")
    flags = SourceFlags(
        id_field="key",
        text=r"{title}\n\n{body}",
        drop=["x, body"],
        rename=["lang=language", "size=bytes"],
    )
    (document,) = flags.open([str(path)]).documents()
    assert (document.id, document.text) == ("7", "Whales\n\nBlue")
    assert document.metadata == {"title": "Whales", "language": "en", "bytes": 1}
    flags = SourceFlags(id="row", text_field=["title,body"], keep=[""])
    (document,) = flags.open([str(path)]).documents()
    assert (document.id, document.metadata) == ("a.jsonl:1", {})


def test_read_documents_is_a_source(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": 1, "text": "x"}', encoding="utf-8")
    source = read_documents(path)
    assert isinstance(source, Source)
    assert list(source) == list(source.documents())


def test_presets_are_named() -> None:
    assert (
        *("beir", "miracl", "msmarco", "pyserini", "wikipedia", "dpr", "langchain"),
        "llamaindex",
    ) == PRESETS
