"""The stages one by one, without Ray between them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest

from trivec import Document, IngestReport, Store, Vectors, open_store
from trivec.errors import (
    CheckpointError,
    InvalidDocumentError,
    JournalError,
    SchemaMismatchError,
    StoreError,
)
from trivec.ingestion.identity import EncoderIdentity
from trivec.ingestion.sources import SourceOptions
from trivec.stores.memory import MemoryBackend
from trivec.testing import HashEncoder

pytest.importorskip("ray", reason="ray is not installed")
pa = pytest.importorskip("pyarrow")

from trivec_ray.actors import Encoding, Writing, plan_rows  # noqa: E402
from trivec_ray.journal import SharedJournal, _JournalActor  # noqa: E402
from trivec_ray.rows import Columns, Parcel, pack, unpack  # noqa: E402
from trivec_ray.target import Target  # noqa: E402

ROWS = [{"id": f"d{i}", "text": f"word {i}", "n": i} for i in range(40)]
COLUMNS = Columns(SourceOptions())


@pytest.fixture
def url() -> Iterator[str]:
    name = f"memory:/actors-{uuid4().hex}"
    with open_store(name) as store:
        store.create(HashEncoder().schema, fields={"n": int})
        yield name
        store.drop()


@pytest.fixture
def journal(url: str, tmp_path: Path) -> Iterator[SharedJournal]:
    """Yield the actor itself, which is called as its handle is."""
    actor = _JournalActor(Target(url, partial(open_store, url)), str(tmp_path / "journal"))
    actor.open(EncoderIdentity.from_encoder(HashEncoder()))
    yield cast("SharedJournal", actor)
    actor.close()


def _plan(rows: list[dict[str, Any]], journal: SharedJournal, **options: Any) -> list[Any]:
    table = pa.Table.from_pylist(rows)
    planned = plan_rows(
        table, journal=journal, columns=COLUMNS, on_error=options.get("on_error", "raise")
    )
    return list(planned)


def _run(rows: list[dict[str, Any]], journal: SharedJournal, url: str) -> list[IngestReport]:
    encoding = Encoding(HashEncoder, HashEncoder().schema, 100)
    writing = Writing(partial(open_store, url), journal, "raise")
    reports = []
    for planned in _plan(rows, journal):
        for encoded in encoding(planned):
            for written in writing(encoded):
                reports += [report for parcel in unpack(written) for report in parcel.reports]
    return reports


def test_a_task_that_is_repeated_plans_the_same(journal: SharedJournal, url: str) -> None:
    first = _plan(ROWS, journal)
    assert len(first[0]) == 41
    assert sum(report.documents for report in _run(ROWS, journal, url)) == 40
    assert _plan(ROWS, journal) == first  # though everything is acknowledged by now


def test_parts_are_bounded_in_bytes_and_no_model_is_loaded_for_nothing() -> None:
    sizes: list[int] = []

    class Sized(HashEncoder):
        def encode_documents(self, texts: Any) -> Vectors:
            sizes.append(sum(len(text) for text in texts))
            return super().encode_documents(texts)

    def never() -> HashEncoder:
        raise AssertionError

    documents = [Document(str(i), "x" * 30) for i in range(10)]
    list(Encoding(Sized, HashEncoder().schema, 100)(pack(Parcel(documents))))
    assert sizes == [90, 90, 90, 30]
    reports = [IngestReport(unchanged=7)]
    (rest,) = Encoding(never, HashEncoder().schema, 100)(pack(Parcel(reports=reports)))
    (parcel,) = unpack(rest)
    assert parcel.reports[0] == reports[0]


def test_an_encoder_that_does_not_fit_the_collection_encodes_nothing() -> None:
    encoding = Encoding(partial(HashEncoder, dense=8), HashEncoder().schema, 100)
    (block,) = encoding(pack(Parcel([Document("a", "x")])))
    with pytest.raises(
        SchemaMismatchError, match="dense vectors have 8 numbers, the collection's 32"
    ):
        list(unpack(block))


class _Died(BaseException):
    """What a process that ends leaves behind, for those who would catch exceptions."""


class _Deadly(HashEncoder):
    """Dies of some texts, or while it is made."""

    def __init__(self, *texts: str, made: bool = True) -> None:
        if not made:
            raise _Died
        super().__init__()
        self._texts = texts

    def encode_documents(self, texts: Any) -> Vectors:
        if not self._texts or set(texts) & set(self._texts):
            raise _Died
        return super().encode_documents(texts)


def _encode_until_done(
    make: Any, documents: list[Document], journal: SharedJournal, on_error: Any
) -> tuple[list[Parcel], int]:
    """Repeat a block as Ray does, and return what comes of it and how often a process died."""
    for deaths in range(1000):
        encoding = Encoding(make, HashEncoder().schema, 40, journal=journal, on_error=on_error)
        try:
            blocks = list(encoding(pack(Parcel(documents))))
        except _Died:
            continue
        return [parcel for block in blocks for parcel in unpack(block)], deaths
    raise AssertionError("for ever")


def test_documents_that_end_the_process_are_found_by_halves(journal: SharedJournal) -> None:
    documents = [Document(f"d{i:02d}", f"text {i:04d}") for i in range(40)]
    make = partial(_Deadly, "text 0006", "text 0023")
    parcels, deaths = _encode_until_done(make, documents, journal, "skip")
    written = [document for parcel in parcels for document in parcel.documents]
    assert written == [d for d in documents if d.id not in ("d06", "d23")]
    failures = [one for parcel in parcels for report in parcel.reports for one in report.failures]
    assert [one.where for one in failures] == ["d06", "d23"]
    assert deaths <= 2 * 6
    with pytest.raises(InvalidDocumentError, match="'d06': the encoder's process ended 2 times"):
        _encode_until_done(make, documents, journal, "raise")


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_an_encoder_that_dies_of_everything_ends_the_run(
    journal: SharedJournal, on_error: str
) -> None:
    documents = [Document(f"d{i:02d}", f"text {i:04d}") for i in range(40)]
    problem = "while the encoder was made" if on_error == "raise" else "one after the other"
    make = partial(_Deadly, made=on_error == "skip")
    with pytest.raises(CheckpointError, match=problem):
        _encode_until_done(make, documents, journal, on_error)


def test_a_writer_that_dies_each_time_ends_the_run(journal: SharedJournal) -> None:
    class Dying(MemoryBackend):
        def write(self, collection: Any, documents: Any, vectors: Vectors) -> None:
            raise _Died

    vectors = HashEncoder().encode_documents(["one", "two"])
    block = pack(Parcel([Document("a", "one"), Document("b", "two")], vectors))
    store = Store(Dying("dying"))
    store.create(HashEncoder().schema)
    for _ in range(3):
        with pytest.raises(_Died):
            list(Writing(lambda: store, journal, "raise")(block))
    (answer,) = Writing(lambda: store, journal, "raise")(block)
    with pytest.raises(StoreError, match="ended 3 times while it wrote the 2 documents 'a' to 'b'"):
        list(unpack(answer))
    store.drop()


def test_encoders_that_differ_end_the_run(journal: SharedJournal) -> None:
    maker = EncoderIdentity(HashEncoder().schema, {"precision": "float32"})
    encoding = Encoding(HashEncoder, HashEncoder().schema, 40, maker=maker, journal=journal)
    (block,) = encoding(pack(Parcel([Document("a", "one")])))
    with pytest.raises(JournalError, match="the encoders of this run differ"):
        list(unpack(block))


def test_a_bad_row_ends_the_run_named(journal: SharedJournal) -> None:
    (block,) = _plan([*ROWS, {"id": "bad", "text": None, "n": 1}], journal)
    with pytest.raises(InvalidDocumentError, match=r"row 'bad': .* the text must be a str"):
        list(unpack(block))


def test_a_document_that_the_collection_cannot_hold_is_named(
    journal: SharedJournal, url: str
) -> None:
    rows = [{"id": "good", "text": "x", "n": "7"}, {"id": "bad", "text": "y", "n": "seven"}]
    with pytest.raises(InvalidDocumentError, match="'good': metadata field 'n'"):
        _run(rows, journal, url)
