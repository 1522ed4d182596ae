"""Rejects of a run: where they were, how many are accepted, and that none is lost."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from trivec import Document, Store, copy, ingest, open_store, read_documents
from trivec.errors import (
    DocumentRefusedError,
    InvalidDocumentError,
    InvalidInputError,
    InvalidOptionError,
    StoreError,
    TooManyRejectsError,
)
from trivec.ingestion.positions import Positions
from trivec.ingestion.report import IngestReport, Rejected
from trivec.testing import HashEncoder
from trivec.vectors import Vectors


@pytest.fixture(autouse=True)
def _created(encoder: HashEncoder, store: Store) -> None:
    store.create(encoder.schema)


def source_of(path: Path, lines: Sequence[str]) -> Any:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return read_documents(path)


def rows(count: int, *, bad: Sequence[int] = ()) -> list[str]:
    """Return lines of JSON, some of which are none."""
    good = [json.dumps({"id": f"d{i}", "text": f"text {i}"}) for i in range(count)]
    return [f"{{{i}" if i in bad else line for i, line in enumerate(good)]


def assert_nothing_is_lost(report: IngestReport) -> None:
    assert report.records == sum(
        (report.documents, report.unchanged, report.replaced, report.failed)
    )


@pytest.mark.parametrize(
    ("most", "bad", "stops"),
    [
        (None, 3, False),
        (3, 3, False),
        ("3", 3, False),
        (2, 3, True),
        (0, 1, True),
        ("3%", 3, False),
        ("2.9%", 3, True),
        ("0%", 0, False),
    ],
)
def test_more_rejects_than_accepted_end_the_run(
    tmp_path: Path, encoder: HashEncoder, store: Store, most: Any, bad: int, stops: bool
) -> None:
    source = source_of(tmp_path / "a.jsonl", rows(100, bad=range(10, 10 + bad)))
    if not stops:
        report = ingest(source, encoder, store, on_error="skip", max_rejects=most)
        assert (report.records, report.documents, report.failed) == (100, 100 - bad, bad)
        return
    with pytest.raises(TooManyRejectsError, match=f"{bad} of .*max_rejects={most}") as caught:
        ingest(source, encoder, store, on_error="skip", max_rejects=most)
    report = pickle.loads(pickle.dumps(caught.value)).report
    assert report.failed == bad
    assert store.count() == (97 if most == "2.9%" else 10)


def test_a_share_ends_the_run_before_the_end_of_a_long_source(
    encoder: HashEncoder, store: Store
) -> None:
    read = 0

    def source() -> Iterator[Document | Rejected]:
        nonlocal read
        while True:  # without end
            read += 1
            bad = Rejected(f"row {read}", "no text", "{}", readable=False)
            yield bad if read % 10 == 0 else Document(f"d{read}", "x")

    with pytest.raises(TooManyRejectsError, match="100 of 1000 records"):
        ingest(source(), encoder, store, on_error="skip", max_rejects="9%")
    assert store.count() == 900


def test_the_journal_knows_what_was_stored_before_too_many_rejects(
    tmp_path: Path, encoder: HashEncoder, store: Store
) -> None:
    lines = rows(50, bad=[20, 40])
    options: Any = {"journal": tmp_path / "j", "on_error": "skip", "prune": True}
    with pytest.raises(TooManyRejectsError):
        ingest(source_of(tmp_path / "a", lines), encoder, store, max_rejects=1, **options)
    report = ingest(source_of(tmp_path / "a", lines), encoder, store, max_rejects=2, **options)
    assert (report.unchanged, report.documents, report.failed) == (39, 9, 2)
    assert_nothing_is_lost(report)


@pytest.mark.parametrize("most", [-1, "x", "101%", "nan%", "%", "1.5", True, 2.5, []])
def test_limits_that_are_none(encoder: HashEncoder, store: Store, most: Any) -> None:
    with pytest.raises(InvalidOptionError, match="max_rejects"):
        ingest([], encoder, store, on_error="skip", max_rejects=most)


def test_a_limit_is_for_runs_that_skip(encoder: HashEncoder, store: Store) -> None:
    with pytest.raises(InvalidOptionError, match="on_error is 'raise'"):
        ingest([], encoder, store, max_rejects=1)


class Picky:
    """Wraps `upsert` or `encode_documents`, which then refuses texts with "bad" in them."""

    def __init__(self, target: Any, name: str, error: Exception) -> None:
        self._target, self._name, self._error = target, name, error

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        inner = getattr(self._target, self._name)

        def refusing(given: Sequence[Any], *args: Any) -> Any:
            texts = [each if isinstance(each, str) else each.text for each in given]
            if any("bad" in text for text in texts):
                raise self._error
            return inner(given, *args)

        monkeypatch.setattr(self._target, self._name, refusing)


@pytest.mark.parametrize("by", ["store", "encoder"])
@pytest.mark.parametrize("count", [60, 3000])
def test_a_refused_document_is_named_with_its_line(
    tmp_path: Path, encoder: HashEncoder, store: Store, monkeypatch: Any, by: str, count: int
) -> None:
    lines = rows(count, bad=[5])
    lines[count - 9] = json.dumps({"id": "x", "text": "a bad text", "n": 1})
    source = source_of(tmp_path / "a.jsonl", lines)
    if by == "store":
        picky = Picky(store, "upsert", StoreError("the server dislikes it"))
    else:
        picky = Picky(encoder, "encode_documents", InvalidInputError("text 0 holds NUL"))
    picky.install(monkeypatch)
    rejects: list[Rejected] = []
    report = ingest(source, encoder, store, on_error="skip", rejected=rejects.append)
    assert (report.records, report.documents, report.failed) == (count, count - 2, 2)
    refused = next(each for each in rejects if each.readable)
    assert (refused.where, refused.id) == (f"{tmp_path}/a.jsonl, line {count - 8}", "x")
    assert json.loads(refused.content)["metadata"] == {"n": 1}
    lines[5] = rows(6)[5]
    source = source_of(tmp_path / "a.jsonl", lines)
    expected = DocumentRefusedError if by == "store" else InvalidDocumentError
    with pytest.raises(expected, match=rf"document 'x' \(.*a.jsonl, line {count - 8}\)"):
        ingest(source, encoder, store)


def test_ids_that_come_again_are_named_with_the_first_line(
    tmp_path: Path, encoder: HashEncoder, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ['{"id": "x", "text": "a bad text"}', *rows(4), '{"id": "x", "text": "also bad"}']
    Picky(store, "upsert", StoreError("no")).install(monkeypatch)
    rejects: list[Rejected] = []
    source = source_of(tmp_path / "a.jsonl", lines)
    report = ingest(source, encoder, store, on_error="skip", rejected=rejects.append)
    assert_nothing_is_lost(report)
    assert [each.where for each in rejects] == [
        f"{tmp_path}/a.jsonl, line 1 (or a later row with this id)"
    ]


def test_what_the_encoder_refuses_of_a_whole_batch_ends_the_run(
    encoder: HashEncoder, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(texts: Sequence[str]) -> Vectors:
        raise InvalidOptionError("max_length is too small")

    monkeypatch.setattr(encoder, "encode_documents", wrong)
    with pytest.raises(InvalidOptionError):
        ingest([Document("a", "x"), Document("b", "y")], encoder, store, on_error="skip")


def test_no_record_is_lost_in_repeated_runs(
    tmp_path: Path, encoder: HashEncoder, store: Store
) -> None:
    lines = [*rows(300, bad=[7]), *rows(200)[:20], *rows(5)]
    for changed in ("", "x", ""):
        lines[30] = json.dumps({"id": "d30", "text": changed})
        lines[31] = json.dumps({"id": "d31", "text": "t", "n": changed})
        source = source_of(tmp_path / "a.jsonl", lines)
        report = ingest(
            source, encoder, store, journal=tmp_path / "j", on_error="skip", part_bytes=400
        )
        assert report.records == 325
        assert_nothing_is_lost(report)


def test_few_positions_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trivec.ingestion.positions.MOST", 50)
    positions = Positions()
    for number in range(1000):
        positions.add(f"d{number}", f"line {number}")
        assert positions.find(f"d{number}") == f"line {number}"
        assert len(positions) <= 50
    assert positions.find("d980") == "line 980"
    assert positions.find("d7") == ""


def test_positions_of_what_was_written_are_forgotten(
    tmp_path: Path, encoder: HashEncoder, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Positions] = []

    def watched(self: Positions) -> None:
        self._known = {}
        made.append(self)

    monkeypatch.setattr(Positions, "__init__", watched)
    source = source_of(tmp_path / "a.jsonl", [*rows(200), *rows(3)])
    for _ in range(2):
        ingest(source, encoder, store, journal=tmp_path / "j", part_bytes=100)
    assert [len(positions) for positions in made] == [0, 0]


def test_a_copy_has_the_same_limit(
    encoder: HashEncoder, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = [Document(f"d{n}", "bad" if n < 3 else "x") for n in range(20)]
    store.upsert(documents, encoder.encode_documents([document.text for document in documents]))
    with open_store("memory:/copy-limit") as other:
        Picky(other, "upsert", StoreError("no")).install(monkeypatch)
        with pytest.raises(TooManyRejectsError, match="3 of 20 records"):
            copy(store, other, on_error="skip", max_rejects="10%")
        report = copy(store, other, on_error="skip", max_rejects="15%").written
        assert (report.records, report.documents, report.failed) == (20, 17, 3)
        other.drop()
