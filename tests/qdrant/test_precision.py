"""How collections keep token vectors: bits, pooling and pruning, in each way to reach Qdrant."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import scripted_qdrant as good
from qdrant_client import grpc as messages
from qdrant_client.conversions.conversion import grpc_to_payload
from store_cases import StoreCase, case_named

from trivec import ColbertStorage, Document, Schema, Store, Vectors, open_store
from trivec.collection import Collection
from trivec.errors import CollectionNotFoundError, InvalidOptionError, SchemaMismatchError
from trivec.rows import TokenRows
from trivec.stores.limits import Limits
from trivec.testing import HashEncoder
from trivec_qdrant.precision import check_version, with_lengths

Refusal = tuple[grpc.StatusCode, str, dict[str, str]]

BITS = (32, 16, 8, 4)
EMBEDDED = ("qdrant-edge", "qdrant-memory", "qdrant-local")
SMALL = ColbertStorage(bits=4, pool=2, prune=1 / 3)
TEXTS = [f"word{i} word{i + 1} word{i + 2} word{2 * i} and word{3 * i}" for i in range(30)]
DOCUMENTS = [Document(f"d{i:02}", text) for i, text in enumerate(TEXTS)]


@pytest.fixture(params=EMBEDDED)
def case(request: pytest.FixtureRequest) -> StoreCase:
    return case_named(request.param)


def _tokens(store: Store) -> TokenRows:
    vectors = store.get([document.id for document in DOCUMENTS], with_vectors=True).vectors
    assert vectors is not None
    assert vectors.colbert is not None
    return vectors.colbert


@pytest.mark.parametrize("bits", BITS)
def test_every_number_of_bits_equals_memory_within_its_codec(
    case: StoreCase, tmp_path: Path, bits: int
) -> None:
    encoder = HashEncoder(colbert=64)
    storage = ColbertStorage(bits)
    vectors = encoder.encode_documents(TEXTS)
    codec = case.codecs.get(bits)
    with case.open(tmp_path, f"bits{bits}") as store, open_store("memory:/bits") as memory:
        for each in (store, memory):
            each.create(encoder.schema, colbert=storage)
            assert each.describe().colbert == storage
            each.upsert(DOCUMENTS, vectors)
        try:
            query = encoder.encode_query("word3 word9 and word11")
            for mode in ("colbert", "hybrid"):
                hits = store.search(query, mode=mode, k=30)
                wanted = {hit.document.id: hit for hit in memory.search(query, mode=mode, k=30)}
                assert len(hits) == len(wanted)
                tolerance = codec.scores if codec else case.tolerance
                for hit in hits:
                    expected = wanted[hit.document.id].score
                    assert hit.score == pytest.approx(expected, abs=tolerance)
            kept = _tokens(store)
            assert kept.storage == (storage if bits < 16 else None)
            np.testing.assert_allclose(
                kept.values,
                _tokens(memory).values,
                atol=codec.vectors if codec else case.tolerance,
            )
        finally:
            memory.drop()
            store.drop()


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("dimension", [384, 1024])
def test_reading_and_writing_again_changes_nothing(
    tmp_path: Path, bits: int, dimension: int
) -> None:
    schema = Schema(dense=2, sparse=False, colbert=dimension)
    rng = np.random.default_rng(0)
    tokens = rng.standard_normal((300, dimension)).astype(np.float32)
    tokens /= np.linalg.norm(tokens, axis=1, keepdims=True)
    tokens[0], tokens[1:10] = 0, 3 * tokens[1:10]
    rows = Vectors(colbert=TokenRows(np.arange(31) * 10, tokens))
    with open_store(f"qdrant+edge:{tmp_path}/again") as store:
        store.create(schema, colbert=ColbertStorage(bits))
        store.upsert(DOCUMENTS, rows)
        first = _tokens(store)
        lengths = np.linalg.norm(first.values[10:], axis=1)
        np.testing.assert_allclose(lengths, 1, atol=1e-6 if bits == 4 else 1e-3)
        for _ in range(3):
            store.upsert(DOCUMENTS, Vectors(colbert=_tokens(store)))
        again = _tokens(store).values
        np.testing.assert_allclose(again[10:], first.values[10:], atol=1e-6)
        # The length of others changes a little with turbo4, by 3 % at most with 384 dimensions.
        np.testing.assert_allclose(again[:10], first.values[:10], atol=0.1)


def test_only_lengths_near_one_are_set_right() -> None:
    tokens = np.zeros((4, 100), np.float32)
    tokens[:, 0] = (0, 0.95, 1.09, 1.2)
    rows = Vectors(colbert=TokenRows(np.array([0, 4]), tokens))
    for bits, wanted in ((4, [0, 1, 1, 1.2]), (8, [0, 0.95, 1.09, 1.2])):
        colbert = with_lengths(rows, ColbertStorage(bits)).colbert
        assert colbert is not None
        assert colbert.values[:, 0].tolist() == pytest.approx(wanted)
    assert with_lengths(Vectors(dense=np.eye(2)), ColbertStorage(4)).colbert is None


def test_pool_and_prune_are_recorded(case: StoreCase, tmp_path: Path) -> None:
    encoder = HashEncoder()
    vectors = encoder.encode_documents(TEXTS)
    assert vectors.colbert is not None
    with case.open(tmp_path, "small") as store:
        store.create(encoder.schema, colbert=SMALL)
        store.upsert(DOCUMENTS, vectors)
    with case.open(tmp_path, "small") as store:
        try:
            assert store.describe().colbert == SMALL
            store.create(encoder.schema, colbert=SMALL, exist_ok=True)
            kept = np.diff(_tokens(store).indptr)
            assert kept.tolist() == [SMALL.kept(n) for n in np.diff(vectors.colbert.indptr)]
            assert _tokens(store).storage == SMALL
            for other in ("bits=4", "bits=4,pool=2", "bits=4,pool=3,prune=1/3", "bits=8"):
                with pytest.raises(SchemaMismatchError, match="'bits=4,pool=2,prune=1/3'"):
                    store.create(encoder.schema, colbert=ColbertStorage.parse(other), exist_ok=True)
            colbert = next(c for c in store.capabilities if c.name == "colbert")
            assert "bits=4,pool=2,prune=1/3" in colbert.reason
        finally:
            store.drop()


@pytest.mark.parametrize("bits", [2, 1])
def test_fewer_bits_than_four_are_refused_before_anything_is_written(
    case: StoreCase, tmp_path: Path, bits: int
) -> None:
    with case.open(tmp_path, "tiny") as store:
        with pytest.raises(
            InvalidOptionError,
            match=rf"got bits={bits}; the nearest is 'bits=4'; of the bytes in float32, "
            r"'bits=4,pool=2' takes 1/16 and 'bits=4,pool=3' takes 1/24",
        ):
            store.create(HashEncoder().schema, colbert=ColbertStorage(bits))
        with pytest.raises(CollectionNotFoundError):
            store.describe()
    assert not list(tmp_path.rglob("*tiny*"))


def test_advice_on_pooling_is_for_those_who_do_not_pool() -> None:
    limits = Limits(database="Qdrant", colbert_bits=(16, 4))
    for wanted in (ColbertStorage(bits=1, pool=2), ColbertStorage(bits=8)):
        with pytest.raises(InvalidOptionError) as caught:
            limits.check_colbert(wanted)
        assert "float32" not in str(caught.value)


# --- servers --------------------------------------------------------------------------------------


@pytest.fixture(params=["grpc", "rest"])
def server(request: pytest.FixtureRequest) -> tuple[Store, Callable[..., None], Any]:
    """Return a store, a function that prepares a description, and the server."""
    script = request.getfixturevalue(f"{'grpc' if request.param == 'grpc' else 'http'}_server")
    if request.param == "grpc":
        store = open_store(f"qdrant://127.0.0.1:{script.port - 1}/c", timeout=5)
        return store, lambda info: script.answers.append(good.described(info)), script
    store = open_store(f"qdrant://127.0.0.1:{script.port}/c", prefer_grpc=False, timeout=5)
    return store, lambda info: script.reply(200, good.told(info)), script


def _info(datatype: str, entry: dict[str, Any]) -> dict[str, Any]:
    info = copy.deepcopy(good.INFO)
    info["config"]["params"]["vectors"]["colbert"]["datatype"] = datatype
    info["config"]["metadata"] = {"trivec": entry}
    return info


@pytest.mark.parametrize(
    ("datatype", "entry", "wanted"),
    [
        ("turbo4", {"colbert": "bits=4,pool=2,prune=1/3"}, SMALL),
        ("turbo8", {"colbert": "bits=8,pool=3"}, ColbertStorage(8, 3)),
        ("turbo4", {}, ColbertStorage(4)),  # before pooling was recorded
        ("turbo16", {"model": "m"}, ColbertStorage(16)),
        ("float32", {"colbert": "bits=16,pool=2"}, ColbertStorage(32, 2)),  # the bits it has
    ],
)
def test_servers_tell_what_was_recorded(
    server: Any, datatype: str, entry: dict[str, Any], wanted: ColbertStorage
) -> None:
    store, describe, _ = server
    describe(_info(datatype, entry))
    with store:
        assert store.describe().colbert == wanted


def test_a_damaged_record_is_told(server: Any) -> None:
    store, describe, _ = server
    describe(_info("turbo4", {"colbert": "bits=7"}))
    with store, pytest.raises(SchemaMismatchError, match=r"not what trivec writes.*bits=7"):
        store.describe()


def test_a_collection_records_what_it_keeps(grpc_server: Any) -> None:
    with open_store(f"qdrant://127.0.0.1:{grpc_server.port - 1}/c") as store:
        missing: Refusal = (grpc.StatusCode.NOT_FOUND, good.MISSING, {})
        done = messages.CollectionOperationResponse(result=True)
        version = messages.HealthCheckReply(title="qdrant", version="1.19.0")
        grpc_server.answers += [missing, version, done]
        grpc_server.upserted()
        store.create(good.SCHEMA, colbert=SMALL)
    created = messages.CreateCollection.FromString(grpc_server.requests[2][1])
    assert created.vectors_config.params_map.map["colbert"].datatype == messages.Datatype.Turbo4
    entry = {"model": "m", "fields": {}, "colbert": "bits=4,pool=2,prune=1/3"}
    assert grpc_to_payload(created.metadata) == {"trivec": entry}


def test_a_server_that_is_too_old_is_asked_for_nothing(grpc_server: Any) -> None:
    with open_store(f"qdrant://127.0.0.1:{grpc_server.port - 1}/c") as store:
        missing: Refusal = (grpc.StatusCode.NOT_FOUND, good.MISSING, {})
        version = messages.HealthCheckReply(title="qdrant", version="1.18.0")
        grpc_server.answers += [missing, version]
        with pytest.raises(
            InvalidOptionError,
            match=r"Qdrant 1\.18 keeps token vectors with 32, 16 bits for each number, got bits=4; "
            r"the nearest is 'bits=16'",
        ):
            store.create(good.SCHEMA, colbert=ColbertStorage(bits=4))
    assert [method.rpartition("/")[2] for method, _ in grpc_server.requests] == [
        "Get",
        "HealthCheck",
    ]


@pytest.mark.parametrize(
    ("version", "storage", "message"),
    [
        ((1, 19), ColbertStorage(8), r"32, 16, 4 bits.*got bits=8"),
        ((1, 18), ColbertStorage(8), r"32, 16 bits.*the nearest is 'bits=16'"),
        ((1, 15), ColbertStorage(16, pool=2), r"cannot record.*bits=16,pool=2.*1\.16 and newer"),
        ((1, 15), ColbertStorage(16, prune=0.5), r"cannot record.*prune=1/2"),
        ((1, 20), ColbertStorage(8, 2), ""),
        ((1, 19), ColbertStorage(4, 2), ""),
        ((1, 16), ColbertStorage(32, 2), ""),
        ((1, 10), ColbertStorage(16), ""),
    ],
)
def test_versions(version: tuple[int, int], storage: ColbertStorage, message: str) -> None:
    if not message:
        check_version(storage, version)
        return
    with pytest.raises(InvalidOptionError, match=message):
        check_version(storage, version)


# --- long documents -------------------------------------------------------------------------------


def test_the_limit_of_rows_counts_pooled_rows(tmp_path: Path) -> None:
    tokens = np.random.default_rng(0).standard_normal((2048, 1024)).astype(np.float32)
    tokens /= np.linalg.norm(tokens, axis=1, keepdims=True)
    lengths = (1024, 2046, 2048)
    rows = [tokens[:n] for n in lengths]
    documents = [Document(str(n), "") for n in lengths]
    schema = Schema(dense=2, sparse=False, colbert=1024)
    for storage, overflowed in (("bits=4", ("1024", "2046", "2048")), ("bits=4,pool=2", ("2048",))):
        with open_store(f"qdrant+edge:{tmp_path}/{storage}") as store:
            store.create(schema, colbert=ColbertStorage.parse(storage))
            report = store.upsert(documents, Vectors(colbert=TokenRows.from_arrays(rows)))
            assert report.overflowed == overflowed
            kept = store.get(list(map(str, lengths)), with_vectors=True).vectors
            assert kept is not None
            assert kept.colbert is not None
            pooled = [1023, 1023, 1023] if storage == "bits=4" else [512, 1023, 1023]
            assert np.diff(kept.colbert.indptr).tolist() == pooled


def test_a_shard_that_records_no_storage_has_the_bits_of_its_numbers(tmp_path: Path) -> None:
    encoder = HashEncoder()
    with open_store(f"qdrant+edge:{tmp_path}/old") as store:
        store.create(encoder.schema, colbert=ColbertStorage(8))
    (tmp_path / "old" / "trivec.json").write_text('{"trivec": {"model": "hash", "fields": {}}}')
    with open_store(f"qdrant+edge:{tmp_path}/old") as store:
        assert store.describe() == Collection(encoder.schema, {}, ColbertStorage(8))
