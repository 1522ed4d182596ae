"""SIE: the three vectors of one request, as FlagEmbedding makes them."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from encoder_doubles import Refusal, Sie
from golden_queries import GOLDEN, assert_golden_queries

from trivec import Document, Encoder, ingest, open_store
from trivec.encoders.remote.sie import SieEncoder, SieOptions
from trivec.encoders.url import EncoderUrl
from trivec.errors import EncoderError, InvalidOptionError

Open = Callable[..., SieEncoder]


@pytest.fixture(scope="module")
def golden() -> Any:
    return json.loads((GOLDEN / "golden.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def local() -> Encoder:
    return Encoder.load(GOLDEN / "checkpoint", device="cpu", precision="float32")


@pytest.fixture
def server(local: Encoder) -> Sie:
    """A server of the checkpoint, whose vectors are those that FlagEmbedding makes."""

    def vectors(text: str) -> Any:
        found = local.encode_query(text)
        return found.dense, found.sparse, found.colbert

    assert local.schema.dense
    assert local.schema.colbert
    dims = {"dense": local.schema.dense, "sparse": 1000, "multivector": local.schema.colbert}
    return Sie(vectors=vectors, dims=dims)


@pytest.fixture
def open_sie(server: Sie) -> Iterator[Open]:
    with server.serving() as address:

        def open_(query: str = "", **options: Any) -> SieEncoder:
            url = EncoderUrl.parse(f"sie+http://{address}{query}")
            return SieEncoder.from_url(url, SieOptions.of_url(url, options))

        yield open_


def test_vectors_are_those_of_flagembedding(open_sie: Open, golden: Any) -> None:
    queries = golden["texts"]["queries"]
    assert_golden_queries(open_sie("?model=BAAI/bge-m3&batch_texts=2").encode_queries(queries))


async def test_the_only_model_and_its_schema(open_sie: Open, server: Sie, local: Encoder) -> None:
    encoder = open_sie()
    assert encoder.schema.parts == ("dense", "sparse", "colbert")
    assert (encoder.model, encoder.schema.dense) == ("BAAI/bge-m3", local.schema.dense)
    assert encoder.options == {"revision": server.revision}
    assert open_sie(name="mine").model == "mine"
    assert pickle.loads(pickle.dumps(encoder)).schema == encoder.schema
    texts = ["a whale", "", "the fox"]
    found = await encoder.aencode_documents(texts)
    expected = local.encode_documents(texts)
    assert found.dense is not None
    assert expected.dense is not None
    np.testing.assert_allclose(found.dense, expected.dense, atol=1e-6)
    assert len(encoder.encode_documents([])) == 0
    assert {headers["accept"] for _, _, headers in server.requests} == {"application/json"}


@pytest.mark.parametrize(
    "parts", [{"sparse": False, "colbert": False}, {"dense": False}, {"colbert": False}]
)
def test_only_the_parts_that_are_asked_for(
    open_sie: Open, server: Sie, parts: dict[str, bool]
) -> None:
    encoder = open_sie()
    assert encoder.schema
    server.requests.clear()
    options: Any = parts
    found = encoder.encode_documents(["a whale"], **options)
    for part in ("dense", "sparse", "colbert"):
        assert (getattr(found, part) is not None) == parts.get(part, True)
    [body] = server.bodies("POST /v1/encode/BAAI/bge-m3")
    assert len(body["params"]["output_types"]) == sum(parts.get(p, True) for p in ("dense",)) + sum(
        parts.get(p, True) for p in ("sparse", "colbert")
    )


@pytest.mark.parametrize("outputs", [("dense",), ("sparse",), ("dense", "sparse")])
def test_models_with_fewer_vectors(open_sie: Open, server: Sie, outputs: Any) -> None:
    server.outputs = outputs
    encoder = open_sie()
    assert encoder.schema.parts == outputs
    assert encoder.encode_query("a whale").colbert is None
    with pytest.raises(InvalidOptionError, match=r"no colbert vectors.*BAAI/bge-m3, makes none"):
        encoder.encode_query("a whale", colbert=True)


def test_other_special_tokens_are_an_error(open_sie: Open, server: Sie) -> None:
    plain = server.vectors
    assert plain is not None

    def with_the_first(text: str) -> Any:
        dense, sparse, tokens = plain(text)
        return dense, sparse, np.concatenate([tokens[:1], tokens])

    def with_weights(text: str) -> Any:
        dense, sparse, tokens = plain(text)
        return dense, {0: 0.1, 2: 0.1, **sparse}, tokens

    for changed in (with_the_first, with_weights):
        server.vectors = changed
        with pytest.raises(EncoderError, match="leaves out other special tokens"):
            open_sie().encode_query("a whale")


def test_models_that_are_absent_or_broken(open_sie: Open, server: Sie) -> None:
    with pytest.raises(EncoderError, match=r"status 404.*MODEL_NOT_FOUND"):
        _ = open_sie(model="another/model").schema
    server.state = "failed"
    with pytest.raises(EncoderError, match=r"cannot load 'BAAI/bge-m3': 'the model is gated'"):
        _ = open_sie().schema
    server.state, server.outputs = "available", ("score",)
    with pytest.raises(EncoderError, match="makes no vectors"):
        _ = open_sie(model="BAAI/bge-m3").schema
    with pytest.raises(InvalidOptionError, match="lists 0 models with vectors"):
        _ = open_sie().schema


def test_a_model_that_is_loading_is_waited_for(open_sie: Open, server: Sie) -> None:
    loading = {"detail": {"code": "MODEL_LOADING", "message": "loading, please retry"}}
    encoder = open_sie()
    assert encoder.schema
    server.refusals = [Refusal(503, loading, {"retry-after": "0"})]
    assert len(encoder.encode_queries(["a whale"])) == 1


def test_a_model_that_changes(open_sie: Open, server: Sie) -> None:
    encoder = open_sie()
    encoder.encode_documents(["a whale"])
    server.revision = "another"
    with pytest.raises(EncoderError, match="encodes differently than before"):
        encoder.encode_documents(["a whale"])


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda item: item["dense"].update(dtype="int8"), "dense has the type 'int8'"),
        (lambda item: item["dense"]["values"].pop(), "dimension 31, expected 32"),
        (lambda item: item["multivector"]["values"].clear(), "vectors of one dimension"),
        (lambda item: item["sparse"]["indices"].pop(), "weights for"),
        (lambda item: item["sparse"].update(indices=[5, 5], values=[1.0, 1.0]), "2 weights for 1"),
        (lambda item: item["sparse"].update(indices=[1000], values=[1.0]), "vocabulary has 1000"),
        (lambda item: item["sparse"].update(indices=[5], values=[-1.0]), "above 0"),
        (lambda item: item.update(id="1"), "not in the texts' order"),
        (lambda item: item.pop("sparse"), "sparse: expected a JSON object"),
    ],
)
def test_answers_that_are_wrong(
    open_sie: Open, server: Sie, golden: Any, change: Callable[[Any], object], match: str
) -> None:
    text = golden["texts"]["queries"][2]
    encoder = open_sie()
    assert encoder.schema
    outputs = {"output_types": ["dense", "sparse", "multivector"]}
    body: Any = {"items": [{"id": "0", "text": text}], "params": outputs}
    answer: Any = server.answer("POST /v1/encode/BAAI/bge-m3", body)
    change(answer["items"][0])
    server.refusals = [Refusal(200, answer)]
    with pytest.raises(EncoderError, match=match):
        encoder.encode_query(text)


def test_ingestion_and_search(open_sie: Open, golden: Any) -> None:
    encoder = open_sie()
    with open_store("memory:/sie") as store:
        store.create(encoder.schema)
        texts = golden["texts"]["documents"]
        ingest([Document(str(i), text) for i, text in enumerate(texts)], encoder, store)
        assert store.search(encoder.encode_query(texts[1]), k=1)[0].document.text == texts[1]
        store.drop()
