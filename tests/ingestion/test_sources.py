"""Documents from files of every format, and lines that are none."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import struct
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TextIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from typer.testing import CliRunner

from trivec import Document, ingest, open_store
from trivec.cli.app import app
from trivec.errors import InvalidDocumentError, InvalidOptionError, MissingDependencyError
from trivec.fields import FieldType
from trivec.ingestion.report import Rejected
from trivec.ingestion.sources import RejectFile, Source
from trivec.stores.store import Store
from trivec.testing import HashEncoder

DOCUMENTS = [
    Document("a", "blue whale", {"lang": "en", "year": 2020}),
    Document("b", "zażółć 北京 🐋", {"lang": "pl", "year": 2024}),
]
LINES = "".join(
    json.dumps({"id": d.id, "text": d.text, **d.metadata}, ensure_ascii=False) + "\n"
    for d in DOCUMENTS
).encode()
TABLE = "id,text,lang,year\na,blue whale,en,2020\nb,zażółć 北京 🐋,pl,2024\n".encode()
FIELDS = {"year": FieldType.INT}


def _write(path: Path, content: bytes) -> str:
    if path.suffix == ".gz":
        content = gzip.compress(content, mtime=0)
    elif path.suffix == ".zst":
        half = len(content) // 2  # two frames, as parallel compressors write them
        compress = zstandard.ZstdCompressor().compress
        content = compress(content[:half]) + compress(content[half:])
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize("compression", ["", ".gz", ".zst"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", LINES),
        ("a.ndjson", b"\xef\xbb\xbf" + LINES.replace(b"\n", b"\r\n\r\n")),
        ("a.csv", TABLE),
        ("a.tsv", b"\xef\xbb\xbf" + TABLE.replace(b",", b"\t")),
    ],
)
def test_files(tmp_path: Path, name: str, content: bytes, compression: str) -> None:
    source = Source(_write(tmp_path / (name + compression), content), fields=FIELDS)
    assert source.fraction() is None
    assert list(source) == DOCUMENTS
    assert source.fraction() == 1
    assert list(source) == DOCUMENTS  # a source may be read twice


def _noise(n: int, *, csv: bool = False) -> bytes:
    """Return documents that compress badly, so that they take several reads."""
    noise = random.Random(1)
    line = b"%d,%s\n" if csv else b'{"id": %d, "text": "%s"}\n'
    lines = [line % (i, noise.randbytes(200).hex().encode()) for i in range(n)]
    return b"id,text\n" * csv + b"".join(lines)


@pytest.mark.parametrize(("n", "size"), [(5, 1), (50, 7), (1000, 70_000), (1000, 1_000_000)])
def test_frames_of_zstd_follow_each_other(tmp_path: Path, n: int, size: int) -> None:
    compress = zstandard.ZstdCompressor().compress
    skippable = struct.pack("<II", 0x184D2A50, 4) + b"size"  # pzstd writes one before each frame
    content = _noise(n)
    frames = [compress(content[i : i + size]) for i in range(0, len(content), size)]
    frames += [compress(b""), compress(b"\n" * 10_000_000), compress(LINES)]
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(skippable + skippable.join(frames))
    read = list(Source(str(path)).documents())
    assert [document.id for document in read[:n]] == [str(i) for i in range(n)]
    assert read[n:] == DOCUMENTS


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.csv.gz", "a.csv.zst"])
@pytest.mark.parametrize("kept", [0.7, 0.9999])
def test_a_file_that_was_cut_off_is_an_error(tmp_path: Path, name: str, kept: float) -> None:
    path = Path(_write(tmp_path / name, _noise(2000, csv=".csv" in name)))
    whole = list(Source(str(path)))
    compressed = path.read_bytes()
    path.write_bytes(compressed[: int(kept * len(compressed))])
    read: list[Document | Rejected] = []
    with pytest.raises(InvalidDocumentError) as error:
        read.extend(Source(str(path)))
    assert str(error.value) == f"{str(path)!r} ends in the middle; it was cut off"
    assert 0.5 * kept * len(whole) < len(read)
    assert read == whole[: len(read)]


@pytest.mark.parametrize("format", ["jsonl", "csv"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.gz", b"no gzip"),
        ("b.gz", gzip.compress(LINES, mtime=0)[:15] + b"?" + gzip.compress(LINES, mtime=0)[16:]),
        ("c.gz", gzip.compress(LINES, mtime=0)[:-8] + bytes(8)),  # another checksum
        ("d.gz", gzip.compress(LINES, mtime=0) + b"more"),
        ("a.zst", b"no zstd"),
        ("b.zst", zstandard.ZstdCompressor().compress(LINES)[:-3] + b"???"),
        ("c.zst", zstandard.ZstdCompressor().compress(LINES) + b"more"),
    ],
)
def test_a_damaged_file_is_an_error(tmp_path: Path, name: str, content: bytes, format: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InvalidDocumentError, match=rf"{name}' is damaged and cannot be"):
        list(Source(str(path), format=format))


@pytest.fixture
def collection(encoder: HashEncoder, tmp_path: Path) -> Iterator[Store]:
    with open_store(f"memory:/{tmp_path.name}") as store:
        store.create(encoder.schema)
        yield store
        store.drop()


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
def test_prune_deletes_nothing_for_a_file_that_was_cut_off(
    tmp_path: Path, encoder: HashEncoder, collection: Store, name: str
) -> None:
    path = Path(_write(tmp_path / name, _noise(100)))
    journal = tmp_path / "a.journal"
    ingest(Source(str(path)), encoder, collection, journal=journal)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InvalidDocumentError, match="it was cut off"):
        ingest(Source(str(path)), encoder, collection, journal=journal, on_error="skip", prune=True)
    assert collection.count() == 100


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl.gz", gzip.compress(LINES, mtime=0)[:-1], "ends in the middle; it was cut off"),
        ("a.jsonl.zst", zstandard.ZstdCompressor().compress(LINES)[:-1], "it was cut off"),
        ("b.jsonl.zst", b"no zstd", "is damaged and cannot be decompressed"),
        ("a.csv", b"id,text,text\n", "2 columns are named 'text'"),
    ],
)
def test_the_command_line_says_what_cannot_be_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    collection: Store,
    name: str,
    content: bytes,
    message: str,
) -> None:
    monkeypatch.setattr("trivec.cli.models.load_encoder", lambda *args: HashEncoder())
    path = tmp_path / name
    path.write_bytes(content)
    done = CliRunner().invoke(app, ["ingest", str(path), collection.address, "--on-error", "skip"])
    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")
    assert str(path) in done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.output


def test_parquet(tmp_path: Path) -> None:
    when = datetime(2024, 1, 31, 12, tzinfo=UTC)
    rows = [{"id": i, "text": f"t{i}", "when": when, "tags": ["a"]} for i in range(1000)]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    source = Source(str(path))
    read = []
    for document in source:
        read.append((document, source.fraction() or 0))
    assert read[0][0] == Document("0", "t0", {"when": "2024-01-31T12:00:00+00:00", "tags": ["a"]})
    assert len(read) == 1000
    fractions = [fraction for _, fraction in read]
    assert fractions == sorted(fractions)
    assert 0 < fractions[500] < 1


def test_a_folder_of_text(tmp_path: Path) -> None:
    for name in ("b.txt", "a/c.md", "a/skipped.png", ".hidden/d.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name, encoding="utf-8")
    (tmp_path / "z.txt").write_bytes(b"\xff\xfe")
    first, bad, last = Source(str(tmp_path))
    assert (first, last) == (Document("b.txt", "b.txt"), Document("a/c.md", "a/c.md"))
    assert isinstance(bad, Rejected)
    assert bad.where.endswith("z.txt")


@pytest.mark.parametrize("unlisted", [".", "b/c"])
def test_a_folder_that_cannot_be_listed_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    encoder: HashEncoder,
    collection: Store,
    unlisted: str,
) -> None:
    folder = tmp_path / "texts"
    for name in ("a.txt", "b/b.txt", "b/c/c.txt", "d/d.txt"):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text(name, encoding="utf-8")
    journal = tmp_path / "a.journal"
    ingest(Source(str(folder)), encoder, collection, journal=journal)
    scandir = os.scandir

    def refusing(path: str) -> object:  # a mode would not keep root out
        if Path(path) == folder / unlisted:
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    report = ingest(
        Source(str(folder)), encoder, collection, journal=journal, on_error="skip", prune=True
    )
    (failure,) = report.failures
    assert failure.where == f"{folder}, {unlisted}"
    assert "cannot be listed: [Errno 13] Permission denied" in failure.problem
    assert (report.unreadable, report.pruned, collection.count()) == (1, 0, 4)


@pytest.mark.parametrize(("format", "content"), [(None, LINES), ("csv", TABLE)])
def test_standard_input(
    monkeypatch: pytest.MonkeyPatch, format: str | None, content: bytes
) -> None:
    buffer = io.BytesIO(content)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=buffer))
    assert list(Source("-", format=format, fields=FIELDS)) == DOCUMENTS
    assert not buffer.closed


def test_other_members_for_id_and_text(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.jsonl", b'{"key": 12, "body": "x", "metadata": {"n": 1}}')
    assert list(Source(path, id_field="key", text_field="body")) == [Document("12", "x", {"n": 1})]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"{", "not JSON"),
        (b'{"id": "x", "text": "\xff"}', "not in UTF-8: byte 0xff at character 22"),
        (b"[" * 100_000, "not JSON"),
        (b"[1]", "expected an object"),
        (b'{"id": "x"}', "expected an object with 'id' and 'text'"),
        (b'{"id": true, "text": ""}', "document id True"),
        (b'{"id": "", "text": ""}', "takes 0 bytes"),
        (b'{"id": "x", "text": "\\ud800"}', "UTF-8"),
        (b'{"id": "x", "text": "", "n": Infinity}', "metadata.n = inf is not finite"),
    ],
)
def test_bad_lines_are_told_with_their_numbers(tmp_path: Path, line: bytes, problem: str) -> None:
    path = _write(tmp_path / "a.jsonl", b"\n" + LINES + line + b"\n" + LINES)
    read = list(Source(path))
    assert [d for d in read if isinstance(d, Document)] == DOCUMENTS * 2
    (bad,) = [d for d in read if isinstance(d, Rejected)]
    assert bad.where == f"{path}, line 4"
    assert problem in bad.problem
    assert not bad.readable
    with pytest.raises(InvalidDocumentError, match="line 4"):
        list(Source(path).documents())


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"x,text,en\n", "3 cells, the header has 4"),
        (b"x,text,en,recently\n", "'year' is declared int, got 'recently'"),
        (b"x,\xff,en,2020\n", "UTF-8"),
    ],
)
def test_bad_records_of_csv(tmp_path: Path, line: bytes, problem: str) -> None:
    path = _write(tmp_path / "a.csv", TABLE + line + b'"c","two\nlines",,\n')
    read = list(Source(path, fields=FIELDS))
    assert isinstance(read[2], Rejected)
    assert read[2].where == f"{path}, line 4"
    assert problem in read[2].problem
    assert read[3] == Document("c", "two\nlines", {"lang": "", "year": None})


@pytest.mark.parametrize("blank", [b"\n\r\n", b"  \n\n", b",,,\n"])
def test_blank_lines_before_the_header_of_csv(tmp_path: Path, blank: bytes) -> None:
    path = _write(tmp_path / "a.csv", b"\xef\xbb\xbf" + blank + TABLE)
    assert list(Source(path, fields=FIELDS)) == DOCUMENTS


def test_columns_of_the_same_name_are_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.csv", b"\nid,text,lang,year,lang\nx,text,en,2020,de\n")
    with pytest.raises(InvalidDocumentError) as error:
        list(Source(path))
    assert str(error.value) == (
        f"{path}, line 2: 2 columns are named 'lang'; each needs a name of its own"
    )


def test_cells_take_the_type_of_their_field(tmp_path: Path) -> None:
    kinds = {
        "i": FieldType.INT,
        "f": FieldType.FLOAT,
        "b": FieldType.BOOL,
        "l": FieldType.LIST_STR,
        "d": FieldType.DATETIME,
    }
    path = _write(tmp_path / "a.csv", b'id,text,i,f,b,l,d\nx,,1,2.5,True,"[""a""]",2020-01-31\n')
    (document,) = Source(path, fields=kinds).documents()
    assert document.metadata == {"i": 1, "f": 2.5, "b": True, "l": ["a"], "d": "2020-01-31"}


@pytest.mark.parametrize(
    ("path", "format", "message"),
    [
        ("nothing.jsonl", None, "there is no file"),
        ("nothing", "csv", "there is no file"),
        ("{here}/a.dat", None, "say which of jsonl, json, csv"),
        ("{here}/a.dat", "xml", "expected one of jsonl, json, csv"),
        ("{here}/a.dat", "parquet", "is not a Parquet file"),
        ("-", "parquet", "cannot be read as parquet"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, path: str, format: str | None, message: str) -> None:
    (tmp_path / "a.dat").write_bytes(b"something")
    with pytest.raises(InvalidOptionError, match=message):
        list(Source(path.format(here=tmp_path), format=format))


@pytest.mark.parametrize(("name", "module"), [("a.zst", "zstandard"), ("a.parquet", "pyarrow")])
def test_a_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str
) -> None:
    for known in [m for m in sys.modules if m.partition(".")[0] == module]:
        monkeypatch.setitem(sys.modules, known, None)
    (tmp_path / name).touch()
    format = "jsonl" if name.endswith("zst") else None
    with pytest.raises(MissingDependencyError, match=r"pip install 'trivec\[files\]'"):
        list(Source(str(tmp_path / name), format=format))


def test_a_reject_file_is_made_by_the_first_reject(tmp_path: Path) -> None:
    path = tmp_path / "rejects.jsonl"
    with RejectFile(path):
        pass
    assert not path.exists()
    with RejectFile(path) as rejects:
        rejects(Rejected("a, line 1", "not JSON", '{"\ud800', readable=False))
    assert json.loads(path.read_text(encoding="utf-8"))["content"] == '{"\ud800'


def test_a_reject_file_takes_lines_from_several_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = tmp_path / "rejects.jsonl", Path.open
    waits = iter([0.05, 0.3])  # whoever opens second, writes second

    def slowly(self: Path, mode: str, *, encoding: str) -> TextIO:
        file = real(self, mode, encoding=encoding)
        time.sleep(next(waits))
        assert isinstance(file, io.TextIOWrapper)
        return file

    monkeypatch.setattr(Path, "open", slowly)
    lines = [Rejected(f"a, line {i}", "not JSON", "{", readable=False) for i in range(10)]
    with RejectFile(path) as rejects, ThreadPoolExecutor(len(lines)) as threads:
        list(threads.map(rejects, lines))
    monkeypatch.undo()
    with path.open(encoding="utf-8") as file:
        assert {json.loads(line)["where"] for line in file} == {line.where for line in lines}
