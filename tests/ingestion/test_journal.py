"""What a journal remembers, and whom it refuses."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from trivec import Document
from trivec.errors import JournalError
from trivec.ingestion.journal import Journal
from trivec.ingestion.repeats import PAGE

IDENTITY = {"store": "memory:/a", "model": "hash"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "articles.journal"


def test_a_plan_says_what_is_new_changed_touched_and_written(path: Path) -> None:
    old = [
        Document("same", "text", {"b": 1, "a": 2}),
        Document("text", "old"),
        Document("meta", ""),
    ]
    with Journal(path, IDENTITY) as journal:
        journal.acknowledge(old)
    new = [
        Document("same", "text", {"a": 2, "b": 1}),
        Document("text", "new"),
        Document("meta", "", {"a": 1}),
        Document("new", "text"),
    ]
    with Journal(path, IDENTITY) as journal:
        plan = journal.worklist(new)
        assert [d.id for d in plan.encode] == ["text", "new"]
        assert [d.id for d in plan.touch] == ["meta"]
        assert (plan.unchanged, plan.replaced, len(journal)) == (1, 0, 3)


def test_an_id_that_comes_again_is_written_again(path: Path) -> None:
    # The first one may be on its way to the store, so the second one must follow it.
    one, other = Document("a", "one"), Document("a", "other")
    with Journal(path, IDENTITY) as journal:
        journal.acknowledge([one])
        assert journal.worklist([other, other]).replaced == 1
        again = journal.worklist([one])
        assert (again.encode, again.replaced) == ([one], 1)


def test_a_failure_is_remembered_and_tried_again(path: Path) -> None:
    document = Document("a", "poison")
    with Journal(path, IDENTITY) as journal:
        journal.fail(document, "too bitter")
        assert len(journal) == 0
    with Journal(path, IDENTITY) as journal:
        assert list(journal.failures()) == [("a", "too bitter")]
        assert journal.worklist([document]).encode == [document]
        journal.acknowledge([document])
        assert list(journal.failures()) == []


def test_the_last_written_come_first_and_what_was_not_seen_has_vanished(path: Path) -> None:
    documents = [Document(f"d{i:04d}", "") for i in range(PAGE + 10)]
    with Journal(path, IDENTITY) as journal:
        journal.acknowledge(documents)
        journal.acknowledge(documents[5:6])
        pages = list(journal.newest())
        assert pages[0][0] == "d0005"
        assert [len(page) for page in pages] == [PAGE, 10]
        journal.worklist(documents[:4])
        vanished = [one for page in journal.vanished() for one in page]
        assert vanished == [d.id for d in documents[4:]]
        journal.forget(vanished)
        assert len(journal) == 4


def test_a_claim_asked_for_again_gets_the_same_answer(path: Path) -> None:
    with Journal(path, IDENTITY) as journal:
        journal.acknowledge([Document("same", "text"), Document("meta", "")])
    asked = [
        Document("new", "first"),
        Document("same", "text"),
        Document("meta", "", {"a": 1}),
        Document("new", "second"),
    ]
    with Journal(path, IDENTITY) as journal:
        claim = journal.claim(asked)
        assert (claim.encode, claim.touch) == ([asked[0]], [asked[2]])
        assert (claim.unchanged, claim.replaced) == (1, 1)
        journal.acknowledge([*claim.encode, *claim.touch])
        assert journal.claim(asked) == claim
        # Who comes later with another content of an id gets nothing to do.
        late = journal.claim([Document("new", "third"), Document("same", "text")])
        assert (late.encode, late.unchanged, late.replaced) == ([], 1, 1)
        assert list(journal.vanished()) == []
    with Journal(path, IDENTITY) as journal:
        again = journal.claim(asked)
        assert (again.encode, again.touch, again.unchanged) == ([], [], 3)


def test_another_store_or_model_is_refused_with_the_difference(path: Path) -> None:
    Journal(path, IDENTITY).close()
    with pytest.raises(
        JournalError, match="model was 'hash' and is 'other'; store was 'memory:/a'"
    ):
        Journal(path, {"store": "memory:/b", "model": "other"})
    Journal(path, IDENTITY).close()


def test_a_journal_in_use_is_refused(path: Path) -> None:
    with Journal(path, IDENTITY), pytest.raises(JournalError, match="another run uses it"):
        Journal(path, IDENTITY)
    Journal(path, IDENTITY).close()


def test_it_is_a_file_of_sqlite_in_wal_mode(path: Path) -> None:
    with Journal(path, IDENTITY) as journal:
        journal.acknowledge([Document("a", "text")])
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert database.execute("SELECT id, problem FROM documents").fetchall() == [("a", None)]
    database.close()


def _database(path: Path, script: str, *, log: bool = False) -> None:
    """Make somebody's database, with its last changes in a log beside it, as a killed process."""
    kept: dict[Path, bytes] = {}
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.executescript(("PRAGMA journal_mode = WAL;" if log else "") + script)
        if log:
            kept = {p: p.read_bytes() for p in (path, Path(f"{path}-wal"))}
    for file, content in kept.items():
        file.write_bytes(content)


STRANGERS: dict[str, Callable[[Path], object]] = {
    "text": lambda path: path.write_text("some text that is long enough to be no header of SQLite"),
    "one byte": lambda path: path.write_bytes(b"\n"),
    "a head alone": lambda path: path.write_bytes(b"SQLite format 3\0"),
    "a head and noise": lambda path: path.write_bytes(
        b"SQLite format 3\0" + bytes(range(256)) * 32
    ),
    "a database": lambda path: _database(path, "CREATE TABLE mine (a)"),
    "a database with a log": lambda path: _database(path, "CREATE TABLE mine (a)", log=True),
    "a database of a program": lambda path: _database(path, "PRAGMA user_version = 3"),
    "an application's": lambda path: _database(path, "PRAGMA application_id = 7"),
    "another identity": lambda path: _database(path, "CREATE TABLE identity (name, passport)"),
    "our names and others": lambda path: _database(
        path, "CREATE TABLE identity (key, value); CREATE TABLE mine (a)"
    ),
    "a view": lambda path: _database(path, "CREATE VIEW identity AS SELECT 1 AS a"),
    "a folder": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("make", STRANGERS.values(), ids=STRANGERS)
def test_what_is_no_journal_is_refused_as_it_is(path: Path, make: Callable[[Path], object]) -> None:
    make(path)
    before = {file.name: file.read_bytes() for file in path.parent.iterdir() if file.is_file()}
    for _ in range(2):
        with pytest.raises(JournalError, match=r"cannot be used: .*left as it is"):
            Journal(path, IDENTITY)
    after = {file.name: file.read_bytes() for file in path.parent.iterdir() if file.is_file()}
    assert {name: content for name, content in after.items() if "-shm" not in name} == before


def test_names_of_no_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="cannot be opened"):
        Journal(tmp_path / "no" / "such" / "folder", IDENTITY)
    for name, problem in (("", "empty name"), ("a\0b", "NUL|null"), ("x" * 300, "too long")):
        with pytest.raises(JournalError, match=problem):
            Journal(name and str(tmp_path / name), IDENTITY)


def test_a_journal_may_have_any_name_and_begin_in_an_empty_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (":memory:", "file:a?mode=ro", "a%20b#c", "ü"):
        Path(name).touch()
        with Journal(name, IDENTITY) as journal:
            journal.acknowledge([Document("a", "text")])
        with Journal(name, IDENTITY) as journal:
            assert len(journal) == 1


def test_a_journal_that_is_damaged_says_so(path: Path) -> None:
    with Journal(path, IDENTITY) as journal:
        journal.acknowledge(Document(f"d{i}", "text") for i in range(5_000))
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + b"\xff" * (len(whole) - 12_288) + whole[-4096:])
    with pytest.raises(JournalError, match="journal"), Journal(path, IDENTITY) as journal:
        journal.worklist([Document(f"d{i}", "text") for i in range(5_000)])


def _as_version_1_wrote_it(path: Path, identity: dict[str, str], document: Document) -> None:
    """Make a file as the first release did, which knew two tables."""
    database = sqlite3.connect(path)
    database.execute(
        "CREATE TABLE identity (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"
    )
    database.execute(
        "CREATE TABLE documents "
        "(id TEXT PRIMARY KEY, text BLOB NOT NULL, metadata BLOB NOT NULL, problem TEXT)"
    )
    database.executemany("INSERT INTO identity VALUES (?, ?)", {"format": "1", **identity}.items())
    hashes = [
        hashlib.blake2b(text.encode(), digest_size=16).digest()
        for text in (document.text, '{"a":2,"b":1}')
    ]
    database.execute("INSERT INTO documents VALUES (?, ?, ?, NULL)", (document.id, *hashes))
    database.commit()
    database.close()


def test_a_file_of_an_earlier_version_goes_on(path: Path) -> None:
    document = Document("a", "text", {"b": 1, "a": 2})
    _as_version_1_wrote_it(path, IDENTITY, document)
    with Journal(path, IDENTITY) as journal:
        assert len(journal) == 1
        plan = journal.worklist([document, Document("b", "text")])
        assert (plan.unchanged, [d.id for d in plan.encode]) == (1, ["b"])
    with Journal(path, IDENTITY) as journal:
        assert journal.claim([document]).unchanged == 1


def test_a_file_that_does_not_say_the_precision_takes_the_first_that_comes(path: Path) -> None:
    _as_version_1_wrote_it(path, IDENTITY, Document("a", "text", {"b": 1, "a": 2}))
    Journal(path, {**IDENTITY, "precision": "float32"}).close()
    with pytest.raises(JournalError, match="precision was 'float32' and is 'int8'"):
        Journal(path, {**IDENTITY, "precision": "int8"})
    with pytest.raises(JournalError, match="mcls was 'nothing' and is '256'"):
        Journal(path, {**IDENTITY, "precision": "float32", "mcls": "256"})


def test_a_model_without_a_name_or_from_a_folder_is_no_other_model(path: Path) -> None:
    Journal(path, {"store": "memory:/a", "model": ""}).close()
    for name in ("BAAI/bge-m3", "", "bge-m3", "baai/bge-m3"):
        Journal(path, {"store": "memory:/a", "model": name}).close()
    for name in ("me/bge-m3", "bge-m3-unsupervised"):
        with pytest.raises(JournalError, match=f"model was 'BAAI/bge-m3' and is '{name}'"):
            Journal(path, {"store": "memory:/a", "model": name})


def test_of_several_contents_the_one_that_the_store_has_is_claimed(path: Path) -> None:
    one, two = Document("a", "one"), Document("a", "two")
    with Journal(path, IDENTITY) as journal:
        assert [journal.claim([d]).encode for d in (one, two)] == [[one], []]
        journal.acknowledge([one])
    for order in ([one, two], [two, one]):
        for blocks in ([order], [order[:1], order[1:]]):
            with Journal(path, IDENTITY) as journal:
                claims = [journal.claim(block) for block in blocks]
                assert [claim.encode for claim in claims] == [[]] * len(blocks)
                assert sum(claim.unchanged for claim in claims) == 1
                assert sum(claim.replaced for claim in claims) == 1
                assert journal.waiting(10) == []
                journal.finish()
    with Journal(path, IDENTITY) as journal:  # now the source has but the other one
        assert [journal.claim([two]).encode for _ in range(2)] == [[], []]
        assert journal.waiting(10) == [two]
        for _ in range(2):
            assert journal.claim([two], wait=False).encode == [two]
        assert journal.waiting(10) == []
