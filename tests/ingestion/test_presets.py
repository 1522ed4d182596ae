"""The layouts of published files: recognised, told in one line, and overridable."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document as LangChainDocument
from langchain_core.load import dumps
from llama_index.core.schema import Document as LlamaIndexDocument
from llama_index.core.schema import TextNode

from trivec import Document
from trivec.errors import InvalidDocumentError, InvalidOptionError
from trivec.ingestion.report import Rejected
from trivec.ingestion.sources import PRESETS, Source
from trivec.ingestion.sources.presets import PRESETS as LAYOUTS
from trivec.ingestion.sources.presets import columns_of_data, is_msmarco, recognised

BEIR = {"_id": "7", "title": "Whales", "text": "Blue", "metadata": {"url": "u"}}


def read(path: Path, *rows: Mapping[str, Any] | str, **options: Any) -> list[Document | Rejected]:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines), encoding="utf-8")
    return list(Source(path, **options))


WHALES = {"title": "Whales"}
TITLED = Document("7", "Whales\nBlue", WHALES)


@pytest.mark.parametrize(
    ("row", "document", "note"),
    [
        (
            BEIR,
            Document("7", "Whales\nBlue", {"title": "Whales", "url": "u"}),
            "BEIR: id from _id, text from title and text",
        ),
        ({**BEIR, "metadata": {}}, TITLED, "BEIR: id from _id, text from title and text"),
        ({"_id": "7", "text": "Blue"}, Document("7", "Blue"), "BEIR: id from _id, text from"),
        ({"docid": "7", "title": "Whales", "text": "Blue"}, TITLED, "MIRACL: id from docid, text"),
        ({"pid": 7, "passage": "Blue"}, Document("7", "Blue"), "MS MARCO passages: id from pid"),
        (
            {"docid": "7", "url": "u", "title": "Whales", "body": "Blue"},
            Document("7", "Whales\nBlue", {"url": "u", "title": "Whales"}),
            "MS MARCO documents: id from docid, text from title and body",
        ),
        ({"id": "7", "contents": "Blue"}, Document("7", "Blue"), "Pyserini: id from id, text from"),
        (
            {"id_": "7", "metadata": {"n": 1}, "text": "Blue", "embedding": None},
            Document("7", "Blue", {"n": 1}),
            "LlamaIndex nodes: id from id_, text from text",
        ),
        (
            {"id": "7", "metadata": {"n": 1}, "page_content": "Blue", "type": "Document"},
            Document("7", "Blue", {"n": 1}),
            "LangChain documents: id from id, or a hash where it is null, text from page_content",
        ),
    ],
    ids=lambda value: "" if isinstance(value, Document) else str(value)[:20],
)
def test_layouts_are_recognised(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    row: dict[str, Any],
    document: Document,
    note: str,
) -> None:
    path = tmp_path / "a.jsonl"
    with caplog.at_level(logging.WARNING, "trivec"):
        assert read(path, row, row) == [document, document]
    (message,) = caplog.messages
    assert message.startswith(f"{path}: read as {note}")
    assert message.endswith("; preset='none' (--preset none) turns this off")
    (reject,) = read(path, row, preset="none")
    assert isinstance(reject, Rejected)
    assert "expected an object with 'id'" in reject.problem or "'text'" in reject.problem


def test_what_the_frameworks_dump(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    made = Document("7", "Blue", {"lang": "en"})
    chain = LangChainDocument(page_content="Blue", metadata={"lang": "en"}, id="7")
    bare = LangChainDocument(page_content="Blue", metadata={"lang": "en"})
    for lines in (
        [chain.model_dump_json(), bare.model_dump_json()],
        [dumps(chain), dumps(bare)],
    ):
        first, second = read(path, *lines)
        assert first == made
        assert isinstance(second, Document)
        assert (second.text, len(second.id)) == ("Blue", 32)
    for node in (
        TextNode(id_="7", text="Blue", metadata={"lang": "en"}),
        LlamaIndexDocument(id_="7", text="Blue", metadata={"lang": "en"}),
    ):
        members = node.to_dict()
        assert read(path, node.to_json(), members) == [made, made]
        assert read(path, {"__data__": members, "__type__": "1"}) == [made]


def test_a_dump_without_a_text_is_rejected_alone(tmp_path: Path) -> None:
    good = dumps(LangChainDocument(page_content="Blue", id="7"))
    bad = {"lc": 1, "type": "not_implemented", "id": [], "kwargs": {}}
    for rows in ((good, json.dumps(bad)), (json.dumps(bad), good)):
        documents = read(tmp_path / "a.jsonl", *rows)
        assert Document("7", "Blue") in documents
        (reject,) = (each for each in documents if isinstance(each, Rejected))
        assert "expected an object with 'page_content'" in reject.problem


@pytest.mark.parametrize(
    ("options", "document"),
    [
        ({"text_field": "text"}, Document("7", "Blue", {"title": "Whales", "url": "u"})),
        ({"text": "{text}!"}, Document("7", "Blue!", {"title": "Whales", "url": "u"})),
        ({"id_field": "title"}, Document("Whales", "Blue", {"_id": "7", "metadata": {"url": "u"}})),
        ({"keep": ["url"]}, Document("7", "Whales\nBlue", {"url": "u"})),
        (
            {"metadata": "flat", "drop": ["title"]},
            Document("7", "Whales\nBlue", {"metadata": {"url": "u"}}),
        ),
    ],
)
def test_options_come_before_what_is_recognised(
    tmp_path: Path, options: dict[str, Any], document: Document
) -> None:
    assert read(tmp_path / "a.jsonl", BEIR, **options) == [document]


@pytest.mark.parametrize("preset", ["wikipedia", "dpr"])
def test_a_preset_can_be_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, preset: str
) -> None:
    path, row = tmp_path / "a.jsonl", {"id": "7", "title": "Whales", "text": "Blue"}
    with caplog.at_level(logging.WARNING, "trivec"):
        assert read(path, row, preset=preset) == [TITLED]
        assert not caplog.messages
        # Today's result stays, and the title is told.
        assert read(path, row, row) == [Document("7", "Blue", WHALES)] * 2
    assert caplog.messages == [
        f"{path}: 'title' becomes metadata and is not encoded; text_field=['title', 'text'] "
        "(--text-field title,text) encodes it too"
    ]
    caplog.clear()
    with caplog.at_level(logging.WARNING, "trivec"):
        read(path, row, text_field="text")
    assert not caplog.messages


def test_a_preset_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match=r"preset='beir' does not fit .* has 'id', "):
        read(tmp_path / "a.jsonl", {"id": 1, "text": "x"}, preset="beir")


def test_only_what_is_certain_is_recognised() -> None:
    assert recognised(["_id", "docid", "text"]) is None
    assert recognised(["page_content", "metadata", "source"]) is None
    assert recognised(["id", "body"]) is None
    for preset in LAYOUTS:
        names = preset.marks | {*preset.text} if preset.unwrap is None else preset.marks
        if preset.recognised:
            fitting = recognised(sorted(names))
            assert fitting is not None
            assert fitting.name == preset.name
        assert preset.name in PRESETS


def test_tables_and_their_names(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("_id\ttitle\ttext\n7\tWhales\tBlue\n", encoding="utf-8")
    assert list(Source(path)) == [TITLED]
    path.write_text("id\ttext\ttitle\n7\tBlue\tWhales\n", encoding="utf-8")
    assert list(Source(path, preset="dpr")) == [TITLED]


@pytest.mark.parametrize(
    ("cells", "names", "marco"),
    [
        (["0", "The presence of communication"], ("id", "text"), True),
        (["0", "short"], ("id", "text"), False),
        (["7", "https://a.org", "The blue whale is large"], ("id", "column2", "text"), False),
        (["7", "The blue whale is large", "Whales"], ("id", "text", "column3"), False),
        (["id", "text"], None, False),
        (["D7", "The presence of communication"], None, False),
        (["7"], None, False),
    ],
)
def test_rows_that_are_no_header(
    cells: list[str], names: tuple[str, ...] | None, marco: bool
) -> None:
    assert columns_of_data(cells) == names
    assert is_msmarco(cells) == marco


def test_passages_and_questions_of_ms_marco(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "collection.tsv"
    path.write_text("0\tThe presence of communication\n1\tshort\n", encoding="utf-8")
    documents = [Document("0", "The presence of communication"), Document("1", "short")]
    with caplog.at_level(logging.WARNING, "trivec"):
        source = Source(path)
        source.check()
        assert list(source) == documents
    assert caplog.messages == [
        f"{path}: read as MS MARCO: a table of id and text without a header; preset='none' "
        "(--preset none) turns this off"
    ]
    assert list(Source(path, columns=["id", "text"])) == documents
    assert list(Source(path, preset="msmarco")) == documents
    with pytest.raises(InvalidDocumentError, match=r"columns=\['id', 'text'\] \(--columns id,text"):
        list(Source(path, preset="none"))
    path.write_text("121352\tdefine extreme\n", encoding="utf-8")
    with pytest.raises(InvalidDocumentError, match="which look like data"):
        list(Source(path))
    assert list(Source(path, preset="msmarco")) == [Document("121352", "define extreme")]
