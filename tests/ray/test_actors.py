"""The stages one by one, without Ray between them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest

from trivec import Document, IngestReport, Vectors, open_store
from trivec.errors import InvalidDocumentError, SchemaMismatchError
from trivec.testing import HashEncoder

pytest.importorskip("ray", reason="ray is not installed")
pa = pytest.importorskip("pyarrow")

from trivec_ray.actors import Encoding, Writing, plan_rows  # noqa: E402
from trivec_ray.ledger import SharedJournal, _Ledger  # noqa: E402
from trivec_ray.rows import Columns, Parcel, pack, unpack  # noqa: E402
from trivec_ray.target import Target  # noqa: E402

ROWS = [{"id": f"d{i}", "text": f"word {i}", "n": i} for i in range(40)]
COLUMNS = Columns("id", "text", None)


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
    ledger = _Ledger(Target(url, partial(open_store, url)), str(tmp_path / "journal"))
    ledger.open()
    yield cast("SharedJournal", ledger)
    ledger.close()


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
