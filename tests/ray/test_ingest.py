"""Ingestion on a local Ray with two CPUs."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from thread_server import thread_server

import trivec
from trivec import ColbertStorage, Document, Store, Vector, open_store
from trivec.errors import (
    CollectionNotFoundError,
    InvalidOptionError,
    JournalError,
    StoreUnavailableError,
    TooManyRejectsError,
)
from trivec.ingestion.report import Rejected
from trivec.serving import application
from trivec.testing import HashEncoder

ray = pytest.importorskip("ray", reason="ray is not installed")
trivec_ray = pytest.importorskip("trivec_ray")


def _load_doubles() -> ModuleType:
    """Import the module so that Ray sends its classes along: its workers cannot import it."""
    spec = importlib.util.spec_from_file_location(
        "ray_doubles", Path(__file__).with_name("doubles.py")
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    ray.cloudpickle.register_pickle_by_value(module)
    return module


doubles: Any = _load_doubles()

SMALL = {"num_cpus": 0.5}  # of two CPUs, so that two encoders leave one for reading


def _documents(rows: Sequence[dict[str, Any]]) -> list[Document]:
    return [Document(row["id"], row["text"], {"n": row["n"], "lang": row["lang"]}) for row in rows]


def _stored(store: Store) -> dict[str, tuple[Document, Vector]]:
    found: dict[str, tuple[Document, Vector]] = {}
    for page in store.scan(with_vectors=True):
        assert page.vectors is not None
        for document, vector in zip(page.documents, page.vectors, strict=True):
            assert document.id not in found
            found[document.id] = (document, vector)
    return found


def _assert_same(store: Store, documents: Sequence[Document], *, rtol: float = 0) -> None:
    """Check that the store holds these documents once, and the vectors of their texts."""
    found = _stored(store)
    assert sorted(found) == sorted(document.id for document in documents)
    vectors = HashEncoder().encode_documents([document.text for document in documents])
    for document, wanted in zip(documents, vectors, strict=True):
        same, got = found[document.id]
        assert same == document
        assert got.sparse == pytest.approx(dict(wanted.sparse or {}), rel=rtol)
        for mine, theirs in ((got.dense, wanted.dense), (got.colbert, wanted.colbert)):
            assert mine is not None
            assert theirs is not None
            np.testing.assert_allclose(mine, theirs, atol=2e-3)


@pytest.fixture
def edge(tmp_path: Path) -> str:
    pytest.importorskip("qdrant_edge")
    url = f"qdrant+edge:{tmp_path}/articles"
    with open_store(url) as store:
        store.create(HashEncoder().schema, fields={"n": int})
    return url


def test_into_an_embedded_store_and_on_from_there(
    cluster: str, edge: str, encoder: HashEncoder, tmp_path: Path
) -> None:
    options: dict[str, Any] = {
        "encoder": partial(doubles.CountingEncoder, tmp_path),
        "store": edge,
        "journal": tmp_path / "articles.journal",
    }
    rows = doubles.rows()
    report = trivec_ray.ingest(ray.data.from_items(rows), concurrency=2, **SMALL, **options)
    with open_store(edge) as store:
        _assert_same(store, _documents(rows))
    assert doubles.encoded(tmp_path) == len(rows)

    plain = f"qdrant+edge:{tmp_path}/plain"
    with open_store(plain) as store:
        store.create(HashEncoder().schema, fields={"n": int})
        alone = trivec.ingest(_documents(rows), HashEncoder(), store)
    for name in ("documents", "unchanged", "replaced", "failed", "missing", "bytes", "tokens"):
        assert getattr(report, name) == getattr(alone, name), name

    rows[3]["text"] = "other words"
    rows[4]["n"] = 40_000
    rows.append({"id": "new", "text": "a new document", "n": -1, "lang": "de"})
    seen: list[trivec.IngestReport] = []
    report = trivec_ray.ingest(ray.data.from_items(rows), progress=seen.append, **options)
    assert (report.documents, report.touched, report.unchanged) == (3, 1, len(rows) - 3)
    assert doubles.encoded(tmp_path) == doubles.COUNT + 2
    assert seen[-1].documents == 3
    with open_store(edge) as store:
        _assert_same(store, _documents(rows))

    # It is the journal of one machine, too.
    with open_store(edge) as store:
        report = trivec.ingest(_documents(rows), encoder, store, journal=options["journal"])
    assert (report.documents, report.unchanged, encoder.encoded) == (0, len(rows), 0)


def test_an_encoder_that_is_killed_and_several_writers(
    cluster: str, milvus_double: str, tmp_path: Path
) -> None:
    url = f"{milvus_double}/ray_{uuid4().hex[:12]}"
    rows = doubles.rows()
    with open_store(url) as store:
        store.create(HashEncoder().schema, fields={"n": int})
        report = trivec_ray.ingest(
            ray.data.from_items(rows),
            encoder=partial(doubles.CountingEncoder, tmp_path, dies=True),
            store=url,
            concurrency=2,
            writers=2,
            **SMALL,
        )
        assert (tmp_path / "died").exists()
        assert (report.documents, report.failed) == (len(rows), 0)
        _assert_same(store, _documents(rows))
        store.drop()


def test_a_driver_that_is_killed(cluster: str, edge: str, tmp_path: Path) -> None:
    journal = tmp_path / "articles.journal"
    command = [sys.executable, doubles.__file__, cluster, edge, str(journal), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline().startswith("written ")
        driver.send_signal(signal.SIGKILL)
    report = trivec_ray.ingest(
        ray.data.from_items(doubles.rows()), encoder=HashEncoder, store=edge, journal=journal
    )
    assert 0 < report.unchanged < doubles.COUNT
    assert report.documents == doubles.COUNT - report.unchanged
    with open_store(edge) as store:
        _assert_same(store, _documents(doubles.rows()))


def test_what_cannot_be_stored_is_skipped_or_named(cluster: str) -> None:
    rows = doubles.rows()
    rows[7]["text"] = "poison"
    rows[1500] = {"id": None, "text": "nobody", "n": 1, "lang": "en"}
    rows[2999]["id"] = rows[0]["id"]
    rejected: list[Rejected] = []
    report = trivec_ray.ingest(
        ray.data.from_items(rows),
        encoder=HashEncoder,
        store=doubles.faulty_store,
        on_error="skip",
        rejected=rejected.append,
    )
    assert (report.documents, report.failed, report.unreadable) == (2997, 2, 1)
    assert (report.records, report.replaced) == (3000, 1)
    assert report.failures == tuple(rejected)
    assert sorted((one.where, one.problem) for one in rejected) == [
        ("d00007", "bad value in a batch of 1"),
        (
            'row {"id": null, "text": "nobody", "n": 1, "lang": "en"}',
            "there is no id: it is None",
        ),
    ]


def test_more_rejects_than_accepted_end_the_run(cluster: str) -> None:
    rows = doubles.rows(40)
    rows[7]["id"] = rows[9]["id"] = None
    for most in (1, "4%"):
        with pytest.raises(TooManyRejectsError, match="2 of 40 records"):
            trivec_ray.ingest(
                ray.data.from_items(rows),
                encoder=HashEncoder,
                store=doubles.faulty_store,
                on_error="skip",
                max_rejects=most,
            )


def test_a_text_that_ends_the_encoders_process_is_found(cluster: str) -> None:
    rows = doubles.rows(12)
    rows[5]["text"] = "deadly"
    rejected: list[Rejected] = []
    report = trivec_ray.ingest(
        ray.data.from_items(rows),
        encoder=doubles.DyingEncoder,
        store=doubles.faulty_store,
        on_error="skip",
        rejected=rejected.append,
        part_bytes=80,  # four texts
    )
    assert (report.documents, report.failed) == (11, 1)
    assert rejected[0].where == "d00005"
    assert "process ended 2 times while it encoded this document alone" in rejected[0].problem


def test_a_journal_goes_from_one_machine_to_ray_and_back(
    cluster: str, edge: str, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"journal": tmp_path / "articles.journal"}
    rows = doubles.rows(50)
    # Of an id with two contents `ingest` keeps the last one, and Ray what is there.
    documents = [Document("d00007", "another text"), *_documents(rows)]
    with open_store(edge) as store:
        store.drop()
        store.create(replace(HashEncoder().schema, model="", colbert=None), fields={"n": int})
        encoder = doubles.OptionsEncoder()
        assert trivec.ingest(documents, encoder, store, **options).documents == 50
    twice = [{"id": "d00007", "text": "another text", "n": 0, "lang": "en"}, *rows]
    report = trivec_ray.ingest(
        ray.data.from_items(twice), encoder=doubles.OptionsEncoder, store=edge, **options
    )
    assert (report.documents, report.unchanged, report.replaced) == (0, 50, 1)
    with open_store(edge) as store:
        report = trivec.ingest(documents, encoder, store, **options)
    assert (report.documents, report.unchanged, encoder.encoded) == (0, 50, 50)
    with pytest.raises(JournalError, match="mcls was '256' and is 'nothing'"):
        trivec_ray.ingest(ray.data.from_items(rows), encoder=HashEncoder, store=edge, **options)
    # A document that another replaced once is written when the source has no other one.
    report = trivec_ray.ingest(
        ray.data.from_items(twice[:1]), encoder=doubles.OptionsEncoder, store=edge, **options
    )
    assert report.documents == 1
    with open_store(edge) as store:
        assert store.get(["d00007"]).documents[0].text == "another text"


def test_an_encoder_on_a_server_goes_on_with_a_journal(
    cluster: str, edge: str, tmp_path: Path
) -> None:
    rows = doubles.rows()
    options: dict[str, Any] = {"store": edge, "journal": tmp_path / "articles.journal"}
    with thread_server(application(HashEncoder())) as port:
        address = f"trivec://127.0.0.1:{port}"
        dataset = ray.data.from_items(rows[:20])
        assert trivec_ray.ingest(dataset, encoder=address, **options).documents == 20
    report = trivec_ray.ingest(ray.data.from_items(rows[:30]), encoder=HashEncoder, **options)
    assert (report.documents, report.unchanged) == (10, 20)
    with open_store(edge) as store:
        _assert_same(store, _documents(rows[:30]))


def test_small_token_vectors(cluster: str, tmp_path: Path) -> None:
    """Lexical weights reach the writers, and nothing is reduced twice."""
    storage = ColbertStorage(bits=1, pool=2, prune=1 / 3)
    small, alone = (f"archive:{tmp_path}/{name}" for name in ("small", "alone"))
    for url in (small, alone):
        with open_store(url) as store:
            store.create(HashEncoder().schema, colbert=storage)
    rows, journal = doubles.rows(60), tmp_path / "articles.journal"
    with open_store(alone) as store:
        trivec.ingest(_documents(rows), HashEncoder(), store)
        wanted = _stored(store)
    options: dict[str, Any] = {"encoder": HashEncoder, "store": small, "journal": journal}
    for n in (None, -1):
        if n is not None:
            rows = [{**row, "n": n} for row in rows]
        report = trivec_ray.ingest(ray.data.from_items(rows), **options)
        assert (report.documents, report.touched) == (60, 0 if n is None else 60)
        with open_store(small) as store:
            for id, (_, vector) in _stored(store).items():
                assert vector.storage == storage
                assert vector.colbert is not None
                np.testing.assert_array_equal(vector.colbert, np.asarray(wanted[id][1].colbert))
    with open_store(small) as store:
        store.drop()
        store.create(HashEncoder().schema, colbert=ColbertStorage(bits=2))
    with pytest.raises(JournalError, match="colbert_storage was 'bits=1,pool=2,prune=1/3'"):
        trivec_ray.ingest(ray.data.from_items(rows), **options)


def test_errors_reach_the_caller_as_they_are(cluster: str, edge: str) -> None:
    dataset = ray.data.from_items(doubles.rows(3))
    with pytest.raises(StoreUnavailableError, match="nobody answers") as caught:
        trivec_ray.ingest(
            dataset, encoder=HashEncoder, store=partial(doubles.faulty_store, away=True)
        )
    assert type(caught.value) is StoreUnavailableError
    assert caught.value.retry_after == 0
    with pytest.raises(CollectionNotFoundError, match="call create"):
        trivec_ray.ingest(dataset, encoder=HashEncoder, store=f"{edge}-2")


def test_a_journal_is_no_file_of_the_collection(cluster: str, edge: str) -> None:
    dataset = ray.data.from_items(doubles.rows(3))
    for journal in (f"{edge.partition(':')[2]}/journal", f"{edge.partition(':')[2]}/trivec.json"):
        with pytest.raises(InvalidOptionError, match="which is read; give another name"):
            trivec_ray.ingest(dataset, encoder=HashEncoder, store=edge, journal=journal)


def test_an_embedded_store_takes_one_writer(cluster: str, edge: str) -> None:
    dataset = ray.data.from_items(doubles.rows(3))
    with pytest.raises(InvalidOptionError, match="belongs to one process, so writers=2"):
        trivec_ray.ingest(dataset, encoder=HashEncoder, store=edge, writers=2)
