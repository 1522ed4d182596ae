"""The client of trivec against the real server."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hash_server import Server, hash_server
from loads import scaled

from trivec import Document, Store, explain, ingest
from trivec.encoders.remote import wire
from trivec.encoders.remote.encoder import RemoteEncoder
from trivec.encoders.remote.options import RemoteOptions
from trivec.encoders.url import EncoderUrl
from trivec.errors import EncoderError, SchemaMismatchError
from trivec.testing import HashEncoder

TEXTS = [f"whale number {number} eats krill" for number in range(200)]


def remote(server: Server, token: str | None = None) -> RemoteEncoder:
    url = EncoderUrl.parse(f"trivec://127.0.0.1:{server.port}")
    return RemoteEncoder.from_url(url, RemoteOptions(token=token))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with hash_server() as running:
        yield running


def test_vectors_are_those_of_the_server_to_the_bit(server: Server) -> None:
    local = HashEncoder()
    with remote(server) as encoder:
        assert encoder.schema == local.schema
        for texts in (TEXTS, ["", "é\U0001f433"]):
            made = wire.vectors_to_bytes(encoder.encode_documents(texts))
            assert made == wire.vectors_to_bytes(local.encode_documents(texts))
        assert len(encoder.encode_documents([])) == 0
        assert encoder.tokens("A blue whale") == local.tokens("A blue whale")


async def test_many_asynchronous_callers(server: Server) -> None:
    async with remote(server) as encoder:
        found = await asyncio.gather(*(encoder.aencode_queries([text]) for text in TEXTS[:64]))
    for text, vectors in zip(TEXTS, found, strict=False):
        expected = wire.vectors_to_bytes(HashEncoder().encode_queries([text]))
        assert wire.vectors_to_bytes(vectors) == expected


def test_a_search_is_explained(server: Server, store: Store) -> None:
    store.create(HashEncoder().schema)
    with remote(server) as encoder:
        documents = [Document(str(number), text) for number, text in enumerate(TEXTS[:9])]
        ingest(documents, encoder, store)
        assert "whale" in str(explain("whale", documents[0], encoder))
        assert store.search(encoder.encode_query(TEXTS[7]), k=1)[0].document.id == "7"


def test_the_token() -> None:
    with hash_server({"token": "s3cret"}) as server:
        with remote(server, "s3cret") as encoder:
            assert len(encoder.encode_documents(TEXTS[:2])) == 2
        with remote(server, "wrong") as encoder, pytest.raises(EncoderError):
            encoder.encode_documents(TEXTS[:2])


DOCUMENTS = [Document(str(number), f"{text} " * 4) for number, text in enumerate(TEXTS * 3)]


@contextmanager
def killed_and_replaced(server: Server, store: Store, *, name: str = "hash") -> Iterator[None]:
    """Kill a server when documents are written, and start one of a model at the same port."""
    finished = threading.Event()

    def kill_and_replace() -> None:
        limit = time.perf_counter() + scaled(30)
        while not store.count() > 0 and time.perf_counter() < limit:
            time.sleep(0.02)
        server.process.kill()
        server.process.wait()
        with hash_server(port=server.port, name=name):
            finished.wait(scaled(60))

    thread = threading.Thread(target=kill_and_replace)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()


def test_killed_in_the_middle_of_an_ingestion(store: Store, tmp_path: Path) -> None:
    store.create(HashEncoder().schema)
    journal = tmp_path / "a.journal"
    with (
        hash_server(seconds=0.2) as server,
        killed_and_replaced(server, store),
        remote(server) as encoder,
    ):
        report = ingest(DOCUMENTS, encoder, store, journal=journal, part_bytes=4096)
        again = ingest(DOCUMENTS, encoder, store, journal=journal)
    assert report.documents == len(DOCUMENTS) == store.count()
    assert (report.failed, report.replaced, report.unchanged) == (0, 0, 0)
    assert (again.documents, again.unchanged) == (0, len(DOCUMENTS))


def test_another_model_comes_back_in_the_middle_of_an_ingestion(
    store: Store, tmp_path: Path
) -> None:
    store.create(HashEncoder().schema)
    journal = tmp_path / "a.journal"
    with (
        hash_server(seconds=0.2) as server,
        killed_and_replaced(server, store, name="maker/other"),
        remote(server) as encoder,
        pytest.raises(EncoderError, match="model was 'hash' and is 'maker/other'"),
    ):
        ingest(DOCUMENTS, encoder, store, journal=journal, part_bytes=4096)
    written = store.count()
    assert 0 < written < len(DOCUMENTS)
    check_stored(store)
    with hash_server() as right, remote(right) as encoder:
        report = ingest(DOCUMENTS, encoder, store, journal=journal)
    assert (report.documents, report.unchanged) == (len(DOCUMENTS) - written, written)
    assert store.count() == len(DOCUMENTS)
    check_stored(store)


def check_stored(store: Store) -> None:
    """Check that all documents of a collection have the vectors of their texts."""
    page = store.get([document.id for document in DOCUMENTS], with_vectors=True)
    assert page.vectors is not None
    assert page.vectors.dense is not None
    expected = HashEncoder().encode_documents([document.text for document in page.documents])
    assert expected.dense is not None
    assert page.vectors.dense.tolist() == expected.dense.tolist()


def test_another_model_before_an_ingestion(store: Store) -> None:
    store.create(HashEncoder().schema)
    with hash_server() as server:
        fresh, used = remote(server), remote(server)
        assert used.schema == HashEncoder().schema
    with hash_server(port=server.port, name="maker/other"), fresh, used:
        with pytest.raises(SchemaMismatchError, match="maker/other"):
            ingest(DOCUMENTS, fresh, store)
        with pytest.raises(EncoderError, match="model was 'hash' and is 'maker/other'"):
            ingest(DOCUMENTS, used, store)
    assert store.count() == 0


async def test_a_cancelled_call_closes_its_request() -> None:
    with hash_server(seconds=2.0) as server:
        async with remote(server) as encoder:
            call = asyncio.create_task(encoder.aencode_documents(["whale"]))
            await waiting(server, 1)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await waiting(server, 0)
        assert server.metric('trivec_requests_total{route="/encode",status="499"}') == 1


async def waiting(server: Server, requests: int) -> None:
    """Wait until so many requests are accepted and not yet answered."""
    async with asyncio.timeout(scaled(20)):
        while (await asyncio.to_thread(server.metric, 'trivec_queue{unit="requests"}')) != requests:
            await asyncio.sleep(0.02)
