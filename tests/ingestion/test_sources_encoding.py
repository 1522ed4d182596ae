"""Encodings: what is stated is used, what is recognised is named, and nothing is replaced."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from trivec import Document
from trivec.errors import InvalidOptionError
from trivec.ingestion.report import Rejected
from trivec.ingestion.sources import Source

TEXT = "grün\u2028 naïve\x85"
CONTENT = f'{{"id": "a", "text": "blue"}}\n{{"id": "b", "text": "{TEXT}"}}\n'
DOCUMENTS = [Document("a", "blue"), Document("b", TEXT)]


@pytest.mark.parametrize(
    "encoding",
    [
        "utf-8",
        "UTF8",
        "utf-8-sig",
        "utf-16",
        "utf-16-le",
        "utf-16-be",
        "utf-32",
        "utf-7",
        "gb18030",
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_stated_encoding(tmp_path: Path, encoding: str, end: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(CONTENT.replace("\n", end).encode(encoding))
    assert list(Source(path, encoding=encoding)) == DOCUMENTS


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "“grün” €"),
        ("latin-1", "grün"),
        ("shift_jis", "日本語 ソース"),
        ("iso2022_jp", "日本語"),
        ("big5", "中文"),
        ("koi8-r", "кит"),
    ],
)
def test_other_encodings(tmp_path: Path, encoding: str, text: str) -> None:
    rows = [f"{i},{text} {i}" for i in range(20_000)]  # more than is read at once
    path = tmp_path / "a.csv"
    path.write_bytes("\r\n".join(["id,text", *rows]).encode(encoding))
    read = list(Source(path, encoding=encoding).documents())
    assert [document.text for document in read] == [f"{text} {i}" for i in range(20_000)]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
def test_a_mark_is_dropped(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("\ufeffid,text\na,blue\n".encode(encoding))
    assert list(Source(path, encoding=encoding)) == DOCUMENTS[:1]
    family = encoding[:6]
    assert list(Source(path, encoding=family)) == DOCUMENTS[:1]


@pytest.mark.parametrize(
    ("content", "encoding", "message"),
    [
        (CONTENT.encode("utf-16-le"), "utf-16", "begins without a byte order mark; give"),
        (CONTENT.encode("utf-16"), "cp1252", "begins like text in UTF-16; give encoding='utf-16'"),
        (CONTENT.encode("utf-16"), "utf-8", "begins like text in UTF-16; give encoding='utf-16'"),
        (CONTENT.encode("utf-8-sig"), "cp1252", "begins with the byte order mark of UTF-8"),
        (CONTENT.encode("utf-32"), None, "UTF-32; give encoding='utf-32' (--encoding utf-32)"),
    ],
)
def test_a_mark_that_says_otherwise(
    tmp_path: Path, content: bytes, encoding: str | None, message: str
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(InvalidOptionError) as error:
        list(Source(path, encoding=encoding))
    assert str(error.value).startswith(f"{str(path)!r} ")
    assert message in str(error.value)


@pytest.mark.parametrize(
    "name",
    ["rot13", "base64", "hex", "idna", "punycode", "unicode_escape", "klingon", "\0"],
)
def test_what_is_no_encoding_of_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(CONTENT, encoding="utf-8")
    with pytest.raises(InvalidOptionError, match=r"encoding=.* is not an encoding of"):
        Source(path, encoding=name)


@pytest.mark.parametrize(
    ("encoding", "line", "byte"),
    [
        ("utf-8", b'{"id": "x", "text": "gr\xfcn"}', "0xfc at character 24"),
        ("cp1252", b'{"id": "x", "text": "\x81"}', "0x81 at character 22"),
        ("ascii", '{"id": "x", "text": "ü"}'.encode(), "0xc3 at character 22"),
        ("shift_jis", b'{"id": "x", "text": "\xfd\xfe"}', "0xfd at character 22"),
        (
            "utf-16-le",
            '{"id": "x", "text": "?"}'.encode("utf-16-le").replace(b"?\0", b"\0\xdc"),
            "",
        ),
    ],
)
def test_wrong_bytes_reject_their_line(
    tmp_path: Path, encoding: str, line: bytes, byte: str
) -> None:
    good = '{"id": "a", "text": "blue"}\n'.encode(encoding)
    path = tmp_path / "a.jsonl"
    path.write_bytes(good + line + "\n".encode(encoding) + good)
    first, bad, last = Source(path, encoding=encoding)
    assert first == last == DOCUMENTS[0]
    assert isinstance(bad, Rejected)
    assert bad.where == f"{path}, line 2"
    name = codecs.lookup(encoding).name
    assert bad.problem.startswith(f"not in {name}: byte {byte}")
    assert "\\x" in bad.content


def test_the_likely_encoding_is_named_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("id,text\n1,blue\n2,grün\n".encode("cp1252"))
    _, bad = Source(path)
    assert isinstance(bad, Rejected)
    assert bad.where.endswith("line 3")
    assert "often encoding='cp1252' (--encoding cp1252)" in bad.problem


def test_text_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("blue €".encode("cp1252"))
    assert list(Source(tmp_path, encoding="cp1252")) == [Document("a.txt", "blue €")]
    (bad,) = Source(tmp_path)
    assert isinstance(bad, Rejected)
    assert "not in UTF-8: byte 0x80 at character 6" in bad.problem


def test_parquet_has_no_encoding(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(InvalidOptionError, match="encoding is for text, and the format is parquet"):
        Source(path, encoding="cp1252")
