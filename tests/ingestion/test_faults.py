"""Whole runs of ingestion against servers that fail, with the connectors as they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trivec import Document, ingest
from trivec.errors import DocumentRefusedError, StoreFullError, StoreUnavailableError
from trivec.ingestion.identity import EncoderIdentity, identity
from trivec.ingestion.journal import Journal
from trivec.ingestion.report import Rejected
from trivec.testing import HashEncoder

Events = list[Callable[[], None]]


@pytest.fixture
def encoder() -> HashEncoder:
    return HashEncoder(dense=4, colbert=4)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "articles.journal"


def _documents(n: int) -> list[Document]:
    return [Document(f"d{i:05d}", f"words of document {i % 50}", {"n": i}) for i in range(n)]


def _ids(n: int) -> list[str]:
    return [document.id for document in _documents(n)]


def _acknowledged(server: Any, path: Path) -> set[str]:
    """Return what a journal holds as acknowledged, by opening it as the next run would."""
    with (
        server.open() as store,
        Journal(path, identity(store, EncoderIdentity(store.schema, {}))) as journal,
    ):
        assert not list(journal.failures())
        return {one for page in journal.newest() for one in page}


@pytest.mark.parametrize("status", [429, 503, 0], ids=["429", "503", "dropped"])
@pytest.mark.parametrize("applied", [False, True], ids=["not applied", "applied"])
def test_what_passes_is_tried_again_until_everything_is_there(
    server: Any,
    faults: Any,
    waits: Events,
    encoder: HashEncoder,
    journal: Path,
    status: int,
    applied: bool,
) -> None:
    server.faults = lambda number, ids: faults(status, applied) if number % 3 == 2 else None
    with server.open() as store:
        report = ingest(_documents(300), encoder, store, journal=journal, part_bytes=1000)
        assert (report.documents, report.failed) == (300, 0)
        assert server.ids() == _ids(300)
        assert server.writes > report.requests
        again = ingest(_documents(300), encoder, store, journal=journal)
        assert (again.documents, again.unchanged, again.missing) == (0, 300, 0)
    assert encoder.encoded == 300


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_a_full_database_ends_the_run_and_no_document_is_blamed(
    server: Any, faults: Any, waits: Events, encoder: HashEncoder, journal: Path, on_error: Any
) -> None:
    waits.append(lambda: pytest.fail("waiting makes no room"))
    room = 100
    server.faults = lambda number, ids: faults(507) if len(server.stored) >= room else None
    options: dict[str, Any] = {"journal": journal, "part_bytes": 500}
    with server.open() as store, pytest.raises(StoreFullError, match="507"):
        ingest(_documents(300), encoder, store, on_error=on_error, **options)
    acknowledged = _acknowledged(server, journal)
    assert acknowledged
    assert acknowledged <= set(server.ids()) < set(_ids(300))
    room = 1000
    with server.open() as store:
        report = ingest(_documents(300), encoder, store, **options)
    assert (report.unchanged, report.documents) == (len(acknowledged), 300 - len(acknowledged))
    assert server.ids() == _ids(300)


def test_a_server_restarts_in_the_middle(
    server: Any, faults: Any, waits: Events, encoder: HashEncoder, journal: Path
) -> None:
    def fault(number: int, ids: list[str]) -> Any:
        # It applies a write and dies before it answers; whether it did is unknown to the run.
        if number != 4:
            return None
        server.stop()
        return faults(applied=True)

    server.faults = fault
    waits += [lambda: None, lambda: None, server.start]
    with server.open() as store:
        report = ingest(_documents(300), encoder, store, journal=journal, part_bytes=1000)
    assert not waits
    assert (report.documents, report.failed) == (300, 0)
    assert server.ids() == _ids(300)
    assert _acknowledged(server, journal) == set(_ids(300))
    assert encoder.encoded == 300


def test_a_server_that_does_not_come_back_ends_the_run_and_the_next_one_goes_on(
    server: Any, faults: Any, waits: Events, encoder: HashEncoder, journal: Path
) -> None:
    server.faults = lambda number, ids: faults(503) if number > 50 else None
    options: dict[str, Any] = {"journal": journal, "part_bytes": 100}
    with server.open() as store, pytest.raises(StoreUnavailableError, match="503"):
        ingest(_documents(300), encoder, store, on_error="skip", **options)
    before = _acknowledged(server, journal)
    assert 0 < len(before) < 300
    server.faults = lambda number, ids: None
    with server.open() as store:
        report = ingest(_documents(300), encoder, store, **options)
    assert (report.unchanged, report.documents) == (len(before), 300 - len(before))
    assert server.ids() == _ids(300)


def test_one_poisoned_document_among_ten_thousand(
    server: Any, faults: Any, waits: Events, encoder: HashEncoder, journal: Path
) -> None:
    waits.append(lambda: pytest.fail("a refusal is final"))
    server.faults = lambda number, ids: faults(400) if "d07123" in ids else None
    rejected: list[Rejected] = []
    with server.open() as store:
        report = ingest(
            _documents(10_000),
            encoder,
            store,
            journal=journal,
            on_error="skip",
            rejected=rejected.append,
        )
    assert (report.documents, report.failed) == (9_999, 1)
    assert [(one.where, "status 400" in one.problem) for one in rejected] == [("d07123", True)]
    assert server.ids() == [one for one in _ids(10_000) if one != "d07123"]


def test_without_skip_a_poisoned_document_ends_the_run_by_name(
    server: Any, faults: Any, waits: Events, encoder: HashEncoder, journal: Path
) -> None:
    server.faults = lambda number, ids: faults(400) if "d00177" in ids else None
    with server.open() as store, pytest.raises(DocumentRefusedError, match="'d00177' was refused"):
        ingest(_documents(300), encoder, store, journal=journal)
    assert set(_ids(177)) <= set(server.ids())
    assert "d00177" not in server.ids()
