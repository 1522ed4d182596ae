"""A server of dense vectors alone, from ingestion to search, and what it cannot give."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encoder_doubles import OpenAi
from numpy.typing import NDArray
from typer.testing import CliRunner

from trivec import Document, Schema, Weights, evaluate, explain, ingest, open_encoder, open_store
from trivec.cli.app import app
from trivec.errors import InvalidOptionError, InvalidVectorsError
from trivec.search import Mode
from trivec.testing import HashEncoder

TEXTS = ["the blue whale", "a red fox", "grey seal"]
DOCUMENTS = [Document(str(i), text) for i, text in enumerate(TEXTS)]


def dense_of(text: str) -> NDArray[np.floating]:
    dense = HashEncoder().encode_query(text).dense
    assert dense is not None
    return dense


@pytest.fixture
def address() -> Iterator[str]:
    with OpenAi(vector=dense_of).serving() as address:
        yield f"openai+http://{address}/v1?model=BAAI/bge-m3"


@pytest.fixture(params=["memory:/dense-only", "qdrant+edge:{}/dense-only"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param.startswith("qdrant"):
        pytest.importorskip("qdrant_edge", reason="qdrant-edge-py is not installed")
    url = request.param.format(tmp_path)
    yield url
    with open_store(url) as store:
        store.drop()


def test_a_collection_of_dense_vectors(address: str, url: str) -> None:
    encoder: Any = open_encoder(address)
    with open_store(url) as store:
        store.create(encoder.schema)
        assert store.schema == Schema(
            dense=len(dense_of("a")), sparse=False, colbert=None, model="BAAI/bge-m3"
        )
        ingest(DOCUMENTS, encoder, store)
        query = encoder.encode_query("a red fox")
        mode: Mode
        for mode in ("dense", "hybrid", "rrf"):
            assert store.search(query, k=1, mode=mode)[0].document.text == "a red fox"
        hits = store.search(query, k=1, weights=Weights(0.4, 0.2, 0.4))
        assert hits[0].document.text == "a red fox"
        for mode in ("sparse", "colbert"):
            with pytest.raises(InvalidVectorsError, match=f"mode '{mode}': collection .* lacks"):
                store.search(query, mode=mode)
        for weights in (Weights(0, 1, 0), Weights(0, 0.2, 0.4)):
            with pytest.raises(InvalidVectorsError, match=r"both hold dense vectors alone"):
                store.search(query, weights=weights)


def test_a_collection_of_all_vectors(address: str, url: str) -> None:
    encoder: Any = open_encoder(address)
    with open_store(url) as store:
        dense = len(dense_of("a"))
        store.create(Schema(dense=dense, sparse=True, colbert=8, model="BAAI/bge-m3"))
        ingest(DOCUMENTS, encoder, store)
        query = encoder.encode_query("a red fox")
        assert store.search(query, k=1)[0].document.text == "a red fox"
        with pytest.raises(InvalidVectorsError, match="mode 'sparse': the query lacks this part"):
            store.search(query, mode="sparse")
        with pytest.raises(InvalidVectorsError, match="only sparse has a weight above 0"):
            store.search(query, weights=Weights(0, 1, 0))


def test_no_tokens(address: str, tmp_path: Path) -> None:
    encoder: Any = open_encoder(address)
    with pytest.raises(InvalidOptionError, match="OpenAiEncoder, which has no method `tokens`"):
        explain("a red fox", DOCUMENTS[1], encoder)
    with open_store("memory:/no-tokens") as store:
        store.create(encoder.schema)
        ingest(DOCUMENTS, encoder, store)
        found = evaluate(store, encoder, {"q": "a red fox"}, {"q": {"1": 1}}, modes=["hybrid"])
        assert "hybrid" in str(found)
        command = ["explain", "memory:/no-tokens", "a red fox", "1", "--model", address]
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 1
        assert "OpenAiEncoder, which has no method `tokens`" in " ".join(done.stderr.split())
        store.drop()
