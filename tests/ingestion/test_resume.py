"""Runs of ingestion that end early, and those that go on after them."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import pytest

from trivec import Document, IngestReport, Store, Vectors, aingest, ingest
from trivec.collection import Collection
from trivec.errors import (
    AuthenticationError,
    DocumentRefusedError,
    InvalidDocumentError,
    InvalidOptionError,
    JournalError,
    StoreError,
    StoreUnavailableError,
)
from trivec.ingestion.report import IngestInterrupted, Rejected
from trivec.stores.memory import MemoryBackend
from trivec.testing import HashEncoder


class Faulty(MemoryBackend):
    """Raises what the script says, one entry for each write; refuses poison always."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.script: list[Exception | None] = []
        self.poison: set[str] = set()
        self.written: list[str] = []
        self.requests = 0

    def write(
        self, collection: Collection, documents: Sequence[Document], vectors: Vectors
    ) -> None:
        self.requests += 1
        fault = self.script.pop(0) if self.script else None
        if fault is not None:
            raise fault
        for document in documents:
            if document.id in self.poison:
                raise StoreError(f"bad value in a batch of {len(documents)}")
        super().write(collection, documents, vectors)
        self.written += [document.id for document in documents]


@pytest.fixture
def faulty() -> Faulty:
    return Faulty(f"resume-{uuid4().hex}")


@pytest.fixture
def store(encoder: HashEncoder, faulty: Faulty) -> Iterator[Store]:
    with Store(faulty) as store:
        store.create(encoder.schema, fields={"n": int})
        yield store
        store.drop()


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "articles.journal"


def _documents(n: int, **changed: Document) -> list[Document]:
    every = [Document(f"d{i:05d}", f"words of document {i % 50}", {"n": i}) for i in range(n)]
    return [changed.get(document.id, document) for document in every]


def _stored(store: Store) -> dict[str, Document]:
    return {d.id: d for page in store.scan() for d in page.documents}


def test_the_next_run_does_only_what_is_left(
    encoder: HashEncoder, store: Store, faulty: Faulty, journal: Path
) -> None:
    ingest(_documents(100), encoder, store, journal=journal)
    again = ingest(_documents(100), encoder, store, journal=journal)
    assert (again.documents, again.unchanged, again.requests) == (0, 100, 0)
    assert encoder.encoded == len(faulty.written) == 100

    changed = _documents(
        101,
        d00003=Document("d00003", "other words", {"n": 3}),
        d00004=Document("d00004", "words of document 4", {"n": 40}),
    )
    report = ingest(changed, encoder, store, journal=journal)
    assert (report.documents, report.touched, report.unchanged) == (3, 1, 98)
    assert encoder.encoded == 102
    assert sorted(faulty.written[100:]) == ["d00003", "d00004", "d00100"]
    assert _stored(store) == {document.id: document for document in changed}
    page = store.get(["d00004"], with_vectors=True)
    fresh = HashEncoder().encode_query("words of document 4")
    assert page.vectors is not None
    assert page.vectors[0].sparse == fresh.sparse


def test_prune_deletes_what_vanished(encoder: HashEncoder, store: Store, journal: Path) -> None:
    ingest([Document("foreign", "text")], encoder, store)
    ingest(_documents(50), encoder, store, journal=journal)
    ingest(_documents(30), encoder, store, journal=journal)
    assert store.count() == 51
    report = ingest(_documents(30), encoder, store, journal=journal, prune=True)
    assert (report.pruned, report.unchanged) == (20, 30)
    assert set(_stored(store)) == {"foreign", *(d.id for d in _documents(30))}
    assert ingest(_documents(30), encoder, store, journal=journal, prune=True).pruned == 0


def test_prune_never_deletes_for_want_of_a_source(
    encoder: HashEncoder, store: Store, journal: Path
) -> None:
    ingest(_documents(50), encoder, store, journal=journal)
    with pytest.raises(InvalidOptionError, match="the source is empty"):
        ingest([], encoder, store, journal=journal, prune=True)
    with pytest.raises(InvalidOptionError, match="give a journal"):
        ingest(_documents(5), encoder, store, prune=True)
    line = Rejected("a.jsonl, line 6", "not JSON", "{", readable=False)
    bad: list[Document | Rejected] = [*_documents(5), line]
    report = ingest(bad, encoder, store, journal=journal, prune=True, on_error="skip")
    assert (report.pruned, report.unreadable) == (0, 1)

    def broken() -> Iterator[Document]:
        yield from _documents(5)
        raise OSError("the disk went away")

    with pytest.raises(OSError, match="the disk went away"):
        ingest(broken(), encoder, store, journal=journal, prune=True)
    assert store.count() == 50


def test_what_was_read_before_an_error_is_written(encoder: HashEncoder, store: Store) -> None:
    def broken() -> Iterator[Document]:
        yield from _documents(25)
        raise OSError("the disk went away")

    with pytest.raises(OSError, match="the disk went away"):
        ingest(broken(), encoder, store, part_bytes=200)
    assert store.count() == 25


def test_of_an_id_in_two_parts_the_last_stays_also_when_repeated(
    encoder: HashEncoder, store: Store, journal: Path
) -> None:
    documents = [*_documents(40), Document("d00001", "the last words")]
    for _ in range(2):
        report = ingest(documents, encoder, store, journal=journal, part_bytes=200)
        assert report.replaced == 1
        assert _stored(store)["d00001"].text == "the last words"
    # The other order: what the journal has comes first, and something older after it.
    documents = [Document("d00001", "the last words"), *_documents(40)]
    ingest(documents, encoder, store, journal=journal, part_bytes=200)
    assert _stored(store)["d00001"].text == "words of document 1"


def _versions(*texts: str, id: str = "a") -> list[Document]:
    return [Document(id, text) for text in texts]


def _others(n: int, prefix: str = "o") -> list[Document]:
    return [Document(f"{prefix}{i:04d}", f"words of {prefix} {i}") for i in range(n)]


REPEATED = {
    "two contents": [*_versions("one"), *_others(40), *_versions("two")],
    "there and back": [*_versions("one"), *_others(40), *_versions("two"), *_others(9, "p"),
                       *_versions("one")],
    "equal contents": [*_versions("one"), *_others(40), *_versions("one")],
    "side by side": _versions("one", "two", "one", "three"),
    "always the same id": [Document("a", f"text {i}") for i in range(3000)],
    "only the metadata differs": [
        Document("a", "one", {"n": 1}), *_others(40), Document("a", "one", {"n": 2}),
    ],
    "far apart": [*_versions("one"), *_others(2000), *_versions("two")],
    "many ids": [*_others(300), *(Document(d.id, d.text + "!") for d in _others(300))],
}  # fmt: skip


@pytest.mark.parametrize("documents", REPEATED.values(), ids=REPEATED)
def test_a_second_run_over_a_source_with_repeated_ids_does_nothing(
    store: Store, journal: Path, documents: list[Document]
) -> None:
    last = {document.id: document for document in documents}
    for part_bytes in (200, 64 * 1024):
        ingest(documents, HashEncoder(), store, journal=journal, part_bytes=part_bytes)
        assert _stored(store) == last
        for _ in range(2):
            encoder = HashEncoder()
            report = ingest(documents, encoder, store, journal=journal, part_bytes=part_bytes)
            assert (report.documents, encoder.encoded) == (0, 0)
            assert report.unchanged == len(last)
            assert report.replaced == len(documents) - len(last)
            assert _stored(store) == last


def test_a_document_that_was_replaced_once_is_written_when_it_is_the_last(
    encoder: HashEncoder, store: Store, journal: Path
) -> None:
    ingest([*_versions("one"), *_others(9), *_versions("two")], encoder, store, journal=journal)
    for source in (
        [*_versions("one"), *_others(9)],
        [*_versions("two"), *_others(9), *_versions("one")],
        [*_versions("one", "two")],
        [*_versions("three"), *_others(9), *_versions("one")],
        [*_versions("one"), *_others(9), *_versions("three")],
    ):
        for _ in range(2):
            ingest(source, encoder, store, journal=journal, part_bytes=100)
            assert _stored(store)["a"] == {d.id: d for d in source}["a"]
        before = encoder.encoded
        ingest(source, encoder, store, journal=journal, part_bytes=100)
        assert encoder.encoded == before


def test_a_document_that_was_replaced_once_waits_not_for_ever(
    encoder: HashEncoder, store: Store, journal: Path
) -> None:
    """A source may be endless, and its end is nothing to wait for."""
    ingest([*_versions("one"), *_others(9), *_versions("two")], encoder, store, journal=journal)
    written = threading.Event()

    def endless() -> Iterator[Document]:
        yield from _versions("one")
        for i in range(10**9):
            yield Document(f"e{i}", "words")
            if written.is_set():
                raise OSError("that is enough")

    def look(report: IngestReport) -> None:
        if _stored(store)["a"].text == "one":
            written.set()

    with pytest.raises(OSError, match="enough"):
        ingest(endless(), encoder, store, journal=journal, part_bytes=20_000, progress=look)
    assert _stored(store)["a"].text == "one"


def test_repeated_ids_after_a_run_that_ended_early(
    encoder: HashEncoder, store: Store, journal: Path
) -> None:
    first = [*_others(200), *(Document(d.id, d.text + "!") for d in _others(100))]

    def broken() -> Iterator[Document]:
        yield from first
        raise OSError("the disk went away")

    with pytest.raises(OSError, match="went away"):
        ingest(broken(), encoder, store, journal=journal, part_bytes=500)
    assert encoder.encoded == 300
    ingest([*first, *_versions("new")], encoder, store, journal=journal, part_bytes=500)
    assert encoder.encoded == 301
    assert _stored(store) == {d.id: d for d in [*first, *_versions("new")]}


def test_a_repeated_id_whose_last_document_is_refused(
    encoder: HashEncoder, store: Store, journal: Path
) -> None:
    bad = Document("a", "two", {"n": "seven"})
    source = [*_versions("one"), *_others(40), bad]
    for _ in range(2):
        report = ingest(source, encoder, store, journal=journal, part_bytes=100, on_error="skip")
        assert (report.failed, report.failures[0].where) == (1, "a")
    assert encoder.encoded == 42 + 1  # the refused one is tried again, the one before it is not
    good = Document("a", "two", {"n": 7})
    ingest([*source[:-1], good], encoder, store, journal=journal, part_bytes=100)
    assert _stored(store)["a"] == good


def test_a_repeated_id_that_the_store_has_lost(
    encoder: HashEncoder, store: Store, journal: Path
) -> None:
    source = [*_versions("one"), *_others(40), *_versions("two")]
    ingest(source, encoder, store, journal=journal, part_bytes=100)
    store.delete(["a"])
    report = ingest(source, encoder, store, journal=journal, part_bytes=100)
    assert (report.missing, report.documents, encoder.encoded) == (1, 1, 43)
    assert _stored(store)["a"].text == "two"


KEPT = {
    "a known id": ([Rejected("d00007", "too long", "{}")], 19),
    "a known id whose line says nothing": ([Rejected("d00007", "?", "{", readable=False)], 0),
    "a place": ([Rejected("a.jsonl, line 3", "too long", "{}")], 0),
    "an unknown id": ([Rejected("d99999", "too long", "{}")], 0),
    "nothing that can be an id": ([Rejected("\udc80", "?", "{}"), Rejected("", "?", "{}")], 0),
    "a known and an unknown one": (
        [Rejected("d00007", "?", "{}"), Rejected("row 7", "?", "{}")], 0,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("rejected", "pruned"), KEPT.values(), ids=KEPT)
def test_prune_deletes_nothing_that_the_source_has_rejected(
    encoder: HashEncoder,
    store: Store,
    journal: Path,
    rejected: list[Rejected],
    pruned: int,
) -> None:
    ingest(_documents(50), encoder, store, journal=journal)
    source: list[Document | Rejected] = [*rejected, *_documents(50)[20:]]
    report = ingest(source, encoder, store, journal=journal, prune=True, on_error="skip")
    assert (report.pruned, report.failed, store.count()) == (pruned, len(rejected), 50 - pruned)
    assert "d00007" in _stored(store)


def test_prune_keeps_what_the_database_refuses_now(
    encoder: HashEncoder, store: Store, faulty: Faulty, journal: Path
) -> None:
    ingest(_documents(50), encoder, store, journal=journal)
    faulty.poison = {"d00007"}
    changed = _documents(20, d00007=Document("d00007", "other words"))
    report = ingest(changed, encoder, store, journal=journal, prune=True, on_error="skip")
    assert (report.failed, report.pruned, store.count()) == (1, 30, 20)
    assert "d00007" in _stored(store)


def test_faults_that_pass_are_waited_for(
    encoder: HashEncoder, store: Store, faulty: Faulty
) -> None:
    now = 0.0  # seconds that the server asks to wait
    faulty.script = [
        StoreUnavailableError("429 too many requests", retry_after=now),
        StoreUnavailableError("503 overloaded", retry_after=now),
        None,
        StoreUnavailableError("connection dropped", retry_after=now),
    ]
    report = ingest(_documents(100), encoder, store, part_bytes=500)
    assert report.documents == store.count() == 100
    assert sorted(faulty.written) == [d.id for d in _documents(100)]


@pytest.mark.parametrize("on_error", ["raise", "skip"])
@pytest.mark.parametrize(
    "fault",
    [AuthenticationError("401"), StoreUnavailableError("down", retry_after=0.0)],
    ids=lambda fault: type(fault).__name__,
)
def test_faults_of_the_database_end_the_run_and_the_next_one_goes_on(
    encoder: HashEncoder,
    store: Store,
    faulty: Faulty,
    journal: Path,
    fault: StoreError,
    on_error: str,
) -> None:
    faulty.script = [None, None, *[fault] * 6]
    options = {"journal": journal, "part_bytes": 500}
    with pytest.raises(type(fault)):
        ingest(_documents(200), encoder, store, on_error=on_error, **options)  # type: ignore[arg-type]
    before = len(faulty.written)
    assert 0 < before == store.count() < 200
    faulty.script = []
    report = ingest(_documents(200), encoder, store, **options)  # type: ignore[arg-type]
    assert (report.unchanged, report.documents) == (before, 200 - before)
    assert sorted(faulty.written) == [d.id for d in _documents(200)]


def test_one_poisoned_document_among_ten_thousand(
    store: Store, faulty: Faulty, journal: Path
) -> None:
    faulty.poison = {"d07123"}
    rejected: list[Rejected] = []
    report = ingest(
        _documents(10_000),
        HashEncoder(),
        store,
        journal=journal,
        on_error="skip",
        rejected=rejected.append,
    )
    assert (report.documents, report.failed, store.count()) == (9_999, 1, 9_999)
    assert report.failures == tuple(rejected)
    assert (rejected[0].where, rejected[0].problem) == ("d07123", "bad value in a batch of 1")
    assert rejected[0].content.startswith('{"id":"d07123","text":"words of document 23"')
    assert faulty.requests < 40  # a dozen parts, and one of them halved ten times
    # The next run tries it again, and nothing else.
    faulty.poison = set()
    report = ingest(_documents(10_000), HashEncoder(), store, journal=journal)
    assert (report.documents, report.unchanged, store.count()) == (1, 9_999, 10_000)


def test_without_skip_the_poisoned_document_ends_the_run(
    encoder: HashEncoder, store: Store, faulty: Faulty, journal: Path
) -> None:
    faulty.poison = {"d00077"}
    with pytest.raises(DocumentRefusedError, match="'d00077' was refused: bad value"):
        ingest(_documents(100), encoder, store, journal=journal)
    assert store.count() == 77


def test_metadata_that_does_not_fit_a_field_is_isolated_too(
    encoder: HashEncoder, store: Store
) -> None:
    documents = _documents(20, d00007=Document("d00007", "x", {"n": "seven"}))
    with pytest.raises(InvalidDocumentError, match="'d00007': metadata field 'n'"):
        ingest(documents, encoder, store)
    report = ingest(documents, encoder, store, on_error="skip")
    assert (report.documents, report.failed, store.count()) == (19, 1, 19)


def test_a_database_that_refuses_everything_ends_the_run(
    encoder: HashEncoder, store: Store, faulty: Faulty
) -> None:
    faulty.poison = {document.id for document in _documents(1000)}
    with pytest.raises(StoreError, match="33 documents were refused one after the other"):
        ingest(_documents(1000), encoder, store, on_error="skip")
    assert faulty.requests < 100


def test_a_bad_line_ends_the_run_or_is_skipped(encoder: HashEncoder, store: Store) -> None:
    bad = Rejected("a.jsonl, line 3", "not JSON", "{", readable=False)
    source: Iterable[Document | Rejected] = [*_documents(2), bad, *_documents(4)[2:]]
    with pytest.raises(InvalidDocumentError, match=r"a\.jsonl, line 3: not JSON"):
        ingest(source, encoder, store)
    assert store.count() == 2
    report = ingest(source, encoder, store, on_error="skip")
    assert (report.documents, report.failed, report.failures) == (4, 1, (bad,))


def test_a_collection_that_lost_documents_gets_them_again(
    encoder: HashEncoder, store: Store, journal: Path
) -> None:
    ingest(_documents(3000), encoder, store, journal=journal)
    store.delete(["d00005", "d02999"])
    report = ingest(_documents(3000), encoder, store, journal=journal)
    assert (report.missing, report.documents, store.count()) == (2, 2, 3000)
    store.drop()
    store.create(encoder.schema)
    report = ingest(_documents(3000), encoder, store, journal=journal)
    assert (report.missing, report.documents, store.count()) == (3000, 3000, 3000)


def test_a_journal_of_another_store_or_encoder_is_refused(
    encoder: HashEncoder, store: Store, journal: Path
) -> None:
    ingest(_documents(3), encoder, store, journal=journal)
    with Store(MemoryBackend("another")) as another:
        another.create(encoder.schema)
        with pytest.raises(JournalError, match="store was 'Faulty/resume"):
            ingest(_documents(3), encoder, another, journal=journal)
        another.drop()
    smaller = HashEncoder(dense=8)
    store.drop()
    store.create(smaller.schema)
    with pytest.raises(JournalError, match="dense was '32' and is '8'"):
        ingest(_documents(3), smaller, store, journal=journal)


def test_a_journal_of_other_options_of_the_encoder_is_refused(
    encoder: HashEncoder, store: Store, journal: Path
) -> None:
    class Windowed(HashEncoder):
        options: ClassVar = {"mcls": "256"}

    ingest(_documents(3), encoder, store, journal=journal)
    with pytest.raises(JournalError, match="mcls was 'nothing' and is '256'"):
        ingest(_documents(3), Windowed(), store, journal=journal)


@pytest.mark.parametrize("first", [{}, {"precision": "bfloat16"}], ids=["float32", "bfloat16"])
def test_a_journal_of_another_precision_is_refused(
    store: Store, journal: Path, first: dict[str, str]
) -> None:
    def encoder(options: dict[str, str]) -> Any:
        made: Any = HashEncoder()
        made.options = options
        return made

    ingest(_documents(3), encoder(first), store, journal=journal)
    assert ingest(_documents(3), encoder(first), store, journal=journal).unchanged == 3
    other = {} if first else {"precision": "bfloat16"}
    with pytest.raises(JournalError, match=r"precision was '(float32|bfloat16)' and is "):
        ingest(_documents(3), encoder(other), store, journal=journal)


@pytest.fixture
def foreground() -> Iterator[None]:
    """Let Ctrl-C interrupt, which a shell switches off for what it starts in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("foreground")
def test_ctrl_c_finishes_what_is_in_flight_and_reports(
    encoder: HashEncoder, store: Store, faulty: Faulty, journal: Path
) -> None:
    interrupted: list[int] = []

    def interrupt(report: IngestReport) -> None:
        if report.documents > 100 and not interrupted:
            interrupted.append(report.documents)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(IngestInterrupted, match="interrupted after") as caught:
        ingest(
            _documents(1000), encoder, store, journal=journal, part_bytes=500, progress=interrupt
        )
    done = caught.value.report.documents
    assert 100 < done == store.count() < 1000
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    report = ingest(_documents(1000), encoder, store, journal=journal)
    assert (report.unchanged, store.count()) == (done, 1000)
    assert encoder.encoded == len(faulty.written) == 1000


@pytest.mark.usefixtures("foreground")
def test_ctrl_c_twice_ends_the_wait_for_a_database(
    encoder: HashEncoder, store: Store, faulty: Faulty, journal: Path
) -> None:
    faulty.script = [None, *[StoreUnavailableError("busy", retry_after=60)] * 5]

    def twice() -> None:
        for _ in range(2):
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGINT)

    first: list[IngestReport] = []

    def interrupt(report: IngestReport) -> None:
        if not first:
            threading.Thread(target=twice).start()
        first.append(report)

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        ingest(_documents(100), encoder, store, journal=journal, part_bytes=500, progress=interrupt)
    assert time.monotonic() - started < 10
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    faulty.script = []
    report = ingest(_documents(100), encoder, store, journal=journal)
    assert (report.unchanged, store.count()) == (first[0].documents, 100)


async def test_a_run_that_is_cancelled_twice_does_not_wait_for_a_database(
    encoder: HashEncoder, store: Store, faulty: Faulty, journal: Path
) -> None:
    faulty.script = [StoreUnavailableError("busy", retry_after=60)] * 5
    task = asyncio.create_task(aingest(_documents(100), encoder, store, journal=journal))
    while not faulty.requests:
        await asyncio.sleep(0.01)
    started = time.monotonic()
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0.05)
    with pytest.raises(asyncio.CancelledError):
        await task
    while any(thread.name == "trivec-write" for thread in threading.enumerate()):
        await asyncio.sleep(0.01)
    assert time.monotonic() - started < 10


async def test_a_cancelled_run_finishes_what_is_in_flight(
    encoder: HashEncoder, store: Store, faulty: Faulty, journal: Path
) -> None:
    begun = threading.Event()

    def endless() -> Iterator[Document]:
        for i in range(10**9):
            yield Document(f"d{i:05d}", "words", {"n": i})

    task = asyncio.create_task(
        aingest(
            endless(),
            encoder,
            store,
            journal=journal,
            part_bytes=500,
            progress=lambda report: begun.set(),
        )
    )
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    count = store.count()
    assert count == len(faulty.written) == encoder.encoded > 0
    await asyncio.sleep(0.05)
    assert store.count() == count


def test_the_time_that_is_left(encoder: HashEncoder, store: Store) -> None:
    seen: list[IngestReport] = []
    ingest(_documents(500), encoder, store, part_bytes=500, progress=seen.append)
    assert seen[0].remaining_seconds is not None
    assert seen[0].remaining_seconds > 0
    assert seen[-1].remaining_seconds == 0
    ingest(iter(_documents(5)), encoder, store, progress=seen.append)
    assert seen[-1].remaining_seconds is None
