"""Sources of many files: patterns, lists, folders of data and of text, pages of HTML."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import logging
import lzma
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from trivec import Document, ingest, open_store
from trivec.cli.app import app
from trivec.errors import InvalidDocumentError, InvalidOptionError, MissingDependencyError
from trivec.ingestion.report import Rejected
from trivec.ingestion.sources import Source
from trivec.ingestion.sources.opening import OpenFile
from trivec.testing import HashEncoder


def lines(*ids: str) -> bytes:
    return b"".join(json.dumps({"id": id, "text": f"text {id}"}).encode() + b"\n" for id in ids)


def write(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def shard(path: Path, *ids: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"id": list(ids), "text": [f"text {id}" for id in ids]}), path)
    return path


def ids(source: Source) -> list[str]:
    return [document.id for document in source.documents()]


# --- lists and patterns --------------------------------------------------------------------------


def test_a_list_of_files_of_several_formats(tmp_path: Path) -> None:
    first = write(tmp_path / "b.jsonl", lines("1", "2"))
    second = write(tmp_path / "a.csv", "id,text\n3,x\n")
    third = shard(tmp_path / "c.parquet", "4", "5")
    source = Source([first, str(second), third])
    assert ids(source) == ["1", "2", "3", "4", "5"]
    assert source.paths == (str(first), str(second), str(third))


def test_a_pattern(tmp_path: Path) -> None:
    for i in (2, 0, 1):
        shard(tmp_path / f"train-0000{i}-of-00003.parquet", str(i))
    write(tmp_path / "README.md", "# x")
    write(tmp_path / "deep/x/d.jsonl.bz2", bz2.compress(lines("d")))
    write(tmp_path / "deep/a.jsonl", lines("a"))
    write(tmp_path / "deep/a.jsonl.rejects.jsonl", b'{"where": "x"}\n')
    assert ids(Source(tmp_path / "*.parquet")) == ["0", "1", "2"]
    assert ids(Source(f"{tmp_path}/**/*.jsonl*")) == ["a", "d"]
    with pytest.raises(InvalidOptionError, match="no file matches"):
        Source(tmp_path / "*.csv")
    write(tmp_path / "README", "x")
    with pytest.raises(InvalidOptionError, match=r"the format of .*README"):
        Source(tmp_path / "READM[E]")
    with pytest.raises(InvalidOptionError, match="there is no path"):
        Source([])


def test_a_name_with_the_characters_of_patterns(tmp_path: Path) -> None:
    assert ids(Source(write(tmp_path / "a[1].jsonl", lines("1")))) == ["1"]


def test_text_files_of_a_pattern(tmp_path: Path) -> None:
    write(tmp_path / "c/a.txt", "a")
    write(tmp_path / "c/b/c.md", "c")
    write(tmp_path / "c/b/.x.md", "c")
    assert list(Source(f"{tmp_path}/c/**/*.*")) == [Document("a.txt", "a"), Document("b/c.md", "c")]
    assert list(Source(tmp_path / "c/a.txt")) == [Document("a.txt", "a")]


def test_compressed_text_files(tmp_path: Path) -> None:
    write(tmp_path / "a.txt.bz2", bz2.compress(b"one whale"))
    write(tmp_path / "b" / "c.md.gz", gzip.compress(b"# two"))
    write(tmp_path / "d.html.xz", lzma.compress(b"<title>T</title><p>three"))
    write(tmp_path / "e.txt.gz", gzip.compress(b"cut off")[:-9])
    write(tmp_path / "f.txt", bz2.compress(b"its name says nothing"))
    a, d, e, f, c = list(Source(tmp_path))
    assert isinstance(e, Rejected)
    assert "ends in the middle" in e.problem
    found = {row.id: row.text for row in (a, c, d, f) if isinstance(row, Document)}
    assert found == {
        "a.txt.bz2": "one whale",
        "b/c.md.gz": "# two",
        "d.html.xz": "T\nthree",
        "f.txt": "its name says nothing",
    }
    assert list(Source(tmp_path / "a.txt.bz2")) == [Document("a.txt.bz2", "one whale")]


@pytest.mark.parametrize("twice", ["same", "link", "hard", "pattern", "folder"])
def test_a_file_given_twice(tmp_path: Path, twice: str) -> None:
    path, other = write(tmp_path / "a.jsonl", lines("1")), tmp_path / "b.jsonl"
    given: list[str | Path] = [path, other]
    if twice == "link":
        other.symlink_to(path)
    elif twice == "hard":
        os.link(path, other)
    else:
        given[1] = {"same": path, "pattern": tmp_path / "*", "folder": tmp_path}[twice]
    with pytest.raises(InvalidOptionError, match="is given twice, also as"):
        list(Source(given))


def test_files_whose_ids_would_be_the_same(tmp_path: Path) -> None:
    given = [write(tmp_path / "x/a.txt", "1"), write(tmp_path / "y/a.txt", "2")]
    with pytest.raises(InvalidOptionError, match="have the same name, of which ids are made"):
        list(Source(given))
    assert ids(Source(tmp_path)) == ["x/a.txt", "y/a.txt"]
    given = [write(tmp_path / "x/a.jsonl", lines("1")), write(tmp_path / "y/a.jsonl", lines("2"))]
    assert ids(Source(given)) == ["1", "2"]
    with pytest.raises(InvalidOptionError, match="have the same name, of which ids are made"):
        list(Source(given, id="row"))
    assert ids(Source(tmp_path, id="row")) == ["x/a.jsonl:1", "y/a.jsonl:1"]


def test_a_pipe_among_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(lines("2"))))
    source = Source([write(tmp_path / "a.jsonl", lines("1")), "-"])
    source.check()
    assert ids(source) == ["1", "2"]
    with pytest.raises(InvalidOptionError, match="'-' is given twice"):
        list(Source(["-", "-"]))


# --- folders -------------------------------------------------------------------------------------


def test_a_folder_of_shards(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for i in range(3):
        shard(tmp_path / f"data/train-0000{i}-of-00003.parquet", f"{i}")
    write(tmp_path / "README.md", "# a dataset")
    write(tmp_path / ".gitattributes", "x")
    source = Source(tmp_path)
    with caplog.at_level(logging.WARNING, "trivec"):
        assert ids(source) == ["0", "1", "2"]
    assert caplog.messages == [
        f"{tmp_path}: read: 3 *.parquet; passed over: 1 *.md; "
        "format='folder' (--format folder) reads text files"
    ]
    assert source.passed_over == {"*.md": 1, "hidden": 1}
    assert ids(Source(tmp_path, format="folder")) == ["README.md"]


def test_files_without_a_suffix(tmp_path: Path) -> None:
    """As WikiExtractor writes them."""
    write(tmp_path / "AA/wiki_00", lines("0", "1"))
    write(tmp_path / "AA/wiki_01.bz2", bz2.compress(lines("2")))
    write(tmp_path / "AB/wiki_00", b"\n\n" + lines("3"))
    write(tmp_path / "LICENSE", "MIT")
    write(tmp_path / "AB/empty", "")
    source = Source(tmp_path)
    assert ids(source) == ["0", "1", "2", "3"]
    assert source.passed_over == {"without a suffix": 2}
    assert ids(Source(tmp_path / "AA/wiki_00")) == ["0", "1"]
    assert ids(Source(tmp_path / "*/wiki_00")) == ["0", "1", "3"]


def test_the_files_of_one_format_in_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", lines("a"))
    write(tmp_path / "b.json", lines("b"))
    write(tmp_path / "c.csv", "id,text\nc,x\n")
    assert ids(Source(tmp_path)) == ["a", "b", "c"]
    assert ids(Source(tmp_path, format="csv")) == ["c"]
    assert ids(Source(tmp_path, format="jsonl")) == ["a", "b"]
    source = Source(tmp_path, format="parquet")
    with pytest.raises(InvalidOptionError, match=r"passed over: 1 \*.csv, 1 \*.json, 1 \*.jsonl"):
        list(source)


def test_no_record_is_lost_where_a_file_is_wrong(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", lines("a") + b"{\n")
    write(tmp_path / "b.csv", "id;text\nb;x\nc\n")
    read = list(Source(tmp_path))
    assert [one.id for one in read if isinstance(one, Document)] == ["a", "b"]
    wheres = [one.where for one in read if isinstance(one, Rejected)]
    assert wheres == [f"{tmp_path}/a.jsonl, line 2", f"{tmp_path}/b.csv, line 3"]


def test_the_fraction_is_right_while_another_thread_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = write(tmp_path / "a.jsonl", lines("a"))
    large = write(tmp_path / "b.jsonl", lines(*(f"b{i}" for i in range(9))))
    total = small.stat().st_size + large.stat().st_size
    source = Source(tmp_path)
    rows = iter(source)
    next(rows)
    fraction_of = OpenFile.fraction

    def go_on(file: OpenFile) -> float | None:
        fraction = fraction_of(file)
        next(rows)  # of the next file
        return fraction

    monkeypatch.setattr(OpenFile, "fraction", go_on)
    assert source.fraction() == pytest.approx(small.stat().st_size / total)


def test_the_fraction_is_of_all_files(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", lines(*(f"a{i}" for i in range(1000))))
    write(tmp_path / "b.jsonl.bz2", bz2.compress(lines(*(f"b{i}" for i in range(1000)))))
    shard(tmp_path / "c.parquet", *(f"c{i}" for i in range(1000)))
    source = Source(tmp_path)
    assert source.fraction() is None
    fractions = []
    for _ in source:
        fractions.append(source.fraction() or 0)
    assert len(fractions) == 3000
    assert fractions == sorted(fractions)
    sizes = [(tmp_path / name).stat().st_size for name in ("a.jsonl", "b.jsonl.bz2", "c.parquet")]
    assert fractions[1500] == pytest.approx((sizes[0] + sizes[1]) / sum(sizes), abs=1e-9)
    assert fractions[2300] == pytest.approx((sum(sizes[:2]) + 0.256 * sizes[2]) / sum(sizes))
    assert source.fraction() == 1


# --- one run over all of them --------------------------------------------------------------------


def test_prune_compares_with_all_files(tmp_path: Path, encoder: HashEncoder) -> None:
    a, b = write(tmp_path / "a.jsonl", lines("1", "2")), write(tmp_path / "b.jsonl", lines("3"))
    journal = tmp_path / "j"
    with open_store(f"memory:/{tmp_path.name}") as store:
        store.create(encoder.schema)
        ingest(Source([a, b]), encoder, store, journal=journal, prune=True)
        write(a, lines("1"))
        report = ingest(Source([a, b]), encoder, store, journal=journal, prune=True)
        assert (report.unchanged, report.pruned, store.count()) == (2, 1, 2)
        write(a, b"")
        write(b, b"{\n")
        report = ingest(
            Source([a, b]), encoder, store, journal=journal, prune=True, on_error="skip"
        )
        assert (report.pruned, store.count()) == (0, 2)
        write(b, bz2.compress(lines("3"))[:-5])
        with pytest.raises(InvalidDocumentError, match="cut off"):
            ingest(Source([a, b]), encoder, store, journal=journal, prune=True)
        assert store.count() == 2
        store.drop()


def test_the_command_line_takes_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder: HashEncoder
) -> None:
    monkeypatch.setattr("trivec.cli.models.load_encoder", lambda *args: HashEncoder())
    write(tmp_path / "in/a.jsonl", lines("1") + b"{\n")
    write(tmp_path / "in/b.tsv", "2\ttwo\n3\tthree\n")
    with open_store(f"memory:/{tmp_path.name}") as store:
        store.create(encoder.schema)
        common = ["--on-error", "skip", "--columns", "id,text", "--encoding", "utf-8"]
        for given in ([f"{tmp_path}/in/a.jsonl", f"{tmp_path}/in/b.tsv"], [f"{tmp_path}/in/*"]):
            done = CliRunner().invoke(app, ["ingest", *given, store.address, *common])
            assert done.exit_code == 1, done.output
            assert store.count() == 3
            assert (tmp_path / "in.rejects.jsonl").is_file()
        store.drop()


def test_an_output_is_none_of_the_inputs(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", lines("1"))
    arguments = ["ingest", f"{tmp_path}/*.jsonl", "memory:/x", "--rejects", f"{tmp_path}/a.jsonl"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert "a.jsonl" in done.stderr
    assert (tmp_path / "a.jsonl").read_bytes() == lines("1")


# --- HTML ----------------------------------------------------------------------------------------

PAGE = """<!doctype html><html><head><meta charset="{charset}"><title> The sea &amp; us </title>
<style>p {{ color: blue }}</style><script>var x = "<p>no</p>"</script></head><body>
<h1>Whales</h1><p>The <b>blue</b> whale — größer
 als <i>alle</i>.</p><!-- no --><ul><li>one</li><li>two</li></ul>tail<div>inside</div>outside
<table><tr><td>a</td><td>b</td></tr></table><noscript>no</noscript></body></html>"""
VISIBLE = "Whales\nThe blue whale — größer als alle.\none\ntwo\ntail\ninside\noutside\na b"


@pytest.mark.parametrize(
    ("charset", "encoding"), [("utf-8", "utf-8"), ("windows-1252", "cp1252"), ("klingon", "utf-8")]
)
def test_pages_of_html(tmp_path: Path, charset: str, encoding: str) -> None:
    pytest.importorskip("selectolax")
    for name in ("a.html", "b/c.htm"):
        write(tmp_path / name, PAGE.format(charset=charset).encode(encoding))
    write(tmp_path / "d.markdown", "# Whales")
    first, second, third = Source(tmp_path).documents()
    title = "The sea & us"
    assert first == Document("a.html", f"{title}\n{VISIBLE}", {"title": title})
    assert second == Document("d.markdown", "# Whales")
    assert third.id == "b/c.htm"


@pytest.mark.parametrize("content", [b"", b"<", b"<html></html>", b"plain", b"<p>" * 50_000])
def test_pages_that_are_hardly_html(tmp_path: Path, content: bytes) -> None:
    pytest.importorskip("selectolax")
    (document,) = Source(write(tmp_path / "a.html", content)).documents()
    assert document.text in ("", "<", "plain")


def test_pages_need_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("selectolax", "selectolax.lexbor"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'trivec\[html\]'"):
        list(Source(write(tmp_path / "a.html", "<p>x")))
