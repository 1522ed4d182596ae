"""Files that trivec writes: whole or not at all, for their owner only, and never an input."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from trivec import Document, Evaluation, Vectors, copy, evaluate, ingest, open_store
from trivec.collection import Collection, Page
from trivec.encoders.spool import Spool
from trivec.errors import InvalidOptionError, OutputError
from trivec.ingestion.journal import Journal
from trivec.ingestion.report import Rejected
from trivec.ingestion.sources import RejectFile, Source
from trivec.outputs import (
    check_folder,
    check_output,
    check_outputs,
    make_folder,
    written_beside,
)
from trivec.rows import SparseRows, TokenRows
from trivec.testing import HashEncoder
from trivec_vespa import write_application, write_feed

Write = Callable[[Path], object]

ENCODER = HashEncoder()
DOCUMENT = Document("a", "blue whale")
VECTORS = ENCODER.encode_documents(["blue whale"])
COLLECTION = Collection(ENCODER.schema, {})


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def put(path: Path, content: bytes = b"new") -> None:
    with written_beside(path) as file:
        file.write(content)


def rejects(path: Path) -> None:
    with RejectFile(path) as file:
        file(Rejected("a", "b", "c", readable=False))


def evaluation() -> Evaluation:
    store = open_store("memory:/outputs")
    store.create(ENCODER.schema, exist_ok=True)
    store.upsert([DOCUMENT], VECTORS)
    return evaluate(store, ENCODER, {"q": "whale"}, {"q": {"a": 1}}, modes=["dense"])


def feed(path: Path) -> None:
    write_feed([Page([DOCUMENT], VECTORS)], path, name="n", collection=COLLECTION)


WRITERS: dict[str, Write] = {
    "written_beside": put,
    "Vectors.save": VECTORS.save,
    "write_feed": feed,
    "RejectFile": rejects,
    "write_html": lambda path: evaluation().write_html(path),
    "write_runs": lambda path: evaluation().write_runs(path.parent),
}


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.usefixtures("no_umask")
def test_a_new_file_is_for_its_owner_and_an_old_one_keeps_its_mode(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / "dense.run"
    WRITERS[name](path)
    assert mode(path) == 0o600
    path.chmod(0o640)
    WRITERS[name](path)
    assert mode(path) == 0o640
    assert path.stat().st_size
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", WRITERS)
def test_a_link_stays_and_what_it_names_is_replaced(name: str, tmp_path: Path) -> None:
    link, target = tmp_path / "dense.run", tmp_path / "elsewhere" / "target"
    target.parent.mkdir()
    link.symlink_to(target)
    WRITERS[name](link)
    assert link.is_symlink()
    assert target.stat().st_size


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "o"
    path.write_bytes(b"old")
    with suppress(KeyError), written_beside(path) as file:
        file.write(b"new")
        raise KeyError
    assert path.read_bytes() == b"old"

    def pages() -> Iterator[Page]:
        yield Page([DOCUMENT], VECTORS)
        yield Page([DOCUMENT], None)

    with pytest.raises(InvalidOptionError, match="no vectors"):
        write_feed(pages(), path, name="n", collection=COLLECTION)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_all_runs_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = evaluation()
    (tmp_path / "dense.run").write_bytes(b"old")

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("trivec.insight.evaluation._falling", full)
    with pytest.raises(OutputError, match="No space left"):
        found.write_runs(tmp_path)
    assert (tmp_path / "dense.run").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_process_that_is_killed_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "o.jsonl"
    path.write_bytes(b"old")
    code = f"""
        import os, signal
        from trivec.outputs import written_beside
        with written_beside({str(path)!r}) as file:
            file.write(b"new")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    (left,) = (one for one in tmp_path.iterdir() if one != path)
    assert left.name.startswith(".trivec-")
    assert mode(left) == 0o600


def test_an_error_of_the_block_is_not_taken_for_one_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), written_beside(tmp_path / "o"):
        (tmp_path / "missing").read_bytes()
    with pytest.raises(OutputError, match="cannot be written"):
        put(tmp_path / "nowhere" / "o")
    with pytest.raises(OutputError, match="cannot be written"):
        put(tmp_path)


def test_the_layout_is_that_of_the_library(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    half = Vectors(
        dense=np.eye(3, 4, dtype=np.float16)[::-1],
        sparse=SparseRows.from_dicts([{7: 0.5}, {}, {1: 0.25, 9: 1.0}]),
        colbert=TokenRows(np.array([0, 2, 2, 3]), np.arange(12, dtype=np.float16).reshape(3, 4)),
    )
    for number, vectors in enumerate((half, VECTORS, half.slice(0, 0), Vectors(dense=half.dense))):
        path = tmp_path / f"{number}.safetensors"
        vectors.save(path)
        columns = load_file(path)
        assert sum(one.nbytes for one in columns.values()) + 8 <= path.stat().st_size
        again = Vectors.load(path)
        for part in ("dense", "sparse", "colbert"):
            mine, read = getattr(vectors, part), getattr(again, part)
            if isinstance(mine, np.ndarray):
                assert (read.dtype, read.tolist()) == (mine.dtype, mine.tolist())
            elif mine is not None:
                assert read.values.dtype == mine.values.dtype
                assert read.values.tolist() == mine.values.tolist()
                assert read.indptr.tolist() == mine.indptr.tolist()


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "write_runs"])
def test_pipes_and_devices_are_written_directly(name: str, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    WRITERS[name](pipe)
    reader.join(10)
    assert got
    assert got[0]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    # A terminal, since a mistake here would cost this machine a device such as /dev/null.
    controller, terminal = os.openpty()
    try:
        link = tmp_path / "link"
        link.symlink_to(os.ttyname(terminal))
        put(link)
        assert os.read(controller, 3) == b"new"
        assert stat.S_ISCHR(link.stat().st_mode)
    finally:
        os.close(controller)
        os.close(terminal)


@pytest.mark.parametrize("what", ["put(path, bytes(100_000))", "VECTORS.save(path)", "feed(path)"])
def test_a_disk_that_is_full(what: str, tmp_path: Path) -> None:
    path = tmp_path / "o"
    path.write_bytes(b"old")
    code = f"""
        import resource, sys
        from pathlib import Path
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_outputs import *
        path = Path({str(path)!r})
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        try:
            {what}
        except OutputError as error:
            print(error.errno, error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True, timeout=60, check=True, text=True,
    )  # fmt: skip
    assert done.stdout.startswith(f"{errno.EFBIG} ")
    assert "cannot be written" in done.stdout
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_standard_output_that_is_a_file_is_added_to(tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = """
        from trivec.outputs import written_beside
        print("first", flush=True)
        for name in ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"):
            with written_beside(name) as file:
                file.write(name.encode() + b"\\n")
        print("last")
    """
    with out.open("wb") as file:
        subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)], stdout=file, timeout=60, check=True
        )
    lines = out.read_text(encoding="utf-8").splitlines()
    assert lines == ["first", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "last"]


# --- an output may be an input -------------------------------------------------------------------


def test_an_input_by_any_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "docs" / "a.txt"
    source.parent.mkdir()
    source.write_bytes(b"text")
    linked = tmp_path / "docs" / "linked.txt"
    elsewhere = tmp_path / "elsewhere.txt"
    elsewhere.write_bytes(b"text")
    linked.symlink_to(elsewhere)
    soft, hard = tmp_path / "soft", tmp_path / "hard"
    soft.symlink_to(source)
    os.link(source, hard)
    folder = tmp_path / "folder"
    folder.symlink_to(source.parent)
    monkeypatch.chdir(tmp_path)
    names = (source, Path("docs/a.txt"), Path("docs/../docs/a.txt"), soft, hard, folder / "a.txt")
    for output in names:
        for given in (source, str(source), "docs", folder, hard, soft):
            with pytest.raises(InvalidOptionError, match=r"--html .*which is read; give another"):
                check_output(output, inputs=["missing", given], what="--html")
    for output in (Path("docs/new.txt"), folder / "new.txt", elsewhere):
        with pytest.raises(InvalidOptionError, match="which is read"):
            check_output(output, inputs=["docs"])
    for output in (Path("new.txt"), elsewhere, Path("docs.txt")):
        check_output(output, inputs=[source, soft, "-", tmp_path / "missing"])
    with pytest.raises(InvalidOptionError, match="which is read"):
        check_folder(tmp_path / "docs" / "runs" / "deep", inputs=["docs"])
    check_folder(tmp_path / "runs" / "deep", inputs=["docs"])


def test_standard_input_is_an_input(tmp_path: Path) -> None:
    source = tmp_path / "a.jsonl"
    source.write_bytes(b"{}\n")
    code = f"""
        from trivec.errors import InvalidOptionError, OutputError
        from trivec.outputs import check_output
        check_output({str(tmp_path / "b.jsonl")!r}, inputs=["-"])
        try:
            check_output({str(source)!r}, inputs=["-"])
        except InvalidOptionError as error:
            print(error)
    """
    with source.open("rb") as file:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            stdin=file, capture_output=True, timeout=60, check=True, text=True,
        )  # fmt: skip
    assert "is standard input, which is read" in done.stdout


def test_devices_are_read_and_written_at_once() -> None:
    check_output(os.devnull, inputs=[os.devnull, "-"])


def test_a_pipe_that_is_read_is_not_written(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    check_output(pipe)
    with pytest.raises(InvalidOptionError, match="which is read"):
        check_output(pipe, inputs=[pipe])


def test_two_outputs_are_two_files(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "o")
    with pytest.raises(InvalidOptionError, match=r"--rejects .* is also --journal"):
        check_outputs({"--journal": tmp_path / "o", "--rejects": link})
    check_outputs({"--journal": tmp_path / "o", "--rejects": tmp_path / "p", "--html": None})
    check_outputs({"--journal": os.devnull, "--rejects": os.devnull})


def test_what_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    for path, why in (
        (tmp_path, "is a folder"),
        (tmp_path / "nowhere" / "o", "there is no folder"),
        (tmp_path / "file" / "o", "there is no folder"),
        ("a\0b", "cannot be the name of a file"),
    ):
        with pytest.raises(InvalidOptionError, match=why):
            check_output(path)
    with pytest.raises(InvalidOptionError, match="is not a folder"):
        check_folder(tmp_path / "file" / "runs")
    monkeypatch.setattr("os.access", lambda *_: False)  # a mode would not stop root
    with pytest.raises(InvalidOptionError, match="nothing can be added to the folder"):
        check_output(tmp_path / "o")


def test_functions_check_their_sources(tmp_path: Path) -> None:
    source = tmp_path / "a.jsonl"
    content = b'{"where": "a", "problem": "b", "content": "c", "readable": true}\n'
    source.write_bytes(content)  # as good a source as others
    store = open_store("memory:/outputs-functions")
    store.create(ENCODER.schema, exist_ok=True)
    documents = Source(source, id_field="where", text_field="content")
    with pytest.raises(InvalidOptionError, match="which is read"), RejectFile(source) as rejected:
        ingest(documents, ENCODER, store, rejected=rejected)
    with pytest.raises(InvalidOptionError, match="which is read"):
        ingest(documents, ENCODER, store, journal=source)
    assert source.read_bytes() == content
    with open_store(f"archive:{tmp_path}/saved") as saved:
        saved.create(ENCODER.schema)
        database = tmp_path / "saved" / "documents.sqlite"
        before = database.read_bytes()
        with pytest.raises(InvalidOptionError, match="which is read"):
            ingest([DOCUMENT], ENCODER, saved, journal=database)
        with pytest.raises(InvalidOptionError, match="which is read"):
            copy(store, saved, journal=database)
        with pytest.raises(InvalidOptionError, match="which is read"):
            copy(saved, store, journal=database)
    assert database.read_bytes() == before


# --- for their owner only ------------------------------------------------------------------------


@pytest.mark.usefixtures("no_umask")
def test_a_journal_and_what_sqlite_puts_beside_it_are_for_their_owner(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path, {"store": "s"}) as journal:
        journal.acknowledge([DOCUMENT])
        names = {one.name: mode(one) for one in tmp_path.iterdir()}
    assert names.pop("j-wal") == 0o600
    assert set(names.values()) == {0o600}
    path.chmod(0o660)
    with Journal(path, {"store": "s"}) as journal:
        assert len(journal) == 1
    assert mode(path) == 0o660
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "other")
    Journal(link, {"store": "s"}).close()
    assert mode(tmp_path / "other") == 0o600


@pytest.mark.usefixtures("no_umask")
def test_folders_are_for_their_owner_and_old_ones_stay(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir(0o755)
    make_folder(old / "new" / "newer")
    make_folder(old)
    assert [mode(one) for one in (old, old / "new", old / "new" / "newer")] == [
        0o755,
        0o700,
        0o700,
    ]
    evaluation().write_runs(tmp_path / "runs")
    assert mode(tmp_path / "runs") == 0o700
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        make_folder(tmp_path / "file")


@pytest.mark.usefixtures("no_umask")
def test_vectors_on_disk_for_a_while_have_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    spool = Spool()
    spool.put("whale", Vectors(dense=np.eye(1, 4)))
    assert spool._file is not None
    assert stat.S_IMODE(os.fstat(spool._file.fileno()).st_mode) == 0o600
    assert not list(tmp_path.iterdir())


def test_an_application_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "app"
    folder.mkdir(0o755)
    monkeypatch.chdir(folder)

    def failing(self: object, root: Path) -> None:
        (root / "half").touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("vespa.package.ApplicationPackage.to_files", failing)
        for place in (".", tmp_path / "new"):
            with pytest.raises(OutputError, match="No space left"):
                write_application(ENCODER.schema, {}, "n", place)
    assert [*tmp_path.rglob("*")] == [folder]
    for place in (Path(), tmp_path / "deep" / "new"):
        write_application(ENCODER.schema, {}, "n", place)
        assert (place / "schemas" / "n.sd").is_file()
