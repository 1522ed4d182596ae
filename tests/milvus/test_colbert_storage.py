"""Token vectors in few bits, pooled and pruned: scored as in memory, kept as recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from trivec import ColbertStorage, Document, F, Hit, Store, Vectors, open_store
from trivec.errors import InvalidOptionError, InvalidVectorsError, SchemaMismatchError, StoreError
from trivec.search import Mode
from trivec.testing import HashEncoder
from trivec_milvus import MilvusBackend, Names
from trivec_milvus.requests import fetch, fields_of
from trivec_milvus.schema import Layout

MODES: tuple[Mode, ...] = ("dense", "sparse", "colbert", "hybrid", "rrf")
WORDS = ["blue", "grey", "whale", "ship", "captain", "sea", "storm", "sail", "deck", "night"]
TEXTS = [
    " ".join(np.random.default_rng(i).choice(WORDS, int(3 + i % 9)).tolist()) for i in range(40)
]
QUERIES = ["blue whale in the sea", "a captain on the deck", "storm", "nothing of it"]
FIELDS: Mapping[str, type] = {"n": int}
STORAGES = [
    *(ColbertStorage(bits=bits) for bits in (16, 8, 4, 2, 1)),
    *(ColbertStorage(bits=bits, pool=2) for bits in (16, 8, 4, 2, 1)),
    ColbertStorage(bits=1, pool=3),
    ColbertStorage(bits=16, prune=1 / 3),
    ColbertStorage(bits=1, pool=2, prune=1 / 3),
]
SMALL = ColbertStorage(bits=1, pool=2)


@pytest.fixture
def memory() -> Iterator[Store]:
    with open_store(f"memory:/{uuid4().hex}") as store:
        yield store
        store.drop()


def _fill(store: Store, encoder: HashEncoder, storage: ColbertStorage) -> None:
    """Write the texts, and a document without token vectors that is the best of one query."""
    store.create(encoder.schema, fields=FIELDS, colbert=storage)
    documents = [Document(f"d{i:02}", text, {"n": i}) for i, text in enumerate(TEXTS)]
    store.upsert(documents, encoder.encode_documents(TEXTS))
    vectors = encoder.encode_documents([QUERIES[0]])
    bare = Vectors(dense=vectors.dense, sparse=vectors.sparse)
    store.upsert([Document("bare", QUERIES[0], {"n": 99})], bare)


def _tokens(store: Store, ids: list[str]) -> Any:
    vectors = store.get(ids, with_vectors=True).vectors
    assert vectors is not None
    assert vectors.colbert is not None
    return vectors.colbert


def _check_equal(hits: list[Hit], expected: list[Hit], tolerance: float) -> None:
    """Compare scores by rank, and the parts of each document; near scores may change places."""
    parts = {hit.document.id: hit.scores for hit in expected}
    assert [hit.score for hit in hits] == pytest.approx(
        [hit.score for hit in expected], abs=tolerance
    )
    for hit in hits:
        for part in ("dense", "sparse", "colbert", "hybrid"):
            score, wanted = getattr(hit.scores, part), getattr(parts[hit.document.id], part)
            assert score == (None if wanted is None else pytest.approx(wanted, abs=tolerance))


@pytest.mark.parametrize("storage", STORAGES, ids=str)
def test_milvus_equals_memory_with_the_same_storage(
    open_milvus: Any, milvus_url: str, memory: Store, encoder: HashEncoder, storage: ColbertStorage
) -> None:
    store = open_milvus(milvus_url)
    _fill(store, encoder, storage)
    _fill(memory, encoder, storage)
    tolerance = 1e-6 if storage.bits < 16 else 2e-3
    everything = len(TEXTS) + 1
    for text in QUERIES:
        query = encoder.encode_query(text)
        for mode in MODES:
            expected = memory.search(query, mode=mode, k=everything)
            _check_equal(store.search(query, mode=mode, k=everything), expected, tolerance)
        late = F("n") >= 10
        expected = memory.search(query, filter=late, k=everything)
        _check_equal(store.search(query, filter=late, k=everything), expected, tolerance)
    queries = [encoder.encode_query(text) for text in QUERIES]
    for hits, wanted in zip(
        store.search_many(queries, k=everything),
        memory.search_many(queries, k=everything),
        strict=True,
    ):
        _check_equal(hits, wanted, tolerance)


@pytest.mark.parametrize("storage", STORAGES, ids=str)
def test_token_vectors_come_back_as_they_are_kept(
    open_milvus: Any, lite_url: str, memory: Store, encoder: HashEncoder, storage: ColbertStorage
) -> None:
    store = open_milvus(lite_url)
    _fill(store, encoder, storage)
    _fill(memory, encoder, storage)
    ids = [f"d{i:02}" for i in range(len(TEXTS))] + ["bare"]
    tokens, expected = _tokens(store, ids), _tokens(memory, ids)
    np.testing.assert_array_equal(tokens.indptr, expected.indptr)
    assert tokens.storage == expected.storage == (storage if storage.reduces else None)
    if storage.bits < 16:
        np.testing.assert_array_equal(tokens.values, expected.values)
        assert tokens.values.dtype == np.float32
    else:
        np.testing.assert_allclose(tokens.values, expected.values, atol=1e-3)
    pages = [*store.scan(with_vectors=True)]
    scanned = {document.id: i for page in pages for i, document in enumerate(page.documents)}
    assert sorted(scanned) == sorted(ids)
    # What was read is written back as it was.
    page = store.get(ids, with_vectors=True)
    assert page.vectors is not None
    store.upsert(page.documents, page.vectors)
    np.testing.assert_array_equal(_tokens(store, ids).values, tokens.values)


@pytest.mark.parametrize("storage", STORAGES, ids=str)
def test_how_they_are_kept_is_read_again_at_open(
    open_milvus: Any, lite_url: str, encoder: HashEncoder, storage: ColbertStorage
) -> None:
    store = open_milvus(lite_url)
    store.create(encoder.schema, colbert=storage)
    again = open_milvus(lite_url, store.name)
    assert again.describe().colbert == store.describe().colbert == storage
    assert again.capabilities == store.capabilities
    again.create(encoder.schema, exist_ok=True)
    again.create(encoder.schema, colbert=storage, exist_ok=True)
    for other in STORAGES:
        if other != storage:
            with pytest.raises(SchemaMismatchError, match="keeps token vectors"):
                again.create(encoder.schema, colbert=other, exist_ok=True)
    again.clear()
    assert again.describe().colbert == storage


def test_capabilities_say_what_was_done_and_why(
    open_milvus: Any, milvus_url: str, encoder: HashEncoder
) -> None:
    store = open_milvus(milvus_url)
    store.create(encoder.schema, colbert=ColbertStorage(bits=2, pool=2, prune=1 / 3))
    colbert, hybrid = store.capabilities
    assert (colbert.value, hybrid.value) == ("payload, bits=2,pool=2,prune=1/3", "client")
    assert "float32 or float16 only" in colbert.reason
    store.drop()
    store.create(encoder.schema, colbert=ColbertStorage(bits=16, pool=2))
    # The server takes float32 in place of float16.
    is_lite = "lite" in store.address
    expected = "payload, bits=16,pool=2" if is_lite else "native, bits=32,pool=2"
    assert store.capabilities[0].value == expected
    assert store.describe().colbert == ColbertStorage(bits=16, pool=2)


def test_bits_that_milvus_or_the_dimension_do_not_allow_create_nothing(
    open_milvus: Any, lite_url: str, encoder: HashEncoder
) -> None:
    store = open_milvus(lite_url)
    for colbert, message in (
        (ColbertStorage(bits=32, pool=2), "pass 'bits=16,pool=2'"),
        ("bits=3", "bits=3; expected"),
        ("bits=1,pool=0", "pool=0"),
    ):
        with pytest.raises(InvalidOptionError, match=message):
            store.create(encoder.schema, colbert=colbert)
    with pytest.raises(InvalidOptionError, match="multiple of 8"):
        store.create(HashEncoder(colbert=12).schema, colbert=ColbertStorage(bits=1))
    assert store._handle.backend._connection.client.has_collection(store.name) is False


def test_vectors_that_hold_less_are_refused_and_nothing_is_written(
    open_milvus: Any, milvus_url: str, encoder: HashEncoder
) -> None:
    small, full = open_milvus(milvus_url), open_milvus(milvus_url)
    _fill(small, encoder, SMALL)
    full.create(encoder.schema)
    page = small.get(["d00"], with_vectors=True)
    with pytest.raises(InvalidVectorsError, match="bits=1,pool=2 cannot be kept as bits=16"):
        full.upsert(page.documents, page.vectors)
    assert full.count() == 0


# --- reading -----------------------------------------------------------------------------------


def test_damaged_strings_name_the_document_and_spare_the_others(
    open_milvus: Any, milvus_url: str, encoder: HashEncoder
) -> None:
    store = open_milvus(milvus_url)
    _fill(store, encoder, SMALL)
    client = store._handle.backend._connection.client
    (row,) = client.query(store.name, filter='id == "d03"', output_fields=["*"])
    header, data = row["colbert"]
    client.upsert(store.name, [{**row, "colbert": [header, data[:-4]]}])
    query = encoder.encode_query(QUERIES[0])
    for mode in ("colbert", "hybrid"):
        with pytest.raises(StoreError, match=r"'d03': its ColBERT vectors cannot be read.*got"):
            store.search(query, mode=mode)
    with pytest.raises(StoreError, match="'d03'"):
        store.get(["d03"], with_vectors=True)
    with pytest.raises(StoreError, match="'d03'"):
        list(store.scan(with_vectors=True))
    assert len(store.search(query, mode="dense")) == 10
    assert store.get(["d03"]).documents[0].text == TEXTS[3]
    store.upsert([Document("d03", TEXTS[3], {"n": 3})], encoder.encode_documents(TEXTS[3:4]))
    assert len(store.search(query)) == 10


@pytest.mark.parametrize("after", [ColbertStorage(bits=4), ColbertStorage(bits=16)], ids=str)
def test_a_collection_made_anew_with_other_bits_is_noticed(
    open_milvus: Any, lite_url: str, encoder: HashEncoder, after: ColbertStorage
) -> None:
    store = open_milvus(lite_url)
    _fill(store, encoder, SMALL)
    other = open_milvus(lite_url, store.name)
    other.drop()
    _fill(other, encoder, after)
    # The header of the strings says that they are not codes of one bit; so the description is read
    # again.
    query = encoder.encode_query(QUERIES[0])
    assert store.search(query) == other.search(query)
    assert store.describe().colbert == after


@pytest.mark.parametrize(
    ("recorded", "message"),
    [
        ("bits=3", "bits=3; expected"),
        ("bits=1,size=2", "expected some of"),
        (7, "expected ColbertStorage"),
        ("bits=32", "has strings"),
    ],
)
def test_a_description_that_makes_no_sense_is_refused(
    encoder: HashEncoder, recorded: object, message: str
) -> None:
    layout = Layout(encoder.schema, colbert=SMALL)
    description = {**_described(layout), "properties": {}}
    assert Layout.read(description, Names()) == layout
    properties = {**json.loads(layout.properties["trivec"]), "colbert_storage": recorded}
    description["description"] = json.dumps(properties)
    with pytest.raises(SchemaMismatchError, match=message):
        Layout.read(description, Names())


def test_collections_of_an_older_trivec_keep_16_bits(encoder: HashEncoder) -> None:
    layout = Layout(encoder.schema, colbert=ColbertStorage())
    description = _described(layout)
    properties = json.loads(layout.properties["trivec"])
    del properties["colbert_storage"]
    description["description"] = json.dumps(properties)
    assert Layout.read(description, Names()) == layout
    # The server took float32 in place of float16.
    description["description"] = json.dumps({**properties, "reason": "takes only float32"})
    assert Layout.read(description, Names()).colbert is None


def _described(layout: Layout) -> dict[str, Any]:
    schema = layout.milvus_schema().to_dict()
    fields = [{"params": {}, **field} for field in schema["fields"]]
    return {**schema, "fields": fields, "collection_name": "docs"}


def test_small_candidates_fit_into_few_answers(encoder: HashEncoder) -> None:
    """1,000 candidates of 200 tokens with 1,024 dimensions."""
    schema = HashEncoder(dense=1024, colbert=1024).schema
    counts = {}
    for storage in (ColbertStorage(), ColbertStorage(bits=1), SMALL):
        layout = Layout(schema, colbert=storage)
        tokens = {f"d{i}": storage.kept(200) for i in range(1000)}
        counts[str(storage)] = len(next(fetch(layout, tokens, fields_of(layout, schema.parts))))
    assert counts == {"bits=16": 17, "bits=1": 2, "bits=1,pool=2": 1}


def test_each_number_of_bits_is_a_choice_of_the_plan() -> None:
    schema = HashEncoder(dense=1024, colbert=1024).schema
    choices = MilvusBackend.storage_choices(schema, tokens=200, terms=100)
    sizes = {c.storage: c.document_bytes for c in choices if c.part == "colbert"}
    assert sizes["payload, bits=1 in base64"] == pytest.approx(200 * 130 * 4 / 3)
    assert sizes["payload, bits=8 in base64"] == pytest.approx(200 * 1026 * 4 / 3)
    assert [c.storage for c in choices if c.part == "colbert" and c.default] == [
        "native, FLOAT16_VECTOR"
    ]
