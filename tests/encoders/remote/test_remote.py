"""An encoder on a scripted server: the same numbers, in order, in bounded requests."""

from __future__ import annotations

import asyncio
import copy
import pickle
import ssl
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from hostile_http import HostileServer
from scripted_encoder import Served, remote, scripted_encoder, texts_of

from trivec import Document, Schema, Vectors, evaluate, explain, ingest, open_encoder, open_store
from trivec.encoders import CachingEncoder, Encoder, RemoteEncoder, TokenizingEncoder
from trivec.encoders.remote.http import HttpClient
from trivec.errors import EncoderError, InvalidInputError, InvalidOptionError
from trivec.testing import HashEncoder

TEXTS = ["The blue whale", "", "a grey seal", "the blue whale's song", "ü" * 50, "x y z"] * 5


@pytest.fixture
def served() -> Served:
    return Served()


@pytest.fixture
def server(served: Served) -> Iterator[HostileServer]:
    with scripted_encoder(served) as server:
        yield server


@pytest.fixture
def encoder(server: HostileServer) -> Iterator[RemoteEncoder]:
    with remote(server) as encoder:
        yield encoder


def same(one: Vectors, other: Vectors) -> bool:
    """Return whether vectors are equal to the bit."""
    for vectors in (one, other):
        assert vectors.dense is not None
        assert vectors.sparse is not None
        assert vectors.colbert is not None
    return all(
        np.array_equal(a, b) and a.dtype == b.dtype
        for a, b in zip(_columns(one), _columns(other), strict=True)
    )


def _columns(vectors: Vectors) -> list[np.ndarray]:
    assert vectors.dense is not None
    assert vectors.sparse is not None
    assert vectors.colbert is not None
    assert vectors.colbert.weights is not None
    sparse, colbert = vectors.sparse, vectors.colbert
    return [
        *(vectors.dense, sparse.indptr, sparse.indices, sparse.values),
        *(colbert.indptr, colbert.values, vectors.colbert.weights),
    ]


@pytest.mark.parametrize("batch", [1, 7, 1000])
async def test_the_vectors_are_the_servers_to_the_bit(server: HostileServer, batch: int) -> None:
    here = HashEncoder()
    with remote(server, batch_texts=batch, requests=3) as encoder:
        assert same(encoder.encode_documents(TEXTS), here.encode_documents(TEXTS))
        assert same(encoder.encode_queries(TEXTS), here.encode_queries(TEXTS))
        assert same(await encoder.aencode_documents(TEXTS), here.encode_documents(TEXTS))
        assert same(await encoder.aencode_queries(TEXTS[:1]), here.encode_queries(TEXTS[:1]))
        one = await encoder.aencode_query("blue whale")
        expected = here.encode_query("blue whale").dense
        assert one.dense is not None
        assert expected is not None
        assert np.array_equal(one.dense, expected)
        assert encoder.tokens("Blue whale") == here.tokens("Blue whale")
        assert await encoder.atokens("Blue whale") == here.tokens("Blue whale")


def test_the_schema_and_the_settings_are_the_servers(encoder: RemoteEncoder) -> None:
    assert encoder.schema == HashEncoder().schema
    assert encoder.model == "hash"
    assert encoder.options == {"revision": "abc"}
    assert encoder.identity.precision == ""


def test_a_name_replaces_the_servers(server: HostileServer) -> None:
    with remote(server, name="me/mine") as encoder:
        assert encoder.schema.model == "me/mine"


def test_one_question_is_one_request(server: HostileServer, encoder: RemoteEncoder) -> None:
    encoder.encode_query("whale")
    assert [request.path for request in server.requests] == ["/encode"]
    assert server.requests[0].headers["content-type"] == "application/json"


def test_vectors_have_the_native_byte_order(encoder: RemoteEncoder) -> None:
    """A type "<f4" equals "f4", but qdrant-edge takes no memoryview of it."""
    vectors = encoder.encode_documents(["blue whale"])
    assert vectors.dense is not None
    assert vectors.colbert is not None
    assert vectors.dense.data.format == vectors.colbert.values.data.format == "f"


def test_connections_are_kept(server: HostileServer, encoder: RemoteEncoder) -> None:
    for _ in range(5):
        encoder.encode_query("whale")
    assert server.connections == 1


async def test_each_event_loop_keeps_its_own(server: HostileServer) -> None:
    encoder = remote(server)

    def other() -> None:
        asyncio.run(encoder.aencode_query("seal"))

    await encoder.aencode_query("whale")
    await asyncio.gather(*(asyncio.to_thread(other) for _ in range(2)))
    await encoder.aencode_query("whale")
    await encoder.aclose()
    await encoder.aencode_query("it opens again")
    await encoder.aclose()


def test_batches_are_bounded_and_side_by_side(server: HostileServer) -> None:
    with remote(server, batch_bytes=30, batch_texts=4) as encoder:
        encoder.encode_documents(TEXTS)
    batches = texts_of(server.requests)
    assert sorted(text for batch in batches for text in batch) == sorted(TEXTS)
    for batch in batches:
        assert len(batch) <= 4
        assert sum(len(text.encode()) for text in batch) <= 30 or len(batch) == 1


def test_a_batch_that_is_too_large_is_halved(served: Served, server: HostileServer) -> None:
    served.most_texts = 3
    with remote(server, requests=1) as encoder:
        assert same(encoder.encode_documents(TEXTS), HashEncoder().encode_documents(TEXTS))
        count = len(server.requests)
        encoder.encode_documents(TEXTS)
        assert len(server.requests) - count == 15  # two in each: half of the last that was refused


def test_a_text_that_is_too_large_is_an_error(served: Served, server: HostileServer) -> None:
    served.most_texts = 0
    with remote(server) as encoder, pytest.raises(EncoderError, match="413: at most 0 texts"):
        encoder.encode_documents(["a", "b"])


async def test_parts_are_chosen(encoder: RemoteEncoder) -> None:
    vectors = encoder.encode_documents(["whale"], colbert=False)
    assert (vectors.dense is None, vectors.sparse is None, vectors.colbert is None) == (
        False,
        False,
        True,
    )
    vectors = await encoder.aencode_documents([], dense=False)
    assert (len(vectors), vectors.dense) == (0, None)
    assert len(encoder.encode_queries([])) == 0
    with pytest.raises(InvalidOptionError, match="no part is left"):
        encoder.encode_documents(["a"], dense=False, sparse=False, colbert=False)


def test_a_part_that_the_server_lacks_is_an_error_by_name(
    served: Served, server: HostileServer
) -> None:
    from dataclasses import replace

    assert served.identity is not None
    served.identity = replace(served.identity, sparse=False)
    with remote(server) as encoder:
        assert encoder.schema.parts == ("dense", "colbert")
        with pytest.raises(InvalidOptionError, match="no sparse vectors, which sparse=True"):
            encoder.encode_documents(["a"], sparse=True)


def test_progress_is_told(server: HostileServer) -> None:
    seen: list[tuple[int, int]] = []
    with remote(server, batch_texts=10) as encoder:
        encoder.encode_documents(TEXTS, progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == [10, 20, 30]


@pytest.mark.parametrize("texts", ["one", ["\ud800"], [3]])
def test_bad_texts_are_not_sent(
    server: HostileServer, encoder: RemoteEncoder, texts: list[str]
) -> None:
    with pytest.raises(InvalidInputError):
        encoder.encode_documents(texts)
    assert not server.requests


def test_copies_are_the_same_encoder_and_a_pickle_opens_it_again(encoder: RemoteEncoder) -> None:
    assert copy.deepcopy(encoder) is copy.copy(encoder) is encoder
    again: RemoteEncoder = pickle.loads(pickle.dumps(encoder))
    with again:
        assert again.schema == encoder.schema


def test_many_threads(server: HostileServer) -> None:
    failed: list[BaseException] = []
    with remote(server) as encoder:

        def work() -> None:
            try:
                assert same(encoder.encode_documents(TEXTS), HashEncoder().encode_documents(TEXTS))
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failed == []


def test_open_encoder_takes_a_url(server: HostileServer) -> None:
    encoder = open_encoder(f"trivec://127.0.0.1:{server.port}", requests=2)
    assert isinstance(encoder, RemoteEncoder)
    with encoder:
        assert encoder.schema == HashEncoder().schema
    with pytest.raises(InvalidOptionError, match="trivec: unknown option colour; known are"):
        open_encoder("trivec://host", colour="red")
    with pytest.raises(InvalidOptionError, match="unknown encoder scheme 'ftp'"):
        open_encoder("ftp://host")
    with pytest.raises(InvalidOptionError, match="unknown option colour; known are"):
        open_encoder("BAAI/bge-m3", colour="red")


def test_open_encoder_loads_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(model: str, *, device: str = "auto") -> str:
        return f"{model} on {device}"

    monkeypatch.setattr(Encoder, "load", load)
    assert str(open_encoder("BAAI/bge-m3", device="cpu")) == "BAAI/bge-m3 on cpu"


def test_a_whole_collection(encoder: RemoteEncoder) -> None:
    """Ingest, search, explain and evaluate, each with the numbers of the encoder itself."""
    here = HashEncoder()
    documents = [Document(str(i), text) for i, text in enumerate(["blue whale", "red fox", "hen"])]
    with open_store("memory:/remote-whole") as store:
        store.create(encoder.schema)
        assert ingest(documents, encoder, store).documents == 3
        hits = store.search(encoder.encode_query("whale"))
        assert hits == store.search(here.encode_query("whale"))
        tokenizing: TokenizingEncoder = encoder
        assert explain("whale", documents[0], tokenizing) == explain("whale", documents[0], here)
        found = evaluate(store, encoder, {"q": "whale"}, {"q": {"0": 1}})
        alone = evaluate(store, here, {"q": "whale"}, {"q": {"0": 1}})
        assert [one.values for one in found.results] == [one.values for one in alone.results]
        store.drop()


async def test_a_cache_shares_its_requests(server: HostileServer, encoder: RemoteEncoder) -> None:
    cached = CachingEncoder.sharing(encoder)
    await asyncio.gather(*(cached.aencode_query("whale") for _ in range(10)))
    assert len(texts_of(server.requests)) == 1
    assert cached.options == {"revision": "abc"}


def test_a_schema_may_be_of_some_parts() -> None:
    made = Served().identity
    assert made is not None
    assert made.schema() == Schema(dense=32, sparse=True, colbert=16, model="hash")


@pytest.mark.parametrize("proxy", ["", "http://127.0.0.1:1"])
def test_certificates_are_read_for_tls_only(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy may speak TLS too; the context without certificates trusts nobody."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    if proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy)
    plain = HttpClient("http://localhost:7600")._options()
    assert ("verify" in plain) == (not proxy)
    if not proxy:
        assert plain["verify"].verify_mode == ssl.CERT_REQUIRED
        assert plain["verify"].check_hostname
        assert plain["verify"].get_ca_certs() == []
    assert "verify" not in HttpClient("https://localhost:7600")._options()
