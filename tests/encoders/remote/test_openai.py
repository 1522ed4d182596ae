"""Servers with the OpenAI API's embeddings, and Infinity: dense vectors, and nothing else."""

from __future__ import annotations

import copy
import pickle
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encoder_doubles import OpenAi, Refusal
from numpy.typing import NDArray

from trivec import Document, Schema, ingest, open_store
from trivec.encoders.remote.foreign import ForeignEncoder
from trivec.encoders.remote.infinity import InfinityEncoder
from trivec.encoders.remote.openai import OPENAI_TOKEN, OpenAiEncoder, OpenAiOptions
from trivec.encoders.remote.sie import SieEncoder
from trivec.encoders.remote.tei import TeiEncoder
from trivec.encoders.url import EncoderUrl
from trivec.errors import EncoderError, InvalidOptionError
from trivec.testing import HashEncoder

TEXTS = ["blue whale", "red fox", "the whale and the fox", "blue"]
PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"

Open = Callable[..., ForeignEncoder]


def vector(text: str) -> NDArray[np.floating]:
    dense = HashEncoder().encode_query(text).dense
    assert dense is not None
    return 2 * dense


def unit_vectors(texts: list[str]) -> NDArray[np.floating]:
    return np.stack([vector(text) / np.linalg.norm(vector(text)) for text in texts])


@pytest.fixture
def server() -> OpenAi:
    return OpenAi(vector=vector)


@pytest.fixture
def open_openai(server: OpenAi) -> Iterator[Open]:
    with server.serving() as address:

        def open_(
            made: type[ForeignEncoder] = OpenAiEncoder, path: str = "/v1", **options: Any
        ) -> ForeignEncoder:
            scheme = "infinity+http" if made is InfinityEncoder else "openai+http"
            url = EncoderUrl.parse(f"{scheme}://{address}{path}")
            return made.from_url(url, made.options_class.of(scheme, options))

        yield open_


@pytest.mark.parametrize("base64", [True, False])
async def test_vectors(open_openai: Open, server: OpenAi, base64: bool) -> None:
    server.base64 = base64
    encoder = open_openai(model="BAAI/bge-m3", batch_texts=3)
    dense = len(vector("a"))
    assert encoder.schema == Schema(dense=dense, sparse=False, colbert=None, model="BAAI/bge-m3")
    found = encoder.encode_documents(TEXTS * 3)
    assert found.dense is not None
    assert (found.sparse, found.colbert) == (None, None)
    np.testing.assert_allclose(found.dense, unit_vectors(TEXTS * 3), atol=1e-6)
    again = (await encoder.aencode_queries(TEXTS * 3)).dense
    assert again is not None
    np.testing.assert_array_equal(found.dense, again)
    bodies = server.bodies("POST /v1/embeddings")
    assert max(len(body["input"]) for body in bodies) == 3
    assert {body["model"] for body in bodies} == {"BAAI/bge-m3"}
    assert len(encoder.encode_documents([])) == 0


def test_the_only_model_is_found(open_openai: Open, server: OpenAi) -> None:
    assert open_openai().model == "BAAI/bge-m3"
    assert open_openai(name="mine").model == "mine"
    server.refusals = [Refusal(200, {"object": "list", "data": [{"id": "a"}, {"id": "b"}]})]
    with pytest.raises(InvalidOptionError, match=r"lists 2 models, \['a', 'b'\]; say which one"):
        _ = open_openai().schema


def test_infinity(open_openai: Open, server: OpenAi) -> None:
    server.prefix = ""
    encoder = open_openai(InfinityEncoder, path="")
    assert encoder.model == "BAAI/bge-m3"
    found = encoder.encode_queries(TEXTS).dense
    assert found is not None
    np.testing.assert_allclose(found, unit_vectors(TEXTS), atol=1e-6)


def test_shorter_vectors(open_openai: Open, server: OpenAi) -> None:
    encoder = open_openai(dimensions=8)
    assert encoder.schema.dense == 8
    dense = encoder.encode_documents(TEXTS).dense
    assert dense is not None
    np.testing.assert_allclose(np.linalg.norm(dense, axis=1), 1, atol=1e-6)
    assert {body["dimensions"] for body in server.bodies("POST /v1/embeddings")} == {8}


@pytest.mark.parametrize("part", ["sparse", "colbert"])
def test_parts_that_the_server_lacks(open_openai: Open, part: str) -> None:
    encoder = open_openai()
    options: Any = {part: True}
    with pytest.raises(InvalidOptionError, match=f"makes dense vectors and no {part} vectors"):
        encoder.encode_documents(TEXTS, **options)
    with pytest.raises(InvalidOptionError, match="no part is left"):
        encoder.encode_documents(TEXTS, dense=False)
    with pytest.raises(InvalidOptionError, match="leave max_length out"):
        encoder.encode_documents(TEXTS, max_length=8)


def test_a_model_that_changes(open_openai: Open, server: OpenAi) -> None:
    encoder = open_openai(model="alias")
    encoder.encode_documents(TEXTS)
    server.model = "another"
    with pytest.raises(EncoderError, match="answers with the model 'another'"):
        encoder.encode_documents(TEXTS)


@pytest.mark.parametrize(
    ("body", "match"),
    [
        ({"object": "list"}, "expected a list, got None"),
        ([], "expected a JSON object"),
        ({"data": []}, "0 entries for 1 texts"),
        ({"data": [{"index": 5, "embedding": [1.0]}]}, "each index from 0 to 0, got index int 5"),
        ({"data": [{"index": True, "embedding": [1.0]}]}, "got index bool True"),
        ({"data": [{"index": 0, "embedding": "?"}]}, "nor float32 in base64"),
        ({"data": [{"index": 0, "embedding": ["0.5"]}]}, "a list with str '0.5'"),
        ({"data": [{"index": 0, "embedding": [[1.0]]}]}, "a list with list of float"),
        ({"data": [{"index": 0, "embedding": [0.5, True]}]}, "a list with bool True"),
        ({"data": [{"index": 0, "embedding": [0.5, float("nan")]}]}, "holds NaN"),
        ({"data": [{"index": 0, "embedding": [0.5, 10**400]}]}, "too large for float32"),
        ({"data": [{"index": 0, "embedding": []}]}, "vectors of one dimension"),
        ({"data": [{"index": 0, "embedding": [0.0, 0.0]}]}, "a vector of zeros"),
        ({"data": [{"index": 0, "embedding": [1.0, 0.5]}]}, "dimension 2, expected"),
    ],
)
def test_answers_that_are_wrong(
    open_openai: Open, server: OpenAi, body: object, match: str
) -> None:
    encoder = open_openai(model="BAAI/bge-m3")
    assert encoder.schema.dense
    if isinstance(body, dict):
        body = {"model": "BAAI/bge-m3", **body}
    server.refusals = [Refusal(200, body)]
    with pytest.raises(EncoderError, match=match):
        encoder.encode_query("a")


def test_a_batch_that_is_too_large_is_halved(open_openai: Open, server: OpenAi) -> None:
    encoder = open_openai(model="BAAI/bge-m3")
    assert encoder.schema.dense
    server.refusals = [Refusal(413, {"error": "too large"}), Refusal(413, {"error": "too large"})]
    found = encoder.encode_documents(TEXTS).dense
    assert found is not None
    np.testing.assert_allclose(found, unit_vectors(TEXTS), atol=1e-6)


def test_tokens_of_the_environment(
    open_openai: Open, server: OpenAi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(OPENAI_TOKEN, "for-openai-alone")
    server.token = "secret"
    encoder = open_openai(token="secret", model="m")
    assert encoder.schema.dense
    assert pickle.loads(pickle.dumps(encoder)).schema == encoder.schema
    assert copy.deepcopy(encoder) is encoder
    with pytest.raises(EncoderError, match="401"):
        _ = open_openai(model="m").schema
    assert "for-openai-alone" not in str(server.requests)
    assert "secret" not in repr(encoder)


@pytest.mark.parametrize(("value", "sent"), [("", ""), ("for-openai", "for-openai")])
def test_the_token_of_openai(monkeypatch: pytest.MonkeyPatch, value: str, sent: str) -> None:
    monkeypatch.setenv(OPENAI_TOKEN, value)
    url = EncoderUrl.parse("openai+https://api.openai.com/v1")
    assert OpenAiEncoder(url, OpenAiOptions(model="m"))._client._token == sent


def test_ingestion_and_search(open_openai: Open) -> None:
    encoder = open_openai()
    with open_store("memory:/openai-style") as store:
        store.create(encoder.schema)
        documents = [Document(str(i), text) for i, text in enumerate(TEXTS)]
        ingest(documents, encoder, store)
        assert store.count() == len(TEXTS)
        hit = store.search(encoder.encode_query("red fox"), k=1, mode="dense")[0]
        assert hit.document.text == "red fox"
        store.drop()


def test_entry_points() -> None:
    group = "trivec.encoders"
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    made = {
        scheme: EntryPoint(scheme, value, group).load()
        for scheme, value in project["entry-points"][group].items()
    }
    for kind, expected in (
        ("tei", TeiEncoder),
        ("openai", OpenAiEncoder),
        ("infinity", InfinityEncoder),
        ("sie", SieEncoder),
    ):
        assert made[f"{kind}+http"] is made[f"{kind}+https"] is expected
