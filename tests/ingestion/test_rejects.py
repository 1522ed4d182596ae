"""The file of rejects: what is ours is replaced and removed, what is not is never touched."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

import pytest

from trivec.errors import InvalidOptionError, OutputError
from trivec.ingestion.report import Rejected
from trivec.ingestion.sources import RejectFile

REJECT = Rejected("a.jsonl, line 1", "not JSON", '{"', readable=False)


def reject(path: Path, *rejected: Rejected) -> None:
    with RejectFile(path) as rejects:
        for one in rejected:
            rejects(one)


def test_a_clean_run_removes_what_an_earlier_one_left(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    reject(path, REJECT, REJECT)
    assert len(path.read_text(encoding="utf-8").splitlines()) == 2
    reject(path, REJECT)
    (line,) = path.read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["content"] == '{"'
    reject(path)
    assert not path.exists()
    reject(path)
    assert not path.exists()


def test_a_run_that_ends_with_an_error_keeps_what_it_rejected(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    reject(path, REJECT, REJECT)
    with suppress(KeyError), RejectFile(path) as rejects:
        rejects(REJECT)
        raise KeyError
    assert len(path.read_text(encoding="utf-8").splitlines()) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_that_ends_with_an_error_removes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    reject(path, REJECT)
    before = path.read_bytes()
    with pytest.raises(KeyError), RejectFile(path):
        raise KeyError
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [
        b'{"id": "a", "text": "mine"}\n',
        b"notes\n",
        b"\xff\xfe\n",
        b"[1]\n",
        b'{"where": "a", "problem": "b", "content": "c", "readable": true, "mine": 1}\n',
        b'{"where": "a", "problem": "b", "content": "c", "readable": true}\nand a note\n',
    ],
)
def test_a_file_of_somebody_else_is_never_touched(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(content)
    with pytest.raises(InvalidOptionError, match="holds something else than rejects"):
        RejectFile(path)
    assert path.read_bytes() == content
    path.unlink()
    with RejectFile(path) as rejects:
        path.write_bytes(content)  # while the run goes on
        with pytest.raises(InvalidOptionError, match="holds something else than rejects"):
            rejects(REJECT)
    assert path.read_bytes() == content


def test_a_line_that_was_cut_off_is_ours(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    reject(path, REJECT, REJECT)
    path.write_bytes(path.read_bytes()[:-10])  # the run was killed
    reject(path, REJECT)
    assert len(path.read_text(encoding="utf-8").splitlines()) == 1


def test_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidOptionError, match="there is no folder"):
        RejectFile(tmp_path / "nowhere" / "r.jsonl")

    def refusing(**_: object) -> None:  # a mode would not stop root
        raise PermissionError(13, "Permission denied")

    with RejectFile(tmp_path / "r.jsonl") as rejects:
        monkeypatch.setattr("tempfile.mkstemp", refusing)
        with pytest.raises(OutputError, match=r"Permission denied.*--rejects"):
            rejects(REJECT)


def test_an_empty_file_is_free_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.touch()
    reject(path)
    assert path.read_bytes() == b""
    reject(path, REJECT)
    assert path.stat().st_size


def test_links(tmp_path: Path) -> None:
    path, target = tmp_path / "r.jsonl", tmp_path / "target.jsonl"
    path.symlink_to(target)
    with pytest.raises(InvalidOptionError, match="is a link"):
        RejectFile(path, follow_links=False)
    reject(path, REJECT)
    assert target.stat().st_size
    assert path.is_symlink()
    reject(path)
    assert path.is_symlink()
    assert not target.exists()


def test_folders_and_devices(tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match="is a folder"):
        RejectFile(tmp_path)
    reject(Path(os.devnull), REJECT)
    reject(Path(os.devnull))
    assert Path(os.devnull).exists()
