"""The server behind a socket: hostile clients, its end, and its processes."""

from __future__ import annotations

import gzip
import json
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import httpx
import psutil
import pytest
from hash_server import HTTP, Server, hash_server

from trivec.encoders.remote import wire
from trivec.testing import HashEncoder

TEXTS = ["The blue whale.", "A fox."]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with hash_server({"timeout": 1.0}) as running:
        yield running


@pytest.fixture(autouse=True)
def _stays_healthy(request: pytest.FixtureRequest) -> Iterator[None]:
    """Check after each test with the common server that it still works."""
    yield
    if "server" in request.fixturenames:
        running: Server = request.getfixturevalue("server")
        assert encode(running).status_code == 200
        assert running.metric('trivec_queue{unit="requests"}') == 0


def encode(server: Server, **body: Any) -> httpx.Response:
    return HTTP.post(f"{server.url}/encode", json={"texts": TEXTS, **body})


def wait_for_queue(server: Server, requests: int) -> None:
    """Wait until so many requests are accepted and not yet answered."""
    ended = time.perf_counter() + 30
    while server.metric('trivec_queue{unit="requests"}') != requests:
        assert time.perf_counter() < ended
        time.sleep(0.05)


def wait_until_refused(server: Server) -> None:
    """Wait until the server accepts no new connections."""
    ended = time.perf_counter() + 30
    while True:
        try:
            server.connect().close()
        except OSError:
            return
        assert time.perf_counter() < ended
        time.sleep(0.05)


def raw(body: bytes, *, length: int | None = None, path: str = "/encode") -> bytes:
    size = len(body) if length is None else length
    return (
        f"POST {path} HTTP/1.1\r\nHost: server\r\nContent-Type: application/json\r\n"
        f"Content-Length: {size}\r\n\r\n"
    ).encode() + body


def everything(connection: socket.socket) -> bytes:
    """Return what comes until the server closes the connection."""
    content = b""
    try:
        while piece := connection.recv(1 << 16):
            content += piece
    except ConnectionResetError:
        pass
    return content


def test_vectors_are_equal_to_the_bit(server: Server) -> None:
    expected = wire.vectors_to_bytes(HashEncoder().encode_documents(TEXTS))
    assert encode(server).content == expected


def test_many_callers_at_once(server: Server) -> None:
    before = server.metric("trivec_batches_total")
    with ThreadPoolExecutor(32) as callers:
        answers = list(callers.map(lambda _: encode(server), range(64)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert server.metric("trivec_batches_total") > before


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (json.dumps({"texts": ["a" * 10_000_000]}).encode(), 413),
        (json.dumps({"texts": ["a"] * 100_000}).encode(), 413),
        (b"[" * 1_000_000, 400),
        (b"\x00\xff" * 100, 400),
    ],
)
def test_hostile_bodies_get_their_status(server: Server, body: bytes, status: int) -> None:
    headers = {"Content-Type": "application/json"}
    answer = HTTP.post(f"{server.url}/encode", content=body, headers=headers)
    assert answer.status_code == status


def test_an_endless_body_is_refused(server: Server) -> None:
    head = b"POST /encode HTTP/1.1\r\nHost: s\r\nContent-Type: application/json\r\n"
    with server.connect() as connection:
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
        piece = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
        with pytest.raises(OSError):  # noqa: PT011 - reset or broken pipe
            connection.sendall(piece * 200)


def test_a_slow_sender_gets_408(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(raw(b'{"texts": ["a', length=100))
        began = time.perf_counter()
        answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 408")
    assert time.perf_counter() - began < 10


def test_slow_headers_end_the_connection(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(b"POST /encode HTTP/1.1\r\nHost: ser")
        assert everything(connection) == b""
    with server.connect() as connection:
        assert everything(connection) == b""


def test_closed_connections_do_not_disturb_others(server: Server) -> None:
    body = json.dumps({"texts": TEXTS}).encode()
    for request in (b"", b"POST /enc", raw(body, length=len(body) + 9), raw(body)):
        with server.connect() as connection:
            connection.sendall(request)


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    texts = [json.dumps({"text": f"whale {number}"}).encode() for number in range(3)]
    requests = [raw(text, path="/tokens") for text in texts]
    requests[-1] = requests[-1].replace(b"Host:", b"Connection: close\r\nHost:")
    with server.connect() as connection:
        connection.sendall(b"".join(requests))
        answer = everything(connection)
    assert answer.count(b"HTTP/1.1 200 OK") == 3
    places = [answer.index(f'"text":"{number}"'.encode()) for number in range(3)]
    assert places == sorted(places)


def head(*lines: str, request: str = "POST /encode HTTP/1.1") -> bytes:
    """Return the head of a request that closes its connection."""
    common = ("Host: s", "Content-Type: application/json", "Connection: close")
    return "\r\n".join([request, *common, *lines, "", ""]).encode("latin-1")


def closing(body: bytes) -> bytes:
    """Return a request that closes its connection."""
    return head(f"Content-Length: {len(body)}") + body


GOOD = b'{"texts": ["a"]}'
BOMB = gzip.compress(b" " * 50_000_000)
RAW: dict[str, tuple[bytes, int]] = {
    "no HTTP": (b"whale\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x07" * 512, 400),
    "a header of a megabyte": (head("X: " + "a" * 1_000_000), 400),
    "too many headers": (head(*(f"X-{number}: {'a' * 50}" for number in range(2000))), 400),
    "a negative length": (head("Content-Length: -5") + GOOD, 400),
    "a length that is no number": (head("Content-Length: 1e3") + GOOD, 400),
    "two lengths": (head("Content-Length: 16", "Content-Length: 17") + GOOD, 400),
    "a huge length": (head("Content-Length: " + "9" * 40) + GOOD, 400),
    "an unknown coding": (head("Transfer-Encoding: gzip") + GOOD, 400),
    "a chunk without a size": (head("Transfer-Encoding: chunked") + b"whale\r\n", 400),
    "a header without a name": (head(": x"), 400),
    "a bomb": (head(f"Content-Length: {len(BOMB)}", "Content-Encoding: gzip") + BOMB, 415),
    "another type": (closing(GOOD).replace(b"application/json", b"text/plain"), 415),
    "an unknown path": (head(request="GET /nothing HTTP/1.1"), 404),
    "a path out of the folder": (head(request="GET /../../etc/passwd HTTP/1.1"), 404),
    "an encoded path": (head(request="GET /%2e%2e/%2fetc%2fpasswd HTTP/1.1"), 404),
    "another method": (head(request="DELETE /encode HTTP/1.1"), 405),
    "a method of GET": (head("Content-Length: 16", request="POST /health HTTP/1.1") + GOOD, 405),
    "HTTP/1.0 without a body": (b"POST /encode HTTP/1.0\r\n\r\n", 415),
    "half of a surrogate pair": (closing(b'{"texts": ["\\ud800"]}'), 400),
    "a member twice": (closing(b'{"texts": ["a"], "texts": ["b"]}'), 400),
    "UTF-16": (closing('{"texts": ["a"]}'.encode("utf-16")), 400),
    "nested texts": (closing(b'{"texts": [["a"]]}'), 400),
    "an infinite length": (closing(b'{"texts": ["a"], "max_length": 1e400}'), 400),
}


@pytest.mark.parametrize("name", RAW)
def test_hostile_requests_get_their_status(server: Server, name: str) -> None:
    request, status = RAW[name]
    with server.connect() as connection:
        with suppress(OSError):  # the server may close the connection before the end
            connection.sendall(request)
        answer = everything(connection)
    first, _, body = answer.partition(b"\r\n\r\n")
    if name == "a header of a megabyte" and not answer:
        return  # reset, since the client was still sending
    assert first.startswith(f"HTTP/1.1 {status} ".encode()), answer[:300]
    assert json.loads(body)["error"]


def test_http_1_0_is_served(server: Server) -> None:
    lines = f"Content-Type: application/json\r\nContent-Length: {len(GOOD)}\r\n\r\n".encode()
    with server.connect() as connection:
        connection.sendall(b"POST /encode HTTP/1.0\r\n" + lines + GOOD)
        assert everything(connection).startswith(b"HTTP/1.1 200")


def test_a_connection_that_is_closed_in_the_middle_of_the_answer(server: Server) -> None:
    body = json.dumps({"texts": ["whale " * 250] * 100}).encode()  # an answer of 1.6 MB
    for _ in range(5):
        with server.connect() as connection:
            connection.sendall(raw(body))
            assert connection.recv(10) == b"HTTP/1.1 2"
    wait_for_queue(server, 0)


def test_hostile_requests_leave_no_memory_behind(server: Server) -> None:
    large = json.dumps({"texts": ["a" * 10_000_000]}).encode()
    nested = b'{"texts": ' + b"[" * 1_000_000
    headers = {"Content-Type": "application/json"}
    process = psutil.Process(server.process.pid)

    def attack() -> int:
        for body, status in ((large, 413), (nested, 400)):
            url = f"{server.url}/encode"
            assert HTTP.post(url, content=body, headers=headers).status_code == status
        return int(process.memory_info().rss)

    before = [attack() for _ in range(3)][-1]
    after = [attack() for _ in range(12)][-1]
    assert after - before < 16 * 1024**2


def test_a_client_that_takes_no_answer_is_dropped(server: Server) -> None:
    body = json.dumps({"texts": ["whale " * 250] * 1000}).encode()  # an answer of 16 MB
    with server.connect() as connection:
        connection.sendall(raw(body))
        assert connection.recv(10) == b"HTTP/1.1 2"
        wait_for_queue(server, 0)
        assert server.metric('trivec_requests_total{route="/encode",status="499"}') >= 1


def test_a_full_queue_refuses_and_asks_to_come_back() -> None:
    options = {"max_texts": 2, "queue_texts": 4}
    with hash_server(options, seconds=0.5) as server, ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(lambda _: encode(server), range(8)))
        refused = [answer for answer in answers if answer.status_code == 503]
        assert {answer.status_code for answer in answers} == {200, 503}
        assert {answer.headers["Retry-After"] for answer in refused} == {"1"}
        assert encode(server).status_code == 200


def test_texts_of_a_client_that_is_gone_are_not_encoded() -> None:
    body = json.dumps({"texts": ["gone"] * 7}).encode()
    with hash_server(seconds=2.0) as server, ThreadPoolExecutor(2) as callers:
        busy = callers.submit(encode, server)
        wait_for_queue(server, 1)
        with server.connect() as connection:
            connection.sendall(raw(body))
            wait_for_queue(server, 2)
        assert busy.result().status_code == 200
        assert encode(server).status_code == 200
        assert server.metric('trivec_texts_total{kind="documents"}') == 4


def test_what_is_accepted_is_answered_before_the_end() -> None:
    with hash_server(seconds=2.0) as server, ThreadPoolExecutor(4) as callers:
        accepted = [callers.submit(encode, server) for _ in range(3)]
        wait_for_queue(server, 3)
        server.process.send_signal(signal.SIGTERM)
        wait_until_refused(server)
        assert {answer.result().status_code for answer in accepted} == {200}
        assert server.process.wait(10) in (0, -signal.SIGTERM)


def test_one_process_for_each_device() -> None:
    with hash_server(processes=2) as server:
        for _ in range(8):
            assert encode(server).status_code == 200
        assert server.metric('trivec_texts_total{kind="documents"}') == 16
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0
