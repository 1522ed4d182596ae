"""Lines of JSON and text: the encoding and the line end are known, or an error with a remedy."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import os
import struct
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest
import zstandard

from trivec import Document
from trivec.errors import InvalidDocumentError, InvalidOptionError
from trivec.ingestion.report import Rejected
from trivec.ingestion.sources import Source
from trivec.ingestion.sources.compression import MAX_WINDOW

LINES = '{"id": "a", "text": "blue"}\n{"id": "b", "text": "grün\\u2028 \u2028 \x85"}\n'.encode()
DOCUMENTS = [Document("a", "blue"), Document("b", "grün\u2028 \u2028 \x85")]


def write(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r", b"\n\n \n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.jsonl.gz"])
def test_line_ends(tmp_path: Path, end: bytes, mark: bytes, name: str) -> None:
    content = mark + LINES.replace(b"\n", end)
    for whole in (content, content.removesuffix(end)):
        packed = gzip.compress(whole, mtime=0) if name.endswith("gz") else whole
        assert list(Source(write(tmp_path / name, packed))) == DOCUMENTS


def test_lines_longer_than_what_is_read_at_once(tmp_path: Path) -> None:
    texts = ["x" * n for n in (65_530, 65_536, 200_000, 1, 0)]
    rows = [json.dumps({"id": str(i), "text": text}) for i, text in enumerate(texts)]
    for end in ("\n", "\r\n", "\r"):
        path = write(tmp_path / "a.jsonl", end.join(rows).encode())
        assert [document.text for document in Source(path).documents()] == texts


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.tsv"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "id,text\n1,x\n".encode("utf-16"),
            "begins like text in UTF-16; give encoding='utf-16' (--encoding utf-16)",
        ),
        ("id,text\n1,x\n".encode("utf-16-le"), "UTF-16; give encoding='utf-16-le' (--encoding"),
        ("id,text\n1,x\n".encode("utf-16-be"), "UTF-16; give encoding='utf-16-be' (--encoding"),
        ("id,text\n1,x\n".encode("utf-32"), "text in UTF-32"),
        (gzip.compress(bz2.compress(LINES), mtime=0), "is compressed twice; decompress it once"),
        (b"PAR1...", "is a Parquet file; give format='parquet'"),
        (b"%PDF-1.7\n...", "is a PDF file"),
        (b"\xd0\xcf\x11\xe0...", "is a file of an old Office program; save it as CSV"),
    ],
)
def test_what_is_no_text_in_utf_8_is_one_error(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(InvalidOptionError) as error:
        list(Source(path))
    assert str(error.value).startswith(f"{path!r} ")
    assert message in str(error.value)


def test_a_spreadsheet_is_no_table(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("xl/workbook.xml", "<workbook/>")
    with pytest.raises(InvalidOptionError, match=r"is a zip archive; unpack it, .* save it as CSV"):
        list(Source(path))


@pytest.mark.parametrize("packing", ["", "gz"])
def test_an_archive_of_files_is_one_error(tmp_path: Path, packing: str) -> None:
    path = tmp_path / f"a.jsonl{packing and '.'}{packing}"
    with tarfile.open(path, "w:gz" if packing else "w") as file:
        member = tarfile.TarInfo("a.jsonl")
        member.size = len(LINES)
        file.addfile(member, io.BytesIO(LINES))
    with pytest.raises(InvalidOptionError, match="is a tar archive; unpack it"):
        list(Source(path))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"id": "x", "text": "a", "text": "b"}', "not JSON: the member 'text' occurs twice"),
        (b'{"id": "x", "text": "", "m": {"a": 1, "a": 1}}', "the member 'a' occurs twice"),
        (b'{"id": "x", "text": "gr\xfcn"}', "not in UTF-8: byte 0xfc at character 24"),
        (b'{"id": "x", "text": "\0"}', "not JSON: Invalid control character"),
        (b'{\0"id": "x"}', "not JSON"),  # json would take it for UTF-16
        (b'  {"id": "x"}  ', "expected an object with 'id' and 'text'"),
    ],
)
def test_rejects_hold_the_line_as_it_is(tmp_path: Path, line: bytes, problem: str) -> None:
    path = write(tmp_path / "a.jsonl", LINES + line + b"\r\n" + LINES)
    *first, bad, third, fourth = Source(path)
    assert [*first, third, fourth] == DOCUMENTS * 2
    assert isinstance(bad, Rejected)
    assert (bad.where, bad.content) == (f"{path}, line 3", line.decode(errors="backslashreplace"))
    assert problem in bad.problem


def test_a_file_that_cannot_be_read_is_one_of_our_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.jsonl", LINES)
    real = Path.open

    class Failing(io.BytesIO):
        def read1(self, size: int | None = -1) -> bytes:
            if self.tell():
                raise OSError(5, "Input/output error")
            return super().read1(len(LINES) - 1)

    monkeypatch.setattr(Path, "open", lambda self, *args, **options: Failing(LINES))
    read: list[Document | Rejected] = []
    with pytest.raises(InvalidDocumentError, match=r"a\.jsonl' cannot be read on: .*Input/output"):
        read.extend(Source(path))
    assert read == DOCUMENTS[:1]

    def refusing(self: Path, *args: str, **options: str) -> object:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refusing)
    with pytest.raises(
        InvalidOptionError, match=r"a\.jsonl' cannot be opened: .*Permission denied"
    ):
        list(Source(path))
    monkeypatch.setattr(Path, "open", real)


def test_a_pipe_is_read(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(LINES,))
    writer.start()
    source = Source(path, format="jsonl")
    source.check()
    assert list(source) == DOCUMENTS
    writer.join()


# --- zstd --------------------------------------------------------------------------------------


@pytest.mark.parametrize("log", [27, 28, 31])
def test_frames_with_a_long_window(tmp_path: Path, log: int) -> None:
    parameters = zstandard.ZstdCompressionParameters(
        window_log=log, enable_ldm=True, write_content_size=False, hash_log=10, chain_log=10
    )
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    frame = packer.compress(LINES) + packer.flush()
    assert zstandard.get_frame_parameters(frame).window_size == 2**log
    assert list(Source(write(tmp_path / "a.jsonl.zst", frame * 2))) == DOCUMENTS * 2


def _frame(header: bytes) -> bytes:
    """Return a frame with this header and one raw block, the last one, of LINES."""
    block = struct.pack("<I", len(LINES) << 3 | 1)[:3]
    return b"\x28\xb5\x2f\xfd" + header + block + LINES


def test_a_frame_made_by_hand_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl.zst", _frame(bytes([0, 21 << 3])))  # a window of 2 GiB
    assert list(Source(path)) == DOCUMENTS


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (_frame(bytes([0, 22 << 3])), f"needs more than {MAX_WINDOW} bytes of memory"),
        (_frame(bytes([0, 21 << 3 | 1])), f"needs more than {MAX_WINDOW} bytes of memory"),
        (_frame(bytes([1, 0, 77])), "was compressed with a dictionary"),
    ],
)
@pytest.mark.parametrize("before", [b"", zstandard.ZstdCompressor().compress(LINES)])
def test_what_a_frame_needs_is_told(
    tmp_path: Path, frame: bytes, message: str, before: bytes
) -> None:
    path = write(tmp_path / "a.jsonl.zst", before + frame)
    read: list[Document | Rejected] = []
    with pytest.raises(InvalidDocumentError) as error:
        read.extend(Source(path))
    assert str(error.value).startswith(f"{path!r} ")
    assert message in str(error.value)


@pytest.mark.parametrize("rest", [b"m", b"mor", b"more", b"\0" * 100, b"\x28\xb5\x2f\xfd"])
def test_what_follows_the_frames_is_an_error(tmp_path: Path, rest: bytes) -> None:
    path = write(tmp_path / "a.jsonl.zst", zstandard.ZstdCompressor().compress(LINES) + rest)
    with pytest.raises(
        InvalidDocumentError, match=r"a\.jsonl\.zst' (is damaged|ends in the middle)"
    ):
        list(Source(path))


def test_a_skippable_frame_longer_than_what_is_read_at_once(tmp_path: Path) -> None:
    skipped = struct.pack("<II", 0x184D2A5F, 100_000) + bytes(100_000)
    packed = zstandard.ZstdCompressor().compress(LINES)
    path = tmp_path / "a.jsonl.zst"
    assert list(Source(write(path, skipped + packed + skipped))) == DOCUMENTS
    with pytest.raises(InvalidDocumentError, match="ends in the middle"):
        list(Source(write(path, packed + skipped[:-1])))
