"""The client of trivec against the real server."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hash_server import Server, hash_server
from loads import scaled

from trivec import Document, Store, explain, ingest
from trivec.encoders.remote import wire
from trivec.encoders.remote.encoder import RemoteEncoder
from trivec.encoders.remote.options import RemoteOptions
from trivec.encoders.url import EncoderUrl
from trivec.errors import EncoderError
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


def test_killed_in_the_middle_of_an_ingestion(store: Store, tmp_path: Path) -> None:
    documents = [Document(str(number), f"{text} " * 4) for number, text in enumerate(TEXTS * 3)]
    store.create(HashEncoder().schema)
    with hash_server(seconds=0.2) as server:
        port = server.port

        def kill_in_the_middle() -> None:
            limit = time.perf_counter() + scaled(30)
            while not store.count() > 0 and time.perf_counter() < limit:
                time.sleep(0.02)
            server.process.kill()

        killer = threading.Thread(target=kill_in_the_middle)
        restarted: list[Server] = []

        def restart() -> None:
            server.process.wait()
            with hash_server(port=port) as again:
                restarted.append(again)
                finished.wait(scaled(60))

        finished = threading.Event()
        starter = threading.Thread(target=restart)
        killer.start()
        starter.start()
        try:
            with remote(server) as encoder:
                journal = tmp_path / "a.journal"
                report = ingest(documents, encoder, store, journal=journal, part_bytes=4096)
                again = ingest(documents, encoder, store, journal=journal)
        finally:
            finished.set()
            killer.join()
            starter.join()
    assert restarted
    assert report.documents == len(documents) == store.count()
    assert (report.failed, report.replaced, report.unchanged) == (0, 0, 0)
    assert (again.documents, again.unchanged) == (0, len(documents))
