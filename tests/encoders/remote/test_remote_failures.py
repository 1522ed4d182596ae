"""Servers that fail, lie, hang or change: each ends in one clear error, and nothing is lost."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import hostile_http
import numpy as np
import pytest
import tenacity
from hostile_http import Behaviour, HostileServer, Request, answer, closed_port
from scripted_encoder import Served, remote, scripted_encoder, texts_of, vectors_answer

from trivec import Document, Vectors, ingest, open_encoder, open_store
from trivec.deadline import limited
from trivec.encoders.remote import wire
from trivec.encoders.remote.encoder import RemoteEncoder
from trivec.encoders.remote.http import _warn_of_plain_token
from trivec.encoders.remote.identity import IDENTITY_HEADER, Identity
from trivec.encoders.remote.options import RemoteOptions
from trivec.encoders.url import EncoderUrl
from trivec.errors import EncoderError, EncoderUnavailableError, InvalidOptionError
from trivec.rows import TokenRows
from trivec.testing import HashEncoder

SECRET = "tok-3f9a-secret"
IDENTITY = Identity.of(HashEncoder(), revision="abc")


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with scripted_encoder() as server:
        yield server


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait no second between two tries."""
    monkeypatch.setattr("trivec.retry._exponential", tenacity.wait_fixed(0.01))


def fails(
    server: HostileServer, error: type[EncoderError], match: str = "", **options: Any
) -> EncoderError:
    """Return the error of the blocking form, after checking that the other one is the same."""
    with remote(server, **options) as encoder, pytest.raises(error, match=match):
        asyncio.run(encoder.aencode_documents(["a", "b"]))
    with remote(server, **options) as encoder, pytest.raises(error, match=match) as raised:
        encoder.encode_documents(["a", "b"])
    assert isinstance(raised.value, error)
    return raised.value


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "behaviour",
    [
        *(answer(status, {"error": "busy"}) for status in (429, 502, 503, 504)),
        hostile_http.half,
        hostile_http.reset,
        hostile_http.hang_up,
        hostile_http.no_http,
    ],
)
def test_what_may_pass_is_tried_again(server: HostileServer, behaviour: Behaviour) -> None:
    server.script += [behaviour, behaviour]
    with remote(server) as encoder:
        encoder.encode_query("whale")
        server.script += [behaviour, behaviour]
        asyncio.run(encoder.aencode_query("whale"))
    assert len(server.requests) == 6


def test_the_server_says_when(server: HostileServer) -> None:
    server.script.append(hostile_http.busy("0.3"))
    started = time.monotonic()
    with remote(server) as encoder:
        encoder.encode_query("whale")
    assert time.monotonic() - started >= 0.3


@pytest.mark.usefixtures("quick")
def test_a_server_that_stays_busy(server: HostileServer) -> None:
    server.always = answer(503, {"error": "the queue is full"})
    error = fails(server, EncoderUnavailableError, "status 503: the queue is full")
    assert len(server.requests) == 12
    assert "POST http://127.0.0.1" in str(error)


def test_nobody_listens() -> None:
    url = EncoderUrl("trivec", "127.0.0.1", closed_port())
    started = time.monotonic()
    with (
        RemoteEncoder(url, RemoteOptions()) as encoder,
        pytest.raises(EncoderUnavailableError, match="no server answers there") as raised,
    ):
        encoder.encode_query("whale")
    assert raised.value.unreachable
    assert time.monotonic() - started < 3


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", hostile_http.HANGING)
def test_hanging_servers_end_at_the_deadline(server: HostileServer, name: str) -> None:
    server.always = hostile_http.HANGING[name]
    started = time.monotonic()
    fails(server, EncoderUnavailableError, "in time|deadline", deadline=0.5)
    assert time.monotonic() - started < 4


def test_the_callers_deadline_counts(server: HostileServer) -> None:
    server.always = hostile_http.deaf
    started = time.monotonic()
    with remote(server) as encoder, limited(0.4), pytest.raises(EncoderUnavailableError):
        encoder.encode_documents(["a"])
    assert time.monotonic() - started < 3


def _with(**parts: Any) -> Callable[[], Behaviour]:
    return lambda: vectors_answer(replace(_vectors(), **parts), IDENTITY)


def _vectors() -> Vectors:
    return HashEncoder().encode_documents(["a", "b"])


def _spoiled(offset: int, value: float) -> Behaviour:
    """Return an answer with a number that is not finite."""
    content = bytearray(wire.vectors_to_bytes(_vectors()))
    spoiled = np.array(value, np.float32).tobytes()
    content[offset : offset + 4 or None] = spoiled
    return _raw(bytes(content))


def _raw(content: bytes, type: str = wire.SAFETENSORS, **more: str) -> Behaviour:
    return answer(200, content, {IDENTITY_HEADER: IDENTITY.to_json(), "Content-Type": type, **more})


LIES: dict[str, tuple[Callable[[], Behaviour], str]] = {
    "few rows": (lambda: vectors_answer(_vectors().slice(0, 1), IDENTITY), "1 rows for 2 texts"),
    "many rows": (
        lambda: vectors_answer(Vectors.concatenate([_vectors()] * 2), IDENTITY),
        "4 rows for 2 texts",
    ),
    "wrong dimension": (_with(dense=np.ones((2, 8))), "dense 8, sparse, colbert 16, expected"),
    "wrong tokens": (
        _with(colbert=TokenRows.from_arrays([np.ones((1, 3))] * 2)),
        "colbert 3, expected dense 32",
    ),
    "a part is missing": (_with(sparse=None), "vectors of dense 32, colbert 16, expected"),
    "NaN": (lambda: _spoiled(-4, np.nan), "finite|weight"),
    "infinite": (lambda: _spoiled(-4, np.inf), "finite|weight"),
    "cut": (lambda: _raw(wire.vectors_to_bytes(_vectors())[:-3]), "cut short"),
    "empty": (lambda: _raw(b""), "cut short"),
    "huge header": (lambda: _raw(b"\xff" * 64), "cut short"),
    "html": (
        lambda: answer(200, b"<html>Sign in</html>", {"Content-Type": "text/html"}),
        "no header Trivec-Encoder",
    ),
    "html of ours": (
        lambda: _raw(b"<html>Sign in</html>", "text/html"),
        "expected application/vnd",
    ),
    "no identity": (
        lambda: answer(200, b"{}", {IDENTITY_HEADER: "{"}),
        "the encoder's identity is not JSON",
    ),
    "identity without parts": (
        lambda: answer(200, b"{}", {IDENTITY_HEADER: '{"model": "x"}'}),
        "at least one of dense, sparse and colbert",
    ),
    "identity of wrong types": (
        lambda: answer(200, b"{}", {IDENTITY_HEADER: '{"dense": "many"}'}),
        "dense: expected int",
    ),
    "compressed badly": (
        lambda: _raw(b"no gzip", **{"Content-Encoding": "gzip"}),
        "cannot be decompressed",
    ),
    "redirect": (lambda: hostile_http.redirect_loop, "redirects to elsewhere; give the address"),
    "redirect to a malformed address": (
        lambda: answer(300, b"", {"Location": "http://[1"}),
        "redirects to elsewhere; give the address",
    ),
    "not found": (lambda: answer(404, {"detail": "no such path"}), "status 404: no such path"),
    "failed": (lambda: answer(500, b"x" * 100_000), "status 500: x+…"),
    "bad request": (lambda: answer(400, {"error": {"message": "too odd"}}), "400: too odd"),
}


@pytest.mark.parametrize("name", LIES)
def test_wrong_answers_are_errors_at_once(server: HostileServer, name: str) -> None:
    make, match = LIES[name]
    server.always = make()
    fails(server, EncoderError, match)
    assert len(server.requests) == 2


@pytest.mark.parametrize("texts", [[], ["a"]])
def test_too_large_is_an_error_where_there_are_no_halves(
    server: HostileServer, texts: list[str]
) -> None:
    server.always = answer(413, {"error": "too large"})
    with remote(server) as encoder:
        with pytest.raises(EncoderError, match="status 413: too large"):
            encoder.encode_documents(texts)
        with pytest.raises(EncoderError, match="status 413: too large"):
            asyncio.run(encoder.aencode_documents(texts))


@pytest.mark.parametrize("content", [b"{}", b"[3]", b'[{"id": -1}]', b"<html>", b'[{"id": "1"}]'])
def test_wrong_tokens_are_errors(server: HostileServer, content: bytes) -> None:
    server.always = _raw(content, "application/json")
    with remote(server) as encoder, pytest.raises(EncoderError, match="token"):
        encoder.tokens("a")


@pytest.mark.parametrize("content", [b"{}", b"[]", b"<html>", b"", b"[" * 100_000])
def test_wrong_health_is_an_error(server: HostileServer, content: bytes) -> None:
    server.always = answer(200, content)
    with remote(server) as encoder, pytest.raises(EncoderError, match="trivec serve"):
        _ = encoder.schema


@pytest.mark.usefixtures("quick")
def test_a_changed_model_ends_an_ingestion_and_nothing_is_lost(tmp_path: Path) -> None:
    served = Served()
    documents = [Document(str(i), f"text {i} whale") for i in range(200)]
    journal = tmp_path / "a.journal"
    with scripted_encoder(served) as server, open_store("memory:/changed") as store:
        store.create(HashEncoder().schema)

        def change(request: Request) -> bool:
            if len(texts_of(server.requests)) == 6:
                served.identity = replace(IDENTITY, revision="def")
            return False

        server.when = change
        with (
            remote(server, batch_texts=10) as encoder,
            pytest.raises(EncoderError, match="revision was 'abc' and is 'def'"),
        ):
            ingest(documents, encoder, store, journal=journal, part_bytes=200)
        written = store.count()
        assert 0 < written < 200
        served.identity = IDENTITY
        server.when = lambda request: True
        with remote(server) as encoder:
            report = ingest(documents, encoder, store, journal=journal)
        assert (report.documents, report.unchanged) == (200 - written, written)
        assert store.count() == 200
        store.drop()


@pytest.mark.usefixtures("quick")
def test_a_server_that_dies_in_an_ingestion_and_comes_back(tmp_path: Path) -> None:
    documents = [Document(str(i), f"text {i} whale") for i in range(200)]
    with scripted_encoder() as server, open_store("memory:/killed") as store:
        store.create(HashEncoder().schema)
        server.when = lambda request: len(server.requests) % 5 == 0
        server.always = hostile_http.reset
        with remote(server, batch_texts=10) as encoder:
            report = ingest(documents, encoder, store, part_bytes=200)
        assert report.documents == store.count() == 200
        here = HashEncoder().encode_documents([document.text for document in documents])
        stored = store.get([document.id for document in documents], with_vectors=True).vectors
        assert stored is not None
        assert here.dense is not None
        assert np.array_equal(np.asarray(stored.dense), here.dense)
        store.drop()


def test_the_first_error_ends_the_others(server: HostileServer) -> None:
    server.when = lambda request: b"bad" in request.body
    server.always = answer(400, {"error": "bad text"})
    texts = [*["fine"] * 3, "bad", *["fine"] * 200]
    with remote(server, batch_texts=1, requests=2) as encoder:
        with pytest.raises(EncoderError, match="bad text"):
            encoder.encode_documents(texts)
        with pytest.raises(EncoderError, match="bad text"):
            asyncio.run(encoder.aencode_documents(texts))
    assert len(server.requests) < 100


def test_the_token_is_sent_and_shown_nowhere(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with scripted_encoder(Served(token=SECRET)) as server:
        with remote(server, token=SECRET) as encoder:
            encoder.encode_query("whale")
            server.always = answer(403, {"error": f"no {SECRET} here"})
            with pytest.raises(EncoderError, match="refuses this token") as raised:
                encoder.encode_query("whale")
            shown = [repr(encoder), str(encoder._options), str(raised.value), repr(raised.value)]
            shown += [repr(encoder._client), caplog.text]
        server.always = None
        monkeypatch.setenv("TRIVEC_ENCODER_TOKEN", SECRET)
        with remote(server) as encoder:
            encoder.encode_query("whale")
        monkeypatch.delenv("TRIVEC_ENCODER_TOKEN")
        with (
            remote(server) as encoder,
            pytest.raises(EncoderError, match="give `token`, or set TRIVEC_ENCODER_TOKEN"),
        ):
            encoder.encode_query("whale")
    assert not [text for text in shown if SECRET in text]


@pytest.mark.parametrize("token", ["", "a\nb", "ü", 5])
def test_a_token_that_cannot_be_sent(token: str) -> None:
    with pytest.raises(InvalidOptionError, match="token: expected") as raised:
        RemoteOptions(token=token)
    assert repr(token)[1:-1] not in str(raised.value) or token in ("", 5)


def test_a_token_without_tls_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    _warn_of_plain_token.cache_clear()
    options = RemoteOptions(token=SECRET)
    for scheme, host in (("trivec", "localhost"), ("trivecs", "far"), *[("trivec", "far")] * 2):
        RemoteEncoder(EncoderUrl(scheme, host), options)
    assert [one.getMessage().split(" without")[0] for one in caplog.records] == [
        "the token goes to far"
    ]


@pytest.mark.parametrize(
    "url", [f"trivec://me:{SECRET}@host", f"trivec://host?token={SECRET}", f"trivec://h:{SECRET}"]
)
def test_secrets_in_a_url_are_refused_and_not_shown(url: str) -> None:
    with pytest.raises(InvalidOptionError) as raised:
        open_encoder(url)
    assert SECRET not in str(raised.value)


def test_tls_is_diagnosed(tmp_path: Path) -> None:
    certificate = hostile_http.self_signed(tmp_path)
    with HostileServer(Served(), certificate=certificate) as server:
        url = EncoderUrl("trivecs", "127.0.0.1", server.port)
        with (
            RemoteEncoder(url, RemoteOptions(deadline=5)) as encoder,
            pytest.raises(EncoderError, match="certificate is not trusted"),
        ):
            encoder.encode_query("whale")
    with scripted_encoder() as server:
        url = EncoderUrl("trivecs", "127.0.0.1", server.port)
        with (
            RemoteEncoder(url, RemoteOptions(deadline=5)) as encoder,
            pytest.raises(EncoderError, match="does not speak TLS"),
        ):
            encoder.encode_query("whale")
