"""An encoder on a server in place of the same encoder in the process."""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from hostile_http import Behaviour, HostileServer, Request, deaf
from scripted_encoder import Served, remote, scripted_encoder
from thread_server import thread_server

from trivec import Document, Encoder, Vectors, ingest, open_store
from trivec.deadline import limited
from trivec.encoders import RemoteEncoder
from trivec.encoders.protocol import TextEncoder
from trivec.encoders.remote import certificates
from trivec.encoders.remote.http import HttpClient, HttpRequest
from trivec.encoders.remote.options import RemoteOptions
from trivec.encoders.url import EncoderUrl
from trivec.errors import (
    EncoderError,
    EncoderUnavailableError,
    InvalidOptionError,
    JournalError,
)
from trivec.serving import application
from trivec.testing import HashEncoder


@pytest.fixture(scope="module")
def local(m3: Path) -> Encoder:
    return Encoder.load(m3, device="cpu", precision="float32")


@pytest.fixture(scope="module")
def served(local: Encoder) -> Iterator[RemoteEncoder]:
    with (
        thread_server(application(local)) as port,
        client(port) as encoder,
    ):
        yield encoder


def client(port: int) -> RemoteEncoder:
    return RemoteEncoder(EncoderUrl("trivec", "127.0.0.1", port), RemoteOptions(batch_texts=3))


def columns(vectors: Vectors) -> list[tuple[str, tuple[int, ...], bytes] | None]:
    """Return the types, shapes and bytes of all columns; None for those that are missing."""
    sparse, colbert = vectors.sparse, vectors.colbert
    arrays = [
        vectors.dense,
        *((None,) * 3 if sparse is None else (sparse.indptr, sparse.indices, sparse.values)),
        *((None,) * 3 if colbert is None else (colbert.indptr, colbert.values, colbert.weights)),
    ]
    return [
        None
        if array is None
        else (f"{array.dtype.byteorder}{array.dtype}", array.shape, array.tobytes())
        for array in arrays
    ]


PARTS: tuple[dict[str, bool], ...] = (
    {},
    {"sparse": False},
    {"colbert": False},
    {"dense": False, "sparse": False},
)


@pytest.mark.parametrize("parts", PARTS, ids=str)
@pytest.mark.parametrize("texts", [[], [""], ["", "kalo mine"]], ids=["none", "empty", "two"])
async def test_the_columns_are_those_of_the_encoder(
    local: Encoder, served: RemoteEncoder, texts: list[str], parts: dict[str, bool]
) -> None:
    for kind in ("documents", "queries"):
        expected = columns(getattr(local, f"encode_{kind}")(texts, **parts))
        assert columns(getattr(served, f"encode_{kind}")(texts, **parts)) == expected
        assert columns(await getattr(served, f"aencode_{kind}")(texts, **parts)) == expected


def test_limits_of_the_encoder_are_errors(served: RemoteEncoder) -> None:
    with pytest.raises(EncoderError, match="status 400: max_length=1 must be at least 3"):
        served.encode_documents(["kalo"], max_length=1)
    with pytest.raises(InvalidOptionError, match="max_length=0"):
        served.encode_documents(["kalo"], max_length=0)
    longest = served.encode_documents(["kalo mine"] * 2, max_length=10**12)
    assert len(longest) == 2


async def test_ids_to_tokens(local: Encoder, served: RemoteEncoder) -> None:
    sparse = local.encode_documents(["kalo mine rusa kalo"]).sparse
    assert sparse is not None
    weights = {**sparse.row(0), 0: 0.25}
    expected = local.convert_id_to_token(weights)
    assert served.convert_id_to_token(weights) == expected
    assert list(expected)
    assert await served.aconvert_id_to_token(weights) == expected
    assert served.convert_id_to_token({}) == await served.aconvert_id_to_token({}) == {}
    with pytest.raises(EncoderError, match=r"status 400: .*is the id of no token"):
        served.convert_id_to_token({10**6: 0.5})
    with pytest.raises(EncoderError, match="status 400: ids: expected token ids"):
        served.convert_id_to_token({-1: 0.5})


def test_an_encoder_that_does_not_name_ids() -> None:
    with (
        thread_server(application(HashEncoder())) as port,
        client(port) as encoder,
        pytest.raises(EncoderError, match="does not return the texts of tokens"),
    ):
        encoder.convert_id_to_token({1: 0.5})


DOCUMENTS = [Document(str(number), f"kalo mine {number}") for number in range(6)]


def _in_turns(one: TextEncoder, other: TextEncoder, journal: Path) -> None:
    """Continue a journal with the same encoder somewhere else, there and back."""
    with open_store(f"memory:/{journal.stem}") as store:
        store.create(one.schema)
        assert ingest(DOCUMENTS[:3], one, store, journal=journal).documents == 3
        for encoder in (other, one, other):
            report = ingest(DOCUMENTS[:5], encoder, store, journal=journal)
            assert report.unchanged + report.documents == 5
        assert (report.documents, report.unchanged) == (0, 5)
        store.drop()


def test_a_journal_goes_on_elsewhere(local: Encoder, served: RemoteEncoder, tmp_path: Path) -> None:
    assert served.options.get("precision", "float32") == "float32"
    _in_turns(local, served, tmp_path / "local-served.journal")
    _in_turns(served, local, tmp_path / "served-local.journal")


def test_a_journal_of_an_encoder_without_options_goes_on(tmp_path: Path) -> None:
    plain = HashEncoder()
    with scripted_encoder() as server, remote(server) as encoder:  # which knows its revision
        assert encoder.options == {"revision": "abc"}
        _in_turns(plain, encoder, tmp_path / "plain-served.journal")
        _in_turns(encoder, plain, tmp_path / "served-plain.journal")


def test_a_journal_of_another_revision_is_refused(tmp_path: Path) -> None:
    journal = tmp_path / "a.journal"
    served = Served()
    with scripted_encoder(served) as server, open_store("memory:/revisions") as store:
        store.create(HashEncoder().schema)
        with remote(server) as encoder:
            ingest(DOCUMENTS, encoder, store, journal=journal)
        assert served.identity is not None
        served.identity = replace(served.identity, revision="def")
        with remote(server) as encoder, pytest.raises(JournalError, match="revision was 'abc'"):
            ingest(DOCUMENTS, encoder, store, journal=journal)
        store.drop()


async def test_the_callers_deadline_ends_asynchronous_calls() -> None:
    with scripted_encoder() as server, limited(0.4):
        server.always = deaf
        began = time.monotonic()
        async with remote(server, deadline=60) as encoder:
            with pytest.raises(EncoderUnavailableError, match=r"in time|deadline"):
                await encoder.aencode_documents(["a"])
            with pytest.raises(EncoderUnavailableError, match="deadline"):
                await encoder.aencode_documents(["a"])
        assert time.monotonic() - began < 5


async def test_connections_are_kept_for_all_callers() -> None:
    together, served = threading.Barrier(24), Served()

    def answered(request: Request) -> Behaviour:
        together.wait(30)  # until all callers have sent their requests
        return served(request)

    with HostileServer(answered) as server:
        async with remote(server, deadline=60) as encoder:
            for _ in range(3):
                await asyncio.gather(*(encoder.aencode_query(f"a {n}") for n in range(24)))
                assert server.connections == 24


def test_certificates_are_read_once_and_not_for_plain_http(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads: list[int] = []
    create = httpx.create_ssl_context

    def counted() -> ssl.SSLContext:
        reads.append(1)
        return create()

    monkeypatch.setattr(httpx, "create_ssl_context", counted)
    monkeypatch.setattr(certificates, "_contexts", {})
    with scripted_encoder() as server:
        with remote(server) as encoder:
            encoder.encode_query("whale")
            asyncio.run(encoder.aencode_query("whale"))
        assert not reads
        clients = [HttpClient(f"https://127.0.0.1:{server.port}", deadline=5) for _ in range(6)]

        def ask(client: HttpClient) -> None:
            with pytest.raises(EncoderError, match="does not speak TLS"):
                client.exchange(HttpRequest("GET", "/health"))

        threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for client in clients:
            client.close()
    assert reads == [1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_opens_connections_of_its_own() -> None:
    with scripted_encoder() as server, remote(server) as encoder:
        expected = encoder.encode_query("whale").dense
        assert expected is not None
        child = os.fork()
        if child == 0:
            same = False
            try:
                dense = encoder.encode_query("whale").dense
                same = dense is not None and dense.tolist() == expected.tolist()
            finally:
                os._exit(0 if same else 1)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        encoder.encode_query("whale")
        assert len(server.requests) == 3
