"""Token vectors in Vespa with 32 to 1 bits for each number, compared with `memory:`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import vespa_standin
from trivec import ColbertStorage, Document, F, Schema, Store, Vector, Vectors, open_store
from trivec.collection import Collection
from trivec.errors import InvalidOptionError, InvalidVectorsError, SchemaMismatchError, StoreError
from trivec.rows import SparseRows, TokenRows, unit
from trivec.search import Mode
from trivec.token_codes import TokenCodes
from trivec_vespa import VespaBackend
from trivec_vespa.client import Request
from trivec_vespa.hexadecimal import to_bfloat16
from trivec_vespa.mapping import description_fields, document_path, feed_fields, read_page
from trivec_vespa.replies import acknowledged
from trivec_vespa.token_layout import TokenLayout

BITS = (32, 16, 8, 4, 2, 1)
PACKED = (8, 4, 2, 1)
MODES: tuple[Mode, ...] = ("dense", "sparse", "colbert", "hybrid", "rrf")
IDS = [f"d{i:02d}" for i in range(24)]


def _vectors(count: int = len(IDS), seed: int = 0) -> Vectors:
    """Return vectors whose dense part is exact in bfloat16; the last one has no token vectors."""
    rng = np.random.default_rng(seed)
    lengths = [*rng.integers(1, 9, count - 1), 0]
    dense = unit(rng.standard_normal((count, 8)))
    rows = [{int(i): 0.5, 9: 0.1 + 0.01 * i} for i in range(count)]
    return Vectors(
        dense=(to_bfloat16(dense).astype(np.uint32) << 16).view(np.float32),
        sparse=SparseRows.from_dicts(rows),
        colbert=TokenRows.from_arrays([unit(rng.standard_normal((n, 16))) for n in lengths]),
    )


DOCUMENTS = [Document(id, f"text {id}", {"year": i}) for i, id in enumerate(IDS)]
VECTORS = _vectors()


def _query() -> Vector:
    rng = np.random.default_rng(7)
    return Vector(
        dense=unit(rng.standard_normal(8)),
        sparse={3: 0.3, 9: 0.2},
        colbert=unit(rng.standard_normal((5, 16))),
    )


# --- arithmetic and JSON -----------------------------------------------------------------------


@pytest.mark.parametrize("bits", PACKED)
def test_products_with_bits_are_those_with_the_decoded_vectors(bits: int) -> None:
    rng = np.random.default_rng(bits)
    tokens, query = unit(rng.standard_normal((60, 64))), unit(rng.standard_normal((9, 64)))
    codes = TokenCodes.encode(TokenRows.from_arrays([tokens]), bits)
    layout = TokenLayout(bits, 64)
    # As the rank profile does.
    if bits == 1:
        rows = np.unpackbits(codes.packed, axis=1) - np.float32(0.5)
    else:
        shifted = [
            np.floor((codes.packed ^ np.uint8(128)).view(np.int8) * np.float32(2.0**-shift))
            for shift in range(0, 8, bits)
        ]
        size = 2**bits
        parts = [low - size * high - size // 2 for low, high in pairwise(shifted)]
        rows = np.concatenate([*parts, shifted[-1]], axis=1) + np.float32(0.5)
    rows = rows * codes.factors.astype(np.float32)[:, None]
    np.testing.assert_allclose(
        layout.query_rows(query) @ rows.T, query @ codes.decoded().values.T, atol=1e-6
    )


@pytest.mark.parametrize("bits", BITS)
def test_what_is_fed_is_read_back(bits: int) -> None:
    layout = TokenLayout(bits, 16)
    assert VECTORS.colbert is not None
    tokens = VECTORS.colbert.row(0)
    fed = layout.feed(tokens)
    assert fed.keys() == layout.tensors.keys()
    back = layout.read(_stored(fed))
    if bits in PACKED:
        codes = TokenCodes.encode(TokenRows.from_arrays([tokens]), bits)
        np.testing.assert_array_equal(back, codes.decoded().values)
        assert layout.feed(back) == fed
    else:
        np.testing.assert_allclose(back, tokens, rtol=2.0**-8 if bits == 16 else 0)
    assert layout.read({}).shape == (0, 16)


def test_every_factor_is_read_back_from_the_digits_of_a_float() -> None:
    factors = np.arange(2**15, dtype=np.uint16).view(np.float16)
    factors = factors[np.isfinite(factors)]
    layout = TokenLayout(1, 8)
    cells = {str(i): float(str(f)) for i, f in enumerate(factors.astype(np.float32))}
    fields = {
        "colbert_codes": {"blocks": dict.fromkeys(cells, "ff")},
        "colbert_factors": {"cells": cells},
    }
    packed = np.full((len(factors), 1), 255, np.uint8)
    codes = TokenCodes.from_texts([(packed, factors)], 1, 8)
    np.testing.assert_array_equal(layout.read(fields), codes.decoded().values)


def _stored(fed: Mapping[str, Any]) -> dict[str, Any]:
    """Return fed fields as Vespa returns them."""
    if "colbert_factors" not in fed:
        return dict(fed)
    return {**fed, "colbert_factors": {"cells": fed["colbert_factors"]}}


def _edit(tensor: str, part: str, label: str, value: object) -> Callable[[dict[str, Any]], None]:
    def edit(fields: dict[str, Any]) -> None:
        fields[tensor][part] = {**fields[tensor][part], label: value}

    return edit


def _drop(name: str) -> Callable[[dict[str, Any]], None]:
    def drop(fields: dict[str, Any]) -> None:
        del fields[name]

    return drop


def _drop_factor(fields: dict[str, Any]) -> None:
    cells = fields["colbert_factors"]["cells"]
    fields["colbert_factors"]["cells"] = {k: v for k, v in cells.items() if k != "0"}


@pytest.mark.parametrize("bits", PACKED)
@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_edit("colbert_codes", "blocks", "0", "ff"), r"digits of hex, got 2 digits"),
        (_edit("colbert_codes", "blocks", "0", "ff" * 64), r"digits of hex, got 128 digits"),
        (_edit("colbert_codes", "blocks", "0", [1, 2]), "got a list"),
        (_edit("colbert_codes", "blocks", "77", ""), "token vectors have . factors"),
        (_edit("colbert_factors", "cells", "0", None), "no finite number"),
        (_edit("colbert_factors", "cells", "0", "1.0"), "no finite number"),
        (_edit("colbert_factors", "cells", "0", 1e300), "no float16"),
        (_edit("colbert_factors", "cells", "0", 0.1), "no float16"),
        (_edit("colbert_factors", "cells", "77", 0.5), "token vectors have . factors"),
        (_drop_factor, "token vectors have . factors"),
        (_drop("colbert_factors"), "token vectors have 0 factors"),
        (_drop("colbert_codes"), "0 token vectors have"),
    ],
)
def test_damaged_token_vectors_are_errors(
    bits: int, edit: Callable[[dict[str, Any]], None], message: str, collection: Collection
) -> None:
    small = replace(collection, colbert=ColbertStorage(bits=bits))
    fields = _stored(feed_fields(DOCUMENTS[0], VECTORS, 0, small))
    fields["lexical_rep"] = {"cells": fields["lexical_rep"]}
    assert read_page([fields], small, with_vectors=True).documents == [DOCUMENTS[0]]
    edit(fields)
    with pytest.raises(StoreError, match=f"'d00' is not as trivec stores it .*{message}"):
        read_page([fields], small, with_vectors=True)


@pytest.mark.parametrize("bits", BITS)
def test_the_bytes_of_a_write_are_known_before(bits: int) -> None:
    rng = np.random.default_rng(1)
    tokens = TokenRows.from_arrays([unit(rng.standard_normal((200, 1024)))])
    kept = Collection(Schema(dense=None, sparse=False, colbert=1024), {}, ColbertStorage(bits=bits))
    vectors = Vectors(colbert=tokens)
    fed = len(json.dumps(feed_fields(Document("a", ""), vectors, 0, kept)))
    backend = object.__new__(VespaBackend)
    (said,) = backend.wire_bytes(kept, vectors)
    assert fed < said < 1.1 * fed + 600


def test_a_plan_lists_every_number_of_bits() -> None:
    choices = VespaBackend.storage_choices(
        Schema(dense=None, sparse=True, colbert=1024), tokens=200, terms=0
    )
    bytes_of = {c.storage: c.document_bytes for c in choices if c.part == "colbert"}
    assert bytes_of == {
        "tensor<bfloat16>": 200 * 2048,
        "tensor<float>": 200 * 4096,
        "8 bits, factors": 200 * (1024 + 4),
        "4 bits, factors": 200 * (512 + 4),
        "2 bits, factors": 200 * (256 + 4),
        "1 bit, factors": 200 * (128 + 4),
    }
    assert [c.storage for c in choices if c.part == "colbert" and c.default] == ["tensor<bfloat16>"]


def test_a_layout_is_that_of_the_collection(collection: Collection) -> None:
    odd = Schema(dense=8, sparse=False, colbert=12)
    with pytest.raises(InvalidOptionError, match="multiple of 8"):
        TokenLayout.of(odd, ColbertStorage(bits=1))
    assert TokenLayout.of(odd, None) == TokenLayout(16, 12)
    assert TokenLayout.of(replace(odd, colbert=None), ColbertStorage(bits=1)) is None
    recorded = json.loads(str(description_fields(collection)["metadata"]))
    assert recorded["colbert_storage"] == "bits=16"


# --- the stand-in ------------------------------------------------------------------------------


def _same(store: Store, memory: Store, tolerance: float = 1e-5) -> None:
    """Check that two stores return the same hits and parts in every mode."""
    for mode in MODES:
        for condition in (None, F("year") >= 9):
            search = {"mode": mode, "k": 30, "filter": condition}
            got = store.search(_query(), **search)  # type: ignore[arg-type]
            wanted = memory.search(_query(), **search)  # type: ignore[arg-type]
            assert [hit.document for hit in got] == [hit.document for hit in wanted], mode
            for hit, other in zip(got, wanted, strict=True):
                assert hit.score == pytest.approx(other.score, abs=tolerance)
                for part in ("dense", "sparse", "colbert", "hybrid"):
                    score, expected = getattr(hit.scores, part), getattr(other.scores, part)
                    assert (score is None) == (expected is None)
                    assert score is None or score == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("bits", [32, *PACKED])
def test_all_scores_are_those_of_memory(bits: int, open_vespa: Any, schema: Schema) -> None:
    store = open_vespa()
    for storage in (ColbertStorage(bits=bits), ColbertStorage(bits=bits, pool=2)):
        with open_store(f"memory:/vespa-{storage}") as memory:
            for each in (store, memory):
                each.create(schema, fields={"year": int}, colbert=storage)
                each.upsert(DOCUMENTS, VECTORS)
            assert open_vespa().describe().colbert == storage
            assert str(storage) in {c.value for c in store.capabilities}
            _same(store, memory)
            _reads_the_same(store, memory)
            _refuses_other_storages(store, schema, storage)
            memory.drop()
        store.drop()


@pytest.mark.parametrize("bits", PACKED)
def test_vespas_own_evaluator_gives_the_same(
    bits: int, schema: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    vespa_standin.need()
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Dstandin.reference=true")
    served = vespa_standin.StandIn()
    with (
        open_store(served.url("reference"), config_server=served.config_server) as store,
        open_store("memory:/vespa-reference") as memory,
    ):
        for each in (store, memory):
            each.create(schema, fields={"year": int}, colbert=ColbertStorage(bits=bits))
            each.upsert(DOCUMENTS, VECTORS)
        _same(store, memory)
        for each in (store, memory):
            each.drop()
    served.close()


def _reads_the_same(store: Store, memory: Store) -> None:
    """Check that vectors are read back exactly, and written again without a change."""
    wanted = memory.get(IDS, with_vectors=True).vectors
    read = store.get(IDS, with_vectors=True).vectors
    assert read is not None
    assert wanted is not None
    for vectors in (read, store.get(IDS, with_vectors=True).vectors):
        assert vectors is not None
        assert vectors.colbert is not None
        assert wanted.colbert is not None
        np.testing.assert_array_equal(vectors.colbert.indptr, wanted.colbert.indptr)
        np.testing.assert_array_equal(vectors.colbert.values, wanted.colbert.values)
        assert vectors.colbert.storage == wanted.colbert.storage
        store.upsert(DOCUMENTS, read)
    pages = list(store.scan(with_vectors=True, batch_size=7))
    assert sorted(document.id for page in pages for document in page.documents) == IDS


def _refuses_other_storages(store: Store, schema: Schema, storage: ColbertStorage) -> None:
    for other in (ColbertStorage(bits=16), replace(storage, pool=3), replace(storage, prune=0.25)):
        with pytest.raises(SchemaMismatchError, match=f"token vectors as '{storage}'"):
            store.create(schema, colbert=other, exist_ok=True)
    assert store.describe().colbert == storage


def test_pruning_is_recorded_exactly(open_vespa: Any, schema: Schema) -> None:
    store = open_vespa()
    for share in (1 / 3, 0.1234567890123):
        storage = ColbertStorage(bits=1, prune=share)
        store.create(schema, colbert=storage)
        assert open_vespa().describe().colbert == storage
        store.drop()


def test_a_token_without_its_factor_is_an_error(open_vespa: Any, schema: Schema) -> None:
    store = open_vespa()
    store.create(schema, colbert=ColbertStorage(bits=1))
    store.upsert(DOCUMENTS, VECTORS)
    fields = feed_fields(DOCUMENTS[0], VECTORS, 0, store.describe())
    del fields["colbert_factors"]
    path = document_path("test", IDS[0])
    client = store._handle.backend.client
    client.send(Request("POST", path, acknowledged, lambda: {"fields": fields}))
    with pytest.raises(StoreError, match=r"'d00' is not as trivec stores it .*have 0 factors"):
        store.get(IDS[:1], with_vectors=True)
    hits = store.search(_query(), mode="hybrid", k=30)
    assert {hit.document.id: hit.scores.colbert for hit in hits}[IDS[0]] == 0


def test_vectors_that_hold_less_are_refused(open_vespa: Any, schema: Schema) -> None:
    store = open_vespa()
    store.create(schema, colbert=ColbertStorage(bits=4))
    with open_store("memory:/vespa-less") as memory:
        memory.create(schema, colbert=ColbertStorage(bits=1))
        memory.upsert(DOCUMENTS, VECTORS)
        small = memory.get(IDS, with_vectors=True).vectors
        memory.drop()
    assert small is not None
    with pytest.raises(InvalidVectorsError, match="cannot be kept as bits=4"):
        store.upsert(DOCUMENTS, small)
    assert store.count() == 0


def test_a_collection_with_signs_says_what_to_do(open_vespa: Any, schema: Schema) -> None:
    store = open_vespa()
    store.create(schema, colbert=ColbertStorage(bits=1))
    backend = store._handle.backend
    about = json.loads(str(description_fields(store.describe())["metadata"]))
    del about["colbert_storage"]
    about["binary_colbert"] = True
    old = {"fields": {"metadata": json.dumps(about)}}
    path = backend.lifecycle.description
    backend.client.send(Request("POST", path, acknowledged, lambda: old))
    again = open_vespa()
    for call in (again.describe, again.count, lambda: again.create(schema, exist_ok=True)):
        with pytest.raises(SchemaMismatchError, match=r"signs beside them.*drop\(\) it, create"):
            call()
    again.drop()
    again.create(schema, colbert=ColbertStorage(bits=1))
    assert again.count() == 0
