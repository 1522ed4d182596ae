"""The routes of the server, without a network."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest

from trivec import Vectors
from trivec.encoders.remote import wire
from trivec.encoders.remote.identity import Identity
from trivec.serving import ServeOptions, application
from trivec.testing import HashEncoder

TEXTS = ["The blue whale.", "", "A fox & <b>dogs</b>"]


class Lengths:
    """A reranker: the score of a pair is the number of its characters."""

    model = "lengths"

    def score_pairs(self, pairs: Any) -> Any:
        return np.array([len(query) + len(text) for query, text in pairs], np.float32)


def client(options: ServeOptions | None = None, **given: Any) -> httpx.AsyncClient:
    app = application(given.pop("encoder", None) or HashEncoder(), Lengths(), options)
    transport = httpx.ASGITransport(app)
    return httpx.AsyncClient(transport=transport, base_url="http://server", **given)


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with client() as opened:
        yield opened


def same(one: Vectors, other: Vectors) -> bool:
    return wire.vectors_to_bytes(one) == wire.vectors_to_bytes(other)


@pytest.mark.parametrize("kind", ["documents", "queries"])
async def test_vectors_come_as_safetensors(http: httpx.AsyncClient, kind: str) -> None:
    answer = await http.post("/encode", json={"texts": TEXTS, "kind": kind})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/vnd.safetensors"
    assert wire.vectors_from_bytes(answer.content).colbert is not None
    assert answer.content == wire.vectors_to_bytes(HashEncoder().encode_documents(TEXTS))


async def test_vectors_come_as_json_if_asked_for(http: httpx.AsyncClient) -> None:
    accept = {"Accept": "application/json"}
    answer = await http.post("/encode", json={"texts": TEXTS}, headers=accept)
    assert same(wire.vectors_from_json(answer.content), HashEncoder().encode_documents(TEXTS))


async def test_only_the_parts_asked_for_come(http: httpx.AsyncClient) -> None:
    answer = await http.post("/encode", json={"texts": TEXTS, "parts": ["sparse"]})
    vectors = wire.vectors_from_bytes(answer.content)
    assert vectors.dense is None
    assert vectors.colbert is None
    assert vectors.sparse is not None
    assert len(vectors) == 3


async def test_no_texts_give_no_rows(http: httpx.AsyncClient) -> None:
    answer = await http.post("/encode", json={"texts": []})
    assert len(wire.vectors_from_bytes(answer.content)) == 0


async def test_large_answers_come_in_pieces() -> None:
    texts = [f"whale {number} " + "krill " * 40 for number in range(300)]
    async with client() as http:
        answer = await http.post("/encode", json={"texts": texts})
    assert len(answer.content) > 1024 * 300
    assert answer.content == wire.vectors_to_bytes(HashEncoder().encode_documents(texts))


async def test_every_answer_carries_the_identity(http: httpx.AsyncClient) -> None:
    health = await http.get("/health")
    identity = Identity.of(HashEncoder())
    assert health.json() == {"status": "ok", **identity.members()}
    for answer in (health, await http.post("/encode", json={"texts": "no list"})):
        assert Identity.from_json(answer.headers["Trivec-Encoder"]) == identity


async def test_tokens(http: httpx.AsyncClient) -> None:
    answer = await http.post("/tokens", json={"text": TEXTS[0]})
    assert wire.tokens_from_json(answer.content) == HashEncoder().tokens(TEXTS[0])


async def test_scores_of_the_reranker(http: httpx.AsyncClient) -> None:
    answer = await http.post("/rerank", json={"query": "ab", "texts": ["c", "def"]})
    assert answer.json() == {"scores": [3.0, 5.0]}


async def test_a_server_without_a_reranker_says_so() -> None:
    transport = httpx.ASGITransport(application(HashEncoder()))
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as http:
        answer = await http.post("/rerank", json={"query": "ab", "texts": ["c"]})
    assert answer.status_code == 404
    assert "--reranker" in answer.json()["error"]


async def test_openai_form(http: httpx.AsyncClient) -> None:
    dense = HashEncoder().encode_documents(TEXTS).dense
    assert dense is not None
    request = {"input": TEXTS, "model": "any", "user": "me", "encoding_format": "base64"}
    answer = (await http.post("/v1/embeddings", json=request)).json()
    rows = [base64.b64decode(row["embedding"]) for row in answer["data"]]
    assert [np.frombuffer(row, "<f4").tolist() for row in rows] == dense.tolist()
    assert [row["index"] for row in answer["data"]] == [0, 1, 2]
    assert answer["model"] == "any"
    assert answer["usage"] == {"prompt_tokens": 14, "total_tokens": 14}
    single = (await http.post("/v1/embeddings", json={"input": TEXTS[0]})).json()
    assert single["data"][0]["embedding"] == dense[0].tolist()
    assert single["model"] == "hash"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"input": [[1, 2]]}, "check_embedding_ctx_length"),
        ({"input": []}, "input: expected"),
        ({"input": ["a", 7]}, "expected a str"),
        ({"input": "a", "dimensions": 5}, "dimensions"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "a", "inputs": "b"}, "unknown"),
        ({"input": "a", "model": 5}, "model: expected a name"),
        ({"input": "a", "model": "\ud800"}, "model: expected a name"),
    ],
)
async def test_openai_errors(http: httpx.AsyncClient, request_: Any, message: str) -> None:
    content, headers = json.dumps(request_), {"Content-Type": "application/json"}
    answer = await http.post("/v1/embeddings", content=content, headers=headers)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert message in error["message"]
    assert error["type"] == "invalid_request_error"
    assert set(error) == {"message", "type", "param", "code"}


async def test_metrics(http: httpx.AsyncClient) -> None:
    await http.post("/encode", json={"texts": TEXTS})
    await http.post("/encode", json={"texts": 7})
    await http.get("/nothing")
    text = (await http.get("/metrics")).text
    assert 'trivec_requests_total{route="/encode",status="200"} 1.0' in text
    assert 'trivec_requests_total{route="/encode",status="400"} 1.0' in text
    assert 'trivec_requests_total{route="other",status="404"} 1.0' in text
    assert 'trivec_texts_total{kind="documents"} 3.0' in text
    assert "trivec_tokens_total 14.0" in text
    assert 'trivec_queue{unit="texts"} 0.0' in text
    assert 'trivec_request_seconds_count{route="/encode"} 2.0' in text


async def test_the_page_loads_nothing_and_escapes_texts(http: httpx.AsyncClient) -> None:
    empty = (await http.get("/")).text
    assert "trivec serves hash" in empty
    answer = await http.get("/", params={"text": 'fox "<script>alert(1)</script>'})
    assert answer.status_code == 200
    assert "<script" not in answer.text
    assert "&lt;script&gt;" in answer.text
    assert "Dense: 32" in answer.text
    assert "Sparse: 4 tokens" in answer.text
    assert "ColBERT: 16 numbers for each of 6" in answer.text
    assert "http:" not in answer.text
    assert "https:" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert (await http.get("/", params={"text": "x" * 3000})).status_code == 413


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer wrong", "Basic s3cret", "s3cret", "Bearer é"]
)
async def test_the_token_is_needed(given: str) -> None:
    async with client(ServeOptions(token="s3cret")) as http:
        headers = {b"Authorization": given.encode()} if given else {}
        for method, path in (("POST", "/encode"), ("GET", "/metrics"), ("GET", "/")):
            answer = await http.request(method, path, headers=headers)
            assert answer.status_code == 401
            assert "s3cret" not in answer.text
        assert (await http.get("/health")).status_code == 200


async def test_the_token_opens_the_server() -> None:
    async with client(ServeOptions(token="s3cret")) as http:
        headers = {"Authorization": "Bearer s3cret"}
        answer = await http.post("/encode", json={"texts": TEXTS}, headers=headers)
        assert answer.status_code == 200
        basic = base64.b64encode(b"anybody:s3cret").decode()
        page = await http.get("/", headers={"Authorization": f"Basic {basic}"})
        assert page.status_code == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[" * 100_000, 400),
        (b'{"texts": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", 400),
        (b'{"texts": ["\xff"]}', 400),
        (b'{"texts": ["\\ud800"]}', 400),
        (b'{"texts": [NaN]}', 400),
        (b'{"texts": ["a"], "max_length": NaN}', 400),
        (b'{"texts": ["a"], "max_length": 1e400}', 400),
        (b'{"texts": ["a"], "max_length": ' + b"9" * 5000 + b"}", 400),
        (b'{"texts": ["a"], "max_length": true}', 400),
        (b'{"texts": ["a"], "max_length": 0}', 400),
        (b'{"texts": ["a"], "kind": "images"}', 400),
        (b'{"texts": ["a"], "kind": ["documents"]}', 400),
        (b'{"texts": ["a"], "parts": ["dense", "other"]}', 400),
        (b'{"texts": ["a"], "parts": []}', 400),
        (b'{"texts": ["a"], "parts": [{}]}', 400),
        (b'{"texts": ["a"], "part": ["dense"]}', 400),
        (b'{"texts": "a"}', 400),
        (b'{"texts": [null]}', 400),
        (b"[]", 400),
        (b"null", 400),
        (json.dumps({"texts": ["a"] * 100_000}).encode(), 413),
        (json.dumps({"texts": ["a" * 10_000_000]}).encode(), 413),
    ],
)
@pytest.mark.parametrize("path", ["/encode", "/tokens", "/rerank", "/v1/embeddings"])
async def test_hostile_bodies(http: httpx.AsyncClient, path: str, body: bytes, status: int) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await http.post(path, content=body, headers=headers)
    allowed = {status} if path == "/encode" else {400, status}
    assert answer.status_code in allowed
    assert answer.json()["error"]
    good = await http.post("/encode", json={"texts": TEXTS})
    assert good.status_code == 200


async def test_other_content_types_are_refused(http: httpx.AsyncClient) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = await http.post(
            "/encode", content=b'{"texts": ["a"]}', headers={"Content-Type": content_type}
        )
        assert answer.status_code == 415
    assert (await http.get("/encode")).status_code == 405
