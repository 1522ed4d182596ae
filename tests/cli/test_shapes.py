"""The files that people have: each is ingested by exactly the command in the documentation."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from trivec import Document, open_store
from trivec.cli.app import app
from trivec.testing import HashEncoder

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "ingestion.md"
PROSE = "The presence of communication amid scientific minds was equally important"

Write = Callable[[], list[Document]]
SHAPES: dict[str, Write] = {}


def _commands() -> dict[str, str]:
    """Return the commands of the table by the source that they name."""
    section = PAGE.read_text(encoding="utf-8").partition("## Files that people have")[2]
    table = section.partition("\n## ")[0]
    commands = re.findall(r"^\|.*?\| `(trivec ingest [^`]+)` \|", table, re.MULTILINE)
    return {shlex.split(command)[2]: command for command in commands}


COMMANDS = _commands()


def shape(source: str) -> Callable[[Write], Write]:
    """Register what writes a source and returns the documents in it."""

    def registered(write: Write) -> Write:
        SHAPES[source] = write
        return write

    return registered


def lines(*rows: Mapping[str, Any]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def put(name: str, content: bytes | str) -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def put_table(name: str, **columns: Any) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(columns), name)


@shape("collection.tsv")
def msmarco() -> list[Document]:
    put("collection.tsv", f'0\t{PROSE}\n1\tThe "Manhattan" Project\n')
    return [Document("0", PROSE), Document("1", 'The "Manhattan" Project')]


@shape("msmarco-docs.tsv")
def msmarco_documents() -> list[Document]:
    put("msmarco-docs.tsv", f"D1\thttps://a.org/1\tMinds\t{PROSE}\nD2\thttps://a.org/2\t\tbody\n")
    return [
        Document("D1", f"Minds\n{PROSE}", {"title": "Minds", "url": "https://a.org/1"}),
        Document("D2", "body", {"title": "", "url": "https://a.org/2"}),
    ]


@shape("corpus.jsonl")
def beir() -> list[Document]:
    rows = [
        {"_id": "4983", "title": "White matter", "text": "Diffusion", "metadata": {}},
        {"_id": "5836", "title": "", "text": "Myelodysplasia", "metadata": {}},
    ]
    put("corpus.jsonl", lines(*rows))
    return [
        Document("4983", "White matter\nDiffusion", {"title": "White matter"}),
        Document("5836", "Myelodysplasia", {"title": ""}),
    ]


@shape("docs-0.jsonl.gz")
def miracl() -> list[Document]:
    row = {"docid": "12#0", "title": "Anarchism", "text": "Anarchism is a philosophy"}
    put("docs-0.jsonl.gz", gzip.compress(lines(row)))
    title = {"title": "Anarchism"}
    return [Document("12#0", "Anarchism\nAnarchism is a philosophy", title)]


@shape("pyserini.jsonl")
def pyserini() -> list[Document]:
    put("pyserini.jsonl", lines({"id": "doc1", "contents": "this is the contents."}))
    return [Document("doc1", "this is the contents.")]


@shape("psgs_w100.tsv")
def dpr() -> list[Document]:
    put("psgs_w100.tsv", 'id\ttext\ttitle\n1\t"Aaron ( or ; ""Ahärôn"") is a prophet"\tAaron\n')
    return [Document("1", 'Aaron\n"Aaron ( or ; ""Ahärôn"") is a prophet"', {"title": "Aaron"})]


def wikipedia_rows(*numbers: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {"id": str(n), "url": f"https://w.org/{n}", "title": f"T{n}", "text": f"Text {n}", **more}
        for n in numbers
    ]


def wikipedia_documents(*numbers: int, **more: Any) -> list[Document]:
    return [
        Document(str(n), f"T{n}\nText {n}", {"url": f"https://w.org/{n}", "title": f"T{n}", **more})
        for n in numbers
    ]


@shape("extracted")
def wikiextractor() -> list[Document]:
    put("extracted/AA/wiki_00", lines(*wikipedia_rows(12, 25, revid="9")))
    put("extracted/AB/wiki_00", lines(*wikipedia_rows(39, revid="9")))
    return wikipedia_documents(12, 25, 39, revid="9")


@shape("enwiki.jsonl.gz")
def wikipedia() -> list[Document]:
    put("enwiki.jsonl.gz", gzip.compress(lines(*wikipedia_rows(1, 2))))
    return wikipedia_documents(1, 2)


@shape("wikipedia/train-*.parquet")
def wikipedia_of_hugging_face() -> list[Document]:
    for shard in (0, 1):
        rows = wikipedia_rows(shard)
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        put_table(f"wikipedia/train-0000{shard}-of-00002.parquet", **columns)
    put("wikipedia/README.md", "# Wikipedia")
    return wikipedia_documents(0, 1)


@shape("ag_news.parquet")
def hugging_face_without_ids() -> list[Document]:
    put_table("ag_news.parquet", text=["Wall St. Bears", "Oil prices"], label=[2, 0])
    return [
        Document("ag_news.parquet:1", "Wall St. Bears", {"label": 2}),
        Document("ag_news.parquet:2", "Oil prices", {"label": 0}),
    ]


@shape("arxiv-metadata.json")
def arxiv() -> list[Document]:
    row = {"id": "0704.0001", "submitter": "P", "title": "Prompt", "abstract": "A fully"}
    put("arxiv-metadata.json", lines({**row, "categories": "hep-ph", "versions": [{"v": 1}]}))
    metadata = {"title": "Prompt", "categories": "hep-ph"}
    return [Document("0704.0001", "Prompt\nA fully", metadata)]


@shape("excel.csv")
def excel() -> list[Document]:
    put("excel.csv", '\ufeffID;Text;Größe\r\n1;"a;b";1,5\r\n2;"über ""x""\r\nund";2\r\n')
    return [
        Document("1", "a;b", {"Größe": "1,5"}),
        Document("2", 'über "x"\r\nund', {"Größe": "2"}),
    ]


@shape("excel-ansi.csv")
def excel_in_a_code_page() -> list[Document]:
    put("excel-ansi.csv", "id;text;price\r\n1;Größe;5 €\r\n".encode("cp1252"))
    return [Document("1", "Größe", {"price": "5 €"})]


@shape("utf16.csv")
def utf16() -> list[Document]:
    put("utf16.csv", "id,text,lang\r\n1,Größe,de\r\n2,鲸,zh\r\n".encode("utf-16"))
    return [Document("1", "Größe", {"lang": "de"}), Document("2", "鲸", {"lang": "zh"})]


@shape("unicode.txt")
def excel_unicode_text() -> list[Document]:
    content = 'id\ttext\tlang\r\n1\t"say ""hi"""\ten\r\n'
    put("unicode.txt", b"\xff\xfe" + content.encode("utf-16-le"))
    return [Document("1", 'say "hi"', {"lang": "en"})]


@shape("headers.csv")
def headers() -> list[Document]:
    put("headers.csv", "ID, Text ,Lang\n1,whale,en\n")
    return [Document("1", "whale", {"Lang": "en"})]


@shape("tagged.csv")
def lists_in_cells() -> list[Document]:
    cells = ['"[""a"", ""b""]"', "\"['a', 'b']\"", "a;b", ""]
    put("tagged.csv", "id,text,tags\n" + "".join(f"{n},x,{c}\n" for n, c in enumerate(cells)))
    tags: list[Any] = [["a", "b"], ["a", "b"], ["a", "b"], None]
    return [Document(str(n), "x", {"tags": value}) for n, value in enumerate(tags)]


@shape("pandas.parquet")
def pandas_with_missing_integers() -> list[Document]:
    years = pa.array([2020.0, float("nan"), None])
    put_table("pandas.parquet", id=[7.0, 8.0, 9.0], text=["a", "b", "c"], year=years)
    return [
        Document("7", "a", {"year": 2020}),
        Document("8", "b", {"year": None}),
        Document("9", "c", {"year": None}),
    ]


@shape("shards")
def parquet_shards() -> list[Document]:
    for shard in (0, 1):
        put_table(f"shards/part-{shard}.parquet", id=[shard], text=[f"t{shard}"], lang=["en"])
    put("shards/_SUCCESS", "")
    return [Document(str(n), f"t{n}", {"lang": "en"}) for n in (0, 1)]


@shape("articles.json")
def json_array() -> list[Document]:
    rows = [{"id": n, "text": f"t{n}", "tags": ["a"]} for n in (1, 2)]
    put("articles.json", json.dumps(rows, indent=2))
    return [Document(str(n), f"t{n}", {"tags": ["a"]}) for n in (1, 2)]


@shape("response.json")
def answer_of_an_api() -> list[Document]:
    rows = [{"id": n, "body": f"t{n}", "author": {"name": "x"}} for n in (1, 2)]
    put("response.json", json.dumps({"page": 1, "data": rows}))
    return [Document(str(n), f"t{n}", {"author": {"name": "x"}}) for n in (1, 2)]


@shape("mongo.json")
def mongodb() -> list[Document]:
    put("mongo.json", lines({"_id": {"$oid": "65a1f0"}, "text": "whale", "n": 1}))
    return [Document("65a1f0", "whale", {"n": 1})]


@shape("dump.jsonl.bz2")
def bzip2() -> list[Document]:
    put("dump.jsonl.bz2", bz2.compress(lines({"id": 1, "text": "whale", "n": 1})))
    return [Document("1", "whale", {"n": 1})]


@shape("dump.csv.xz")
def xz() -> list[Document]:
    put("dump.csv.xz", lzma.compress(b"id,text,lang\n1,whale,en\n"))
    return [Document("1", "whale", {"lang": "en"})]


@shape("langchain.jsonl")
def langchain() -> list[Document]:
    rows = [
        {"id": "a", "metadata": {"source": "x.pdf"}, "page_content": "p", "type": "Document"},
        {"id": "b", "metadata": {"source": "y.pdf"}, "page_content": "q", "type": "Document"},
    ]
    put("langchain.jsonl", lines(*rows))
    return [Document("a", "p", {"source": "x.pdf"}), Document("b", "q", {"source": "y.pdf"})]


@shape("nodes.jsonl")
def llamaindex() -> list[Document]:
    node = {"id_": "n1", "embedding": None, "metadata": {"file": "x"}, "relationships": {}}
    put("nodes.jsonl", lines({**node, "text": "whale", "class_name": "TextNode"}))
    return [Document("n1", "whale", {"file": "x"})]


@shape("site")
def html_folder() -> list[Document]:
    pytest.importorskip("selectolax", reason="the [html] extra is not installed")
    page = "<html><head><title>Whales</title><style>p {}</style></head><body><p>The blue</p>"
    put("site/index.html", f"{page}<script>x()</script></body></html>")
    put("site/de/wal.html", "<title>Wal</title><p>Der Blauwal</p>")
    put("site/logo.png", b"\x89PNG")
    return [
        Document("de/wal.html", "Wal\nDer Blauwal", {"title": "Wal"}),
        Document("index.html", "Whales\nThe blue", {"title": "Whales"}),
    ]


@shape("notes")
def markdown_folder() -> list[Document]:
    put("notes/a.md", "# Whales\n")
    put("notes/sub/b.markdown", "*blue*")
    return [Document("a.md", "# Whales\n"), Document("sub/b.markdown", "*blue*")]


@shape("texts.jsonl")
def texts_without_ids() -> list[Document]:
    put("texts.jsonl", lines({"text": "whale", "n": 1}, {"text": "fox", "n": 2}))
    return [Document("*", "whale", {"n": 1}), Document("*", "fox", {"n": 2})]


@pytest.fixture
def url() -> Iterator[str]:
    url = f"memory:/shapes-{uuid4().hex}"
    yield url
    with open_store(url) as store:
        store.drop()


def test_the_table_and_the_files_are_the_same() -> None:
    assert sorted(COMMANDS) == sorted(SHAPES)
    assert len(COMMANDS) >= 15


@pytest.mark.parametrize("source", SHAPES)
def test_the_command_ingests_the_file(
    source: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trivec.cli.models.load_encoder", lambda *args: HashEncoder())
    monkeypatch.chdir(tmp_path)
    expected = SHAPES[source]()
    program, *arguments = shlex.split(COMMANDS[source].replace("$STORE", url))
    done = CliRunner().invoke(app, arguments)
    assert (program, done.exit_code) == ("trivec", 0), done.stderr
    assert f"{len(expected)} records: {len(expected)} stored\n" in done.stderr
    with open_store(url) as store:
        stored = [document for page in store.scan() for document in page.documents]
    ids = [document.id for document in expected]
    if ids[0] == "*":  # ids that are hashes
        assert len({document.id for document in stored}) == len(expected)
        stored = [Document("*", document.text, document.metadata) for document in stored]

    def order(document: Document) -> tuple[str, str]:
        return document.id, document.text

    assert sorted(stored, key=order) == sorted(expected, key=order)
