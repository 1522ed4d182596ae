"""Answers of other people's servers with one thing wrong: an error, and never other vectors."""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from encoder_doubles import Double, OpenAi, Refusal, Sie, Tei
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tokenizers import Tokenizer

from trivec.encoders.remote.exchange import HttpAnswer, HttpRequest
from trivec.encoders.remote.foreign import ForeignEncoder
from trivec.encoders.remote.openai import OpenAiEncoder
from trivec.encoders.remote.sie import SieEncoder
from trivec.encoders.remote.tei import TeiEncoder
from trivec.encoders.url import EncoderUrl
from trivec.errors import EncoderError, InvalidOptionError
from trivec.reranking import RemoteReranker
from trivec.testing import HashEncoder
from trivec.vectors import Vectors

CHECKPOINT = Path(__file__).parents[1] / "golden" / "checkpoint"
TEXTS = ["a blue whale", "the red fox", "whale"]

# Ordinary numbers are not here: another vector of the right form cannot be told from the right one.
ODD: list[Any] = [
    *(None, True, False, "", "1.5", [], {}, [[1.0]], {"id": 1}, 10**400, 1e300),
    *(float("nan"), float("inf"), [None], ["0.5"]),
]
ODD_COUNTS = [-1, 2**40, 2**70, 0.5]
BODIES = [
    b"",
    b"null",
    b"NaN",
    b"[]",
    b"{}",
    b'"text"',
    b"<!doctype html><title>Login</title>",
    b"[" * 100_000,
    b'{"data": ' + b"9" * 5000 + b"}",
    b"\xff\xfe\x00",
    gzip.compress(b"[]", mtime=0),
]

THOROUGH = settings(
    max_examples=300,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

Change: TypeAlias = Callable[[Any], Any]


class Client:
    """Takes the place of an `HttpClient`: the answers of a double, one route of which is changed.

    Attributes:
        route: The route whose answers are changed.
        change: Returns the changed answer: JSON, or bytes as they are sent.
    """

    def __init__(self, double: Double) -> None:
        self.double = double
        self.route = ""
        self.change: Change = lambda answer: answer

    def exchange(self, request: HttpRequest) -> HttpAnswer:
        route = f"{request.method} {request.path}"
        body = None if request.body is None else json.loads(request.body)
        status = 200
        try:
            answer = json.loads(json.dumps(self.double.answer(route, body)))
        except Refusal as refusal:
            status, answer = refusal.status, refusal.body
        if route == self.route:
            answer = self.change(answer)
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return HttpAnswer(request, "http://server", status, {}, content)

    async def aexchange(self, request: HttpRequest) -> HttpAnswer:
        raise NotImplementedError


def changed(answer: Any, data: st.DataObject) -> Any:
    """Return a copy of an answer with a part replaced, missing or repeated."""
    answer = copy.deepcopy(answer)
    holder: Any = None
    key: Any = None
    part = answer
    while isinstance(part, list | dict) and part and data.draw(st.integers(0, 3)):
        keys: list[Any] = sorted(part) if isinstance(part, dict) else list(range(len(part)))
        holder, key = part, data.draw(st.sampled_from(keys))
        part = holder[key]
    how = data.draw(st.sampled_from(["replaced", "replaced", "missing", "repeated"]))
    if holder is None:
        return data.draw(st.sampled_from(ODD))
    if how == "missing":
        del holder[key]
    elif how == "repeated" and isinstance(holder, list):
        holder.insert(data.draw(st.integers(0, len(holder))), part)
    else:
        odd = ODD + ODD_COUNTS if isinstance(part, int) else ODD
        holder[key] = data.draw(st.sampled_from(odd))
    return answer


def dense_of(text: str) -> NDArray[np.floating]:
    dense = HashEncoder().encode_query(text).dense
    assert dense is not None
    return dense


def tei() -> Tei:
    tokenizer = Tokenizer.from_file(str(CHECKPOINT / "tokenizer.json"))

    def states(text: str) -> NDArray[np.floating]:
        ids = tokenizer.encode(text).ids
        return np.random.default_rng(ids).normal(size=(len(ids), 32))

    return Tei(states=states, tokenizer=tokenizer, max_length=128)


def openai_encoder(form: str) -> tuple[ForeignEncoder, Double]:
    double = OpenAi(vector=dense_of, base64=form == "base64")
    url = EncoderUrl.parse("openai+http://server/v1")
    return OpenAiEncoder.from_url(url, OpenAiEncoder.options_class.of("", {})), double


def tei_encoder(heads: Any) -> tuple[ForeignEncoder, Double]:
    options = TeiEncoder.options_class.of("", {"heads": heads})
    return TeiEncoder.from_url(EncoderUrl.parse("tei+http://server"), options), tei()


def sie_encoder() -> tuple[ForeignEncoder, Double]:
    def vectors(text: str) -> tuple[NDArray[np.floating], dict[int, float], NDArray[np.floating]]:
        words = text.split()
        rng = np.random.default_rng(len(text))
        sparse = {100 + len(word): rng.random() + 0.1 for word in words}
        return rng.normal(size=8), sparse, rng.normal(size=(len(words) + 1, 4))

    double = Sie(vectors=vectors, dims={"dense": 8, "sparse": 1000, "multivector": 4})
    url = EncoderUrl.parse("sie+http://server")
    return SieEncoder.from_url(url, SieEncoder.options_class.of("", {})), double


SERVERS: dict[str, Callable[[], tuple[ForeignEncoder, Double]]] = {
    "openai": lambda: openai_encoder("numbers"),
    "openai, base64": lambda: openai_encoder("base64"),
    "sie": sie_encoder,
    "tei": lambda: tei_encoder(CHECKPOINT),
    "tei, dense": lambda: tei_encoder(False),
}
ROUTES = [
    ("openai", "GET /v1/models"),
    ("openai", "POST /v1/embeddings"),
    ("openai, base64", "POST /v1/embeddings"),
    ("sie", "GET /v1/models"),
    ("sie", "GET /v1/models/BAAI/bge-m3"),
    ("sie", "POST /v1/encode/BAAI/bge-m3"),
    ("tei", "GET /info"),
    ("tei", "POST /tokenize"),
    ("tei", "POST /embed_all"),
    ("tei, dense", "GET /info"),
    ("tei, dense", "POST /embed"),
]


def encoded(server: str, route: str = "", change: Change = lambda answer: answer) -> Vectors:
    encoder, double = SERVERS[server]()
    client: Any = Client(double)
    client.route, client.change = route, change
    encoder._client = client
    return encoder.encode_documents(TEXTS)


def assert_equal(found: Vectors, expected: Vectors) -> None:
    np.testing.assert_array_equal(found.dense, expected.dense)
    assert (found.sparse is None) == (expected.sparse is None)
    if found.sparse is not None and expected.sparse is not None:
        assert [found.sparse.row(i) for i in range(3)] == [expected.sparse.row(i) for i in range(3)]
    assert (found.colbert is None) == (expected.colbert is None)
    if found.colbert is not None and expected.colbert is not None:
        np.testing.assert_array_equal(found.colbert.values, expected.colbert.values)
        np.testing.assert_array_equal(found.colbert.indptr, expected.colbert.indptr)


# Another list of models leads to a message that tells to choose one.
ALLOWED = {"GET /v1/models": (EncoderError, InvalidOptionError)}


@pytest.mark.parametrize(("server", "route"), ROUTES)
def test_a_changed_answer_is_an_error_or_changes_nothing(server: str, route: str) -> None:
    expected = encoded(server)

    @THOROUGH
    @given(st.data())
    def check(data: st.DataObject) -> None:
        changes: dict[str, Any] = {}

        def change(answer: Any) -> Any:
            key = json.dumps(answer)
            if key not in changes:
                changes[key] = changed(answer, data)
            return changes[key]

        try:
            found = encoded(server, route, change)
        except ALLOWED.get(route, EncoderError):
            return
        assert_equal(found, expected)

    check()


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize(("server", "route"), ROUTES)
def test_bodies_that_are_no_answer(server: str, route: str, body: bytes) -> None:
    with pytest.raises(EncoderError):
        encoded(server, route, lambda answer: body)


@pytest.mark.parametrize("kind", ["tei", "infinity"])
def test_a_changed_answer_of_a_reranker(kind: str) -> None:
    double = Tei(pooling=None) if kind == "tei" else OpenAi(prefix="")
    pairs = [("which whale", text) for text in TEXTS]
    reranker = RemoteReranker(f"{kind}+http://server")
    client: Any = Client(double)
    reranker._client = client
    expected = reranker.score_pairs(pairs)
    client.route = "POST /rerank"
    for body in BODIES:
        client.change = lambda answer, body=body: body
        with pytest.raises(EncoderError):
            reranker.score_pairs(pairs)

    @THOROUGH
    @given(st.data())
    def check(data: st.DataObject) -> None:
        client.change = lambda answer: changed(answer, data)
        try:
            found = reranker.score_pairs(pairs)
        except EncoderError:
            return
        np.testing.assert_array_equal(found, expected)

    check()
