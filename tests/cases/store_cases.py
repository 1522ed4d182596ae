"""The stores that tests run on, as far as they are installed or their servers are named.

To put a store under test, add one `StoreCase` to `CASES`, and its class to tests/contract.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vespa_standin
from trivec import ColbertStorage, Store, Vectors, open_store
from trivec.testing.contract.corpus import FIELDS as FIELDS
from trivec.testing.contract.corpus import STORAGES


@dataclass(frozen=True)
class Codec:
    """How far a database's own codes are from those of `TokenCodes` with as many bits.

    Args:
        scores: The most by which ColBERT and hybrid scores differ.
        vectors: The most by which numbers of unit vectors differ.
    """

    scores: float
    vectors: float


TURBO = {8: Codec(scores=3e-3, vectors=1e-2), 4: Codec(scores=5e-2, vectors=0.3)}
"""Qdrant's turbo8 and turbo4 at 16 dimensions; at 384 and 1,024 it is less. Measured: scores 1.8e-3
and 3.2e-2 at 16 dimensions and with the demo model, 4.7e-4 and 6.3e-3 at 1,024 dimensions."""


@dataclass(frozen=True)
class StoreCase:
    """One store under test.

    `url` may hold {folder}, {name} and {server}; `tolerance` is that of its stored vectors.
    {server} comes from an environment variable, which a `fixture` may set. `colbert` is how the
    collection keeps its token vectors; `storages` are the ways to keep them that it is compared
    with `memory:` on, and `codecs` the database's own codes by their bits.
    """

    name: str
    url: str
    tolerance: float = 1e-6
    package: str = "trivec"
    server: str = ""
    options: dict[str, object] = field(default_factory=dict)
    fixture: str = ""
    colbert: ColbertStorage | None = None
    storages: Sequence[ColbertStorage] = STORAGES
    codecs: Mapping[int, Codec] = field(default_factory=dict)

    def open(self, folder: Path, name: str) -> Store:
        if importlib.util.find_spec(self.package) is None:
            pytest.skip(f"{self.package} is not installed")
        address = os.environ.get(self.server, "") if self.server else ""
        if self.server and not address:
            pytest.skip(f"{self.server} does not hold the URL of a server")
        url = self.url.format(folder=folder, name=name, server=address.rstrip("/"))
        return open_store(url, **self.options)

    def stored(self, vectors: Vectors) -> Vectors:
        """Return vectors as the store keeps them, which is what it can be asked to rank by."""
        return vectors


class VespaCase(StoreCase):
    """A store that keeps dense and token vectors in bfloat16."""

    def stored(self, vectors: Vectors) -> Vectors:
        assert vectors.dense is not None
        assert vectors.colbert is not None
        tokens = replace(vectors.colbert, values=_bfloat16(vectors.colbert.values))
        return replace(vectors, dense=_bfloat16(vectors.dense), colbert=tokens)


class StandInCase(VespaCase):
    """The Vespa connector over HTTP to Vespa's own container, without its content nodes."""

    def open(self, folder: Path, name: str) -> Store:
        vespa_standin.need()
        nodes = int(self.name[-1])
        if nodes not in _standins:
            _standins[nodes] = vespa_standin.StandIn(nodes)
        standin = _standins[nodes]
        # One application package is one collection, so all tests use one name. A collection with
        # another schema is another package, which gets a process of its own once.
        return open_store(
            standin.url("contract"), config_server=standin.config_server, **self.options
        )


_standins: dict[int, vespa_standin.StandIn] = {}

_EXACT = ColbertStorage(bits=32)
_SMALLEST = (ColbertStorage(1, pool=2, prune=1 / 3),)
_FEW = (  # each number of bits once
    *(ColbertStorage(32, prune=1 / 3), ColbertStorage(16, pool=2), ColbertStorage(8, pool=3)),
    *(ColbertStorage(4), ColbertStorage(2, pool=3), *_SMALLEST),
)
_REST: dict[str, object] = {"prefer_grpc": False}
CASES = [
    StoreCase("memory", "memory:/{name}"),
    StoreCase("archive", "archive:{folder}/{name}"),
    StoreCase("milvus-lite", "milvus+lite:{folder}/milvus.db/{name}", 2e-3, "pymilvus"),
    StoreCase(
        "milvus-double",
        "{server}/{name}",
        1e-6,
        "pymilvus",
        "TRIVEC_TEST_MILVUS_DOUBLE",
        fixture="milvus_double",
        colbert=ColbertStorage(bits=32),
    ),
    StoreCase("milvus", "{server}/{name}", 2e-3, "pymilvus", "TRIVEC_TEST_MILVUS"),
    StoreCase("qdrant-edge", "qdrant+edge:{folder}/{name}", 2e-3, "qdrant_edge", codecs=TURBO),
    StoreCase(
        "qdrant-edge-exact",
        "qdrant+edge:{folder}/{name}",
        1e-6,
        "qdrant_edge",
        colbert=_EXACT,
        storages=_FEW,
        codecs=TURBO,
    ),
    StoreCase("qdrant-memory", "qdrant+memory:/{name}", 1e-6, "qdrant_client"),
    StoreCase("qdrant-local", "qdrant+local:{folder}/{name}", 1e-6, "qdrant_client", storages=_FEW),
    StoreCase(
        "qdrant", "{server}/{name}", 2e-3, "qdrant_client", "TRIVEC_TEST_QDRANT", codecs=TURBO
    ),
    StoreCase(
        "qdrant-rest",
        "{server}/{name}",
        2e-3,
        "qdrant_client",
        "TRIVEC_TEST_QDRANT",
        _REST,
        codecs=TURBO,
    ),
    StandInCase("vespa-standin-1", "", 2e-3, "trivec_vespa", storages=_FEW),
    StandInCase(
        "vespa-standin-h2c-1",
        "",
        2e-3,
        "trivec_vespa",
        options={"http2": True},
        storages=_SMALLEST,
    ),
    StandInCase("vespa-standin-2", "", 2e-3, "trivec_vespa", storages=_SMALLEST),
    VespaCase(
        "vespa", "{server}/contract", 2e-3, "trivec_vespa", "TRIVEC_TEST_VESPA", storages=_FEW
    ),
]


def case_named(name: str) -> StoreCase:
    """Return the case of this name."""
    return next(case for case in CASES if case.name == name)


_DATABASES = (
    "memory",
    "qdrant-edge",
    "qdrant-memory",
    "milvus-lite",
    "milvus-double",
    "vespa-standin-1",
)
DATABASES = {
    case.name: case
    for case in CASES
    if case.name in _DATABASES or (case.server and os.environ.get(case.server))
}
"""One case of each engine, and each server that is named: what the framework classes run on."""


def _bfloat16(values: np.ndarray[Any, np.dtype[Any]]) -> np.ndarray[Any, np.dtype[Any]]:
    """Round to 8 bits of precision, ties to even."""
    mantissa, exponent = np.frexp(values.astype(np.float64))
    rounded: np.ndarray[Any, np.dtype[Any]]
    rounded = np.ldexp(np.rint(mantissa * 256) / 256, exponent).astype(np.float32)
    return rounded
