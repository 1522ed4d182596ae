"""text-embeddings-inference: its states and our heads make the vectors of `Encoder`."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from encoder_doubles import Refusal, Tei
from golden_queries import GOLDEN, assert_golden_queries
from numpy.typing import NDArray
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import AutoModel

from trivec import Encoder, Vectors
from trivec.encoders.remote.layers import read_layer
from trivec.encoders.remote.tei import TeiEncoder, TeiOptions
from trivec.encoders.url import EncoderUrl
from trivec.errors import CheckpointError, EncoderError, InvalidOptionError

CHECKPOINT = GOLDEN / "checkpoint"
MAX_LENGTH = 128  # of the checkpoint
TOLERANCE = 1e-6

Open = Callable[..., TeiEncoder]


@pytest.fixture(scope="module")
def golden() -> Any:
    return json.loads((GOLDEN / "golden.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def texts(golden: Any) -> list[str]:
    return [*golden["texts"]["documents"], *golden["texts"]["queries"], "", "word unknown </s> x"]


@pytest.fixture(scope="module")
def local() -> Encoder:
    return Encoder.load(CHECKPOINT, device="cpu", precision="float32")


@pytest.fixture(scope="module")
def stock() -> Tei:
    """A server of the checkpoint, whose states are those of transformers."""
    tokenizer = Tokenizer.from_file(str(CHECKPOINT / "tokenizer.json"))
    model = AutoModel.from_pretrained(
        CHECKPOINT, dtype=torch.float32, add_pooling_layer=False, attn_implementation="eager"
    ).eval()

    def states(text: str) -> NDArray[np.floating]:
        ids = tokenizer.encode(text).ids
        ids = ids if len(ids) <= MAX_LENGTH else [*ids[: MAX_LENGTH - 1], ids[-1]]
        with torch.inference_mode():
            rows: NDArray[np.floating] = model(torch.tensor([ids])).last_hidden_state[0].numpy()
        return rows

    return Tei(states=states, tokenizer=tokenizer, max_length=MAX_LENGTH)


@pytest.fixture
def server(stock: Tei) -> Tei:
    return replace(stock, requests=[], refusals=[])


@pytest.fixture
def open_tei(server: Tei) -> Iterator[Open]:
    with server.serving() as address:

        def open_(**options: Any) -> TeiEncoder:
            given = TeiOptions.of("tei+http", {"heads": CHECKPOINT, **options})
            return TeiEncoder.from_url(EncoderUrl.parse(f"tei+http://{address}"), given)

        yield open_


def assert_same(found: Vectors, expected: Vectors) -> None:
    for part in ("dense", "sparse", "colbert"):
        assert (getattr(found, part) is None) == (getattr(expected, part) is None)
    if found.dense is not None and expected.dense is not None:
        np.testing.assert_allclose(found.dense, expected.dense, atol=TOLERANCE)
    if found.sparse is not None and expected.sparse is not None:
        np.testing.assert_array_equal(found.sparse.indptr, expected.sparse.indptr)
        np.testing.assert_array_equal(found.sparse.indices, expected.sparse.indices)
        np.testing.assert_allclose(found.sparse.values, expected.sparse.values, atol=TOLERANCE)
    if found.colbert is not None and expected.colbert is not None:
        np.testing.assert_array_equal(found.colbert.indptr, expected.colbert.indptr)
        np.testing.assert_allclose(found.colbert.values, expected.colbert.values, atol=TOLERANCE)
        assert found.colbert.weights is not None
        assert expected.colbert.weights is not None
        np.testing.assert_allclose(found.colbert.weights, expected.colbert.weights, atol=TOLERANCE)


def test_vectors_are_those_of_the_encoder(open_tei: Open, local: Encoder, texts: list[str]) -> None:
    encoder = open_tei()
    assert_same(encoder.encode_documents(texts), local.encode_documents(texts))
    assert_same(encoder.encode_queries(texts), local.encode_queries(texts))
    assert encoder.schema == replace(local.schema, model="BAAI/bge-m3")


def test_vectors_are_those_of_flagembedding(open_tei: Open, golden: Any) -> None:
    assert_golden_queries(open_tei().encode_queries(golden["texts"]["queries"]))


async def test_asynchronous_calls(open_tei: Open, local: Encoder, texts: list[str]) -> None:
    encoder = open_tei()
    assert_same(await encoder.aencode_documents(texts), local.encode_documents(texts))
    query = await encoder.aencode_query(texts[0])
    assert query.sparse == pytest.approx(local.encode_query(texts[0]).sparse, abs=TOLERANCE)
    await encoder.aclose()


def test_requests_are_as_large_as_the_server_takes(
    open_tei: Open, server: Tei, local: Encoder, texts: list[str]
) -> None:
    server.batch = 3
    many = texts * 3
    seen: list[tuple[int, int]] = []
    found = open_tei().encode_documents(many, progress=lambda n, total: seen.append((n, total)))
    assert_same(found, local.encode_documents(many))
    assert max(len(body["inputs"]) for body in server.bodies("POST /embed_all")) == 3
    assert seen[-1] == (len(many), len(many))


@pytest.mark.parametrize(
    ("parts", "path"),
    [
        ({"sparse": False, "colbert": False}, "POST /embed"),
        ({"dense": False, "colbert": False}, "POST /embed_all"),
        ({"dense": False, "sparse": False}, "POST /embed_all"),
    ],
)
def test_only_the_parts_that_are_asked_for(
    open_tei: Open, server: Tei, local: Encoder, texts: list[str], parts: Any, path: str
) -> None:
    found = open_tei().encode_documents(texts, **parts)
    assert_same(found, local.encode_documents(texts, **parts))
    assert server.bodies(path)
    assert not (path == "POST /embed" and server.bodies("POST /embed_all"))


def test_no_texts(open_tei: Open, local: Encoder) -> None:
    found = open_tei().encode_documents([])
    assert len(found) == 0
    assert found.filled(local.schema).colbert is found.colbert


def test_mean_pooling(open_tei: Open, server: Tei, texts: list[str]) -> None:
    server.pooling = "mean"
    encoder = open_tei()
    from_states = encoder.encode_documents(texts).dense
    pooled = encoder.encode_documents(texts, sparse=False, colbert=False).dense
    assert from_states is not None
    assert pooled is not None
    np.testing.assert_allclose(from_states, pooled, atol=TOLERANCE)


def test_dense_vectors_alone(open_tei: Open, server: Tei, local: Encoder, texts: list[str]) -> None:
    encoder = open_tei(heads=False, name="mine")
    assert encoder.schema.parts == ("dense",)
    assert encoder.schema.model == "mine"
    found = encoder.encode_documents(texts)
    assert_same(found, Vectors(dense=local.encode_documents(texts).dense))
    assert not server.bodies("POST /embed_all")
    with pytest.raises(InvalidOptionError, match=r"makes dense vectors and no sparse.*give heads"):
        encoder.encode_documents(texts, sparse=True)


def test_normalised_states_are_refused(open_tei: Open, server: Tei) -> None:
    server.normalised = True
    encoder = open_tei()
    with pytest.raises(EncoderError, match="normalises the states"):
        encoder.encode_documents(["some text"])
    assert encoder.encode_documents(["some text"], sparse=False, colbert=False).dense is not None


def test_another_model_than_that_of_the_heads(open_tei: Open, server: Tei) -> None:
    assert server.states is not None
    states = server.states
    server.states = lambda text: states(text)[:, :16]
    with pytest.raises(EncoderError, match=r"shape \(4, 16\), and the heads take"):
        open_tei().encode_documents(["two words"])
    server.states = lambda text: np.repeat(states(text), 2, axis=0)
    with pytest.raises(EncoderError, match=r"sent 8 states of a text that has 4 tokens"):
        open_tei().encode_documents(["two words"])


@pytest.mark.parametrize("heads", [CHECKPOINT, False])
def test_a_prompt_of_the_server(open_tei: Open, server: Tei, heads: Any) -> None:
    server.prompt = "query: "
    with pytest.raises(EncoderError, match=r"a prompt of its own.*without --default-prompt"):
        open_tei(heads=heads).encode_documents(["two words"])


def test_heads_that_are_missing_or_wrong(open_tei: Open, server: Tei, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no sparse_linear.pt and no colbert_linear"):
        _ = open_tei(heads=tmp_path).schema
    torch.save({"weight": torch.zeros(2, 8), "bias": torch.zeros(2)}, tmp_path / "sparse_linear.pt")
    with pytest.raises(CheckpointError, match=r"expected weight \(1, hidden\)"):
        _ = open_tei(heads=tmp_path).schema
    torch.save(torch.nn.Linear(8, 1).state_dict(), tmp_path / "sparse_linear.pt")
    torch.save(torch.nn.Linear(16, 4).state_dict(), tmp_path / "colbert_linear.pt")
    with pytest.raises(CheckpointError, match="belong to different models"):
        _ = open_tei(heads=tmp_path).schema


def test_heads_that_are_ambiguous(open_tei: Open, server: Tei, tmp_path: Path) -> None:
    layers = [torch.nn.Linear(8, 1).state_dict() for _ in range(2)]
    torch.save(layers[0], tmp_path / "sparse_linear.pt")
    save_file(layers[0], tmp_path / "sparse_linear.safetensors")
    assert read_layer(tmp_path, "sparse_linear") is not None
    save_file(layers[1], tmp_path / "sparse_linear.safetensors")
    with pytest.raises(CheckpointError, match=r"linear.pt and sparse_linear.saf.* different heads"):
        _ = open_tei(heads=tmp_path).schema
    (tmp_path / "sparse_linear.safetensors").unlink()
    both = {f"{name}.{tensor}": t for name in "ab" for tensor, t in layers[0].items()}
    torch.save(both, tmp_path / "sparse_linear.pt")
    with pytest.raises(CheckpointError, match=r"expected weight \(1, hidden\)"):
        _ = open_tei(heads=tmp_path).schema
    torch.save({**layers[0], "bias": torch.tensor([float("nan")])}, tmp_path / "sparse_linear.pt")
    with pytest.raises(CheckpointError, match="numbers that are not finite"):
        _ = open_tei(heads=tmp_path).schema


def test_heads_of_the_model_that_the_server_names(
    open_tei: Open, server: Tei, local: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.model = str(CHECKPOINT)
    assert open_tei(heads=None).schema == local.schema

    def absent(model: str, **options: object) -> Path:
        assert model == "bge-m3"
        raise CheckpointError(f"{model!r} is no folder here, and the hub did not provide it")

    monkeypatch.setattr("trivec.encoders.remote.layers.fetch", absent)
    server.model = "/data/bge-m3"
    with pytest.raises(CheckpointError, match=r"give a folder or a model on the hub"):
        _ = open_tei(heads=None).schema


def test_a_model_that_changes(open_tei: Open, server: Tei) -> None:
    encoder = open_tei()
    encoder.encode_documents(["a text"])
    server.dtype = "float16"
    with pytest.raises(EncoderError, match="encodes differently than before"):
        encoder.encode_documents(["a text"])


def test_what_the_journal_records(open_tei: Open, server: Tei) -> None:
    server.dtype = "float16"
    encoder = open_tei(document_instruction="passage: ")
    assert encoder.options == {
        "precision": "float16",
        "revision": "5617a9f61b028005a4858fdac845db406aefb181",
        "document_instruction": "passage: ",
    }


def test_instructions(open_tei: Open, local: Encoder) -> None:
    encoder = open_tei(document_instruction="passage: ", query_instruction="query: ")
    assert_same(encoder.encode_documents(["a b"]), local.encode_documents(["passage: a b"]))
    assert_same(encoder.encode_queries(["a b"]), local.encode_queries(["query: a b"]))


@pytest.mark.parametrize(("status", "kind"), [(429, "Overloaded"), (503, "Unhealthy")])
def test_a_busy_server_is_asked_again(open_tei: Open, server: Tei, status: int, kind: str) -> None:
    encoder = open_tei()
    assert encoder.model == "BAAI/bge-m3"
    error = {"error": "Model is overloaded", "error_type": kind}
    server.refusals = [Refusal(status, error, {"retry-after": "0"})]
    assert len(encoder.encode_documents(["a text"])) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "Empty"), (413, "Validation"), (422, "Tokenizer"), (424, "Backend")],
)
def test_a_request_that_is_refused_is_not_repeated(
    open_tei: Open, server: Tei, status: int, kind: str
) -> None:
    encoder = open_tei(heads=False)
    assert encoder.model == "BAAI/bge-m3"
    server.requests.clear()
    server.refusals = [Refusal(status, {"error": "some reason", "error_type": kind})]
    with pytest.raises(EncoderError, match=f"status {status}: some reason"):
        encoder.encode_queries(["a text"])
    assert len(server.requests) == 1


def test_errors_of_the_server(open_tei: Open, server: Tei) -> None:
    encoder = open_tei()
    assert encoder.model == "BAAI/bge-m3"
    server.refusals = [Refusal(424, {"error": "Inference failed", "error_type": "Backend"})]
    with pytest.raises(EncoderError, match="status 424: Inference failed"):
        encoder.encode_documents(["a text"])
    server.pooling = None
    with pytest.raises(EncoderError, match="serves a reranker"):
        _ = open_tei().schema


def test_tokens(open_tei: Open, server: Tei, local: Encoder, texts: list[str]) -> None:
    encoder = open_tei()
    for text in [*texts, "  blanks  before and after "]:
        found, expected = encoder.tokens(text), local.tokens(text)
        assert [(t.id, t.start, t.end) for t in found] == [(t.id, t.start, t.end) for t in expected]


def test_positions_in_bytes(open_tei: Open, server: Tei, local: Encoder) -> None:
    text = "größer als né"
    tokenizer = server.tokenizer

    class InBytes:
        def encode(self, text: str, **options: Any) -> Any:
            found = tokenizer.encode(text, **options)
            spans = [(len(text[:a].encode()), len(text[:b].encode())) for a, b in found.offsets]
            return SimpleNamespace(
                ids=found.ids,
                tokens=found.tokens,
                special_tokens_mask=found.special_tokens_mask,
                offsets=spans,
            )

    server.tokenizer = InBytes()
    found, expected = open_tei().tokens(text), local.tokens(text)
    assert [(t.text, t.start, t.end) for t in found] == [(t.text, t.start, t.end) for t in expected]


def test_options_and_copies(open_tei: Open, server: Tei) -> None:
    server.token = "secret"
    encoder = open_tei(token="secret")
    assert copy.copy(encoder) is encoder
    again = pickle.loads(pickle.dumps(encoder))
    assert again.schema == encoder.schema
    with pytest.raises(InvalidOptionError, match="leave max_length out"):
        encoder.encode_documents(["a"], max_length=20)
    with pytest.raises(InvalidOptionError, match="no part is left"):
        encoder.encode_documents(["a"], dense=False, sparse=False, colbert=False)
    with pytest.raises(EncoderError, match="401"):
        _ = open_tei(token="wrong").schema
    with pytest.raises(InvalidOptionError, match="unknown option head"):
        open_tei(head=False)
