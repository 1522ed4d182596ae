"""What only Milvus has: storage modes, limits, existing collections, clients."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest

from trivec import Document, F, Schema, Vector, Vectors, Weights, open_store
from trivec.colbert_storage import ColbertStorage
from trivec.document import PRIVATE_KEY
from trivec.errors import (
    InvalidDocumentError,
    InvalidFilterError,
    InvalidOptionError,
    InvalidVectorsError,
    SchemaMismatchError,
    StoreError,
    StoreUnavailableError,
)
from trivec.rows import SparseRows, TokenRows
from trivec.stores.url import StoreUrl
from trivec.testing import HashEncoder
from trivec_milvus import MilvusOptions, MilvusStore, Names
from trivec_milvus.client import Address
from trivec_milvus.requests import Request
from trivec_milvus.schema import Layout

SMALL = Schema(dense=4, sparse=True, colbert=4, model="small")
TEXTS = ["blue whale", "grey whale", "", "blue sky and sea", "nothing of it"]


def _fill(
    store: Any,
    encoder: HashEncoder,
    texts: Sequence[str] = TEXTS,
    colbert: ColbertStorage | None = None,
) -> None:
    store.create(encoder.schema, fields={"n": int}, colbert=colbert)
    documents = [Document(f"d{i}", text, {"n": i}) for i, text in enumerate(texts)]
    store.upsert(documents, encoder.encode_documents(texts))


def _tokens(count: int, dim: int = 4) -> Vectors:
    values = np.random.default_rng(count).standard_normal((count, dim)).astype(np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return Vectors(
        dense=np.eye(1, dim, dtype=np.float32),
        sparse=SparseRows.from_dicts([{1: 0.5}]),
        colbert=TokenRows.from_arrays([values]),
    )


# --- storage -----------------------------------------------------------------------------------


def test_the_storage_is_what_the_server_can_do(
    open_milvus: Any, lite_url: str, milvus_double: str, encoder: HashEncoder
) -> None:
    lite, native = open_milvus(lite_url), open_milvus(milvus_double)
    for store in (lite, native):
        store.create(encoder.schema)
    (colbert, hybrid) = lite.capabilities
    assert (colbert.value, hybrid.value) == ("payload, float16", "client")
    assert "drops arrays of structs" in colbert.reason
    (colbert, hybrid) = native.capabilities
    assert (colbert.value, hybrid.value) == ("native, float32", "server")
    assert "2.6.19" in colbert.reason


def test_the_storage_is_read_again_at_open(
    open_milvus: Any, milvus_url: str, encoder: HashEncoder
) -> None:
    first = open_milvus(milvus_url)
    _fill(first, encoder)
    again = open_milvus(milvus_url, first.name)
    assert [c.value for c in again.capabilities] == [c.value for c in first.capabilities]
    assert again.schema == encoder.schema
    assert again.search(encoder.encode_query("blue whale"))[0].document.id == "d0"


def test_half_precision_falls_back_where_the_server_refuses_it(
    open_milvus: Any, milvus_double: str, encoder: HashEncoder
) -> None:
    store = open_milvus(milvus_double)
    _fill(store, encoder, colbert=ColbertStorage(bits=16))
    (colbert, _) = store.capabilities
    assert colbert.value == "native, float32"
    assert "takes only float32" in colbert.reason
    again = open_milvus(milvus_double, store.name)
    assert again.capabilities == store.capabilities
    again.create(encoder.schema, fields=dict(again.fields), colbert=ColbertStorage(), exist_ok=True)


def test_the_bits_of_token_vectors_are_described(
    open_milvus: Any, milvus_url: str, encoder: HashEncoder
) -> None:
    store = open_milvus(milvus_url)
    kept = ColbertStorage(bits=32)
    if "lite" in store.address:  # packed into strings
        with pytest.raises(InvalidOptionError, match="at most 16 bits"):
            store.create(encoder.schema, colbert=kept)
        kept = ColbertStorage(bits=16)
    store.create(encoder.schema, colbert=kept)
    again = open_milvus(milvus_url, store.name)
    assert again.describe().colbert == store.describe().colbert == kept
    again.create(encoder.schema, exist_ok=True)  # any storage of a collection that exists
    other = ColbertStorage(bits=48 - kept.bits)
    with pytest.raises(SchemaMismatchError, match="token vectors"):
        again.create(encoder.schema, colbert=other, exist_ok=True)


def test_a_filter_notices_that_the_collection_was_made_anew(
    open_milvus: Any, milvus_url: str, encoder: HashEncoder
) -> None:
    store = open_milvus(milvus_url)
    _fill(store, encoder)
    query = encoder.encode_query("blue whale")
    assert len(store.search(query, filter=F("n") >= 1)) == len(TEXTS) - 1
    other = open_milvus(milvus_url, store.name)
    other.drop()
    other.create(encoder.schema, fields={"m": int})  # `n` is a dynamic field now
    vectors = encoder.encode_documents(TEXTS)
    other.upsert([Document(f"d{i}", text, {"n": i}) for i, text in enumerate(TEXTS)], vectors)
    assert len(store.search(query, filter=F("n") >= 1)) == len(TEXTS) - 1
    assert store.fields == other.fields


def test_colbert_vectors_alone_are_refused(open_milvus: Any, lite_url: str) -> None:
    with pytest.raises(InvalidOptionError, match="needs dense or sparse"):
        open_milvus(lite_url).create(Schema(dense=None, sparse=False, colbert=4))


# --- limits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [4096, 5000])
def test_a_document_may_have_more_tokens_than_milvus_holds(
    open_milvus: Any, milvus_url: str, count: int
) -> None:
    store = open_milvus(milvus_url)
    store.create(SMALL)
    vectors = _tokens(count)
    report = store.upsert([Document("long", "")], vectors)
    assert report.overflowed == (("long",) if count > 4096 else ())
    stored = store.get(["long"], with_vectors=True).vectors
    assert stored is not None
    assert stored.colbert is not None
    assert len(stored.colbert.values) == 4096
    query = Vector(dense=np.eye(4)[0], colbert=np.eye(4)[:2])
    expected = np.mean((stored.colbert.values.astype(np.float32) @ np.eye(4)[:2].T).max(axis=0))
    assert store.search(query, mode="colbert")[0].score == pytest.approx(expected, abs=1e-6)


def test_more_tokens_may_be_an_error(open_milvus: Any, milvus_url: str) -> None:
    store = open_milvus(milvus_url, colbert_overflow="error")
    store.create(SMALL)
    with pytest.raises(InvalidDocumentError, match=r"'long'.*4097 ColBERT vectors"):
        store.upsert([Document("long", "")], _tokens(4097))
    assert store.count() == 0


def test_long_texts_and_metadata_come_back(open_milvus: Any, milvus_url: str) -> None:
    store = open_milvus(milvus_url)
    store.create(SMALL)
    documents = [
        Document("long", "ż🐋" * 60_000),
        Document("edge", "x" * 65_535, {"big": "y" * 60_000, "n": 1}),
        Document("ż" * 256, "", {"a": [{"b": [1.0, 1, True, None, "\ue025\u2028"]}]}),
    ]
    store.upsert(documents, Vectors(dense=np.eye(3, 4, dtype=np.float32)))
    assert store.get([d.id for d in documents]).documents == documents
    assert store.count(F("big").text("yyy")) == 1


def test_what_milvus_cannot_hold_is_refused_before_anything_is_written(
    open_milvus: Any, lite_url: str
) -> None:
    store = open_milvus(lite_url, batch_bytes=1)
    store.create(SMALL)
    dense = np.eye(2, 4, dtype=np.float32)
    many = Document("bad", "", {f"k{i}": i for i in range(3000)})
    with pytest.raises(InvalidDocumentError, match=r"'bad'.*65,536"):
        store.upsert([Document("good", ""), many], Vectors(dense=dense))
    reserved = Vectors(dense=dense, sparse=SparseRows.from_dicts([{}, {2**32 - 2: 1.0}]))
    with pytest.raises(InvalidVectorsError, match=r"'bad'.*reserved"):
        store.upsert([Document("good", ""), Document("bad", "")], reserved)
    assert store.count() == 0


def test_too_many_hits_are_refused_before_the_server_does(
    open_milvus: Any, lite_url: str, encoder: HashEncoder
) -> None:
    store = open_milvus(lite_url)
    _fill(store, encoder)
    with pytest.raises(InvalidOptionError, match="16384"):
        store.search(encoder.encode_query("x"), candidates=9000)
    assert len(store.search(encoder.encode_query("x"), mode="dense", k=16_384)) == len(TEXTS)


# --- search ------------------------------------------------------------------------------------


def test_weights_above_one_and_tiny_ones_give_exact_parts(
    open_milvus: Any, milvus_url: str, encoder: HashEncoder
) -> None:
    store = open_milvus(milvus_url)
    _fill(store, encoder)
    with open_store("memory:/weights") as oracle:
        _fill(oracle, encoder)
        query = encoder.encode_query("blue whale in the sea")
        for weights in (Weights(20, 300, 7), Weights(1, 1, 1e-6), Weights(1e-6, 0, 1)):
            hits = store.search(query, weights=weights)
            for hit, expected in zip(hits, oracle.search(query, weights=weights), strict=True):
                assert hit.document == expected.document
                for part in ("dense", "sparse", "colbert", "hybrid"):
                    got, wanted = getattr(hit.scores, part), getattr(expected.scores, part)
                    assert got == pytest.approx(wanted, abs=1e-3 if part != "dense" else 1e-6)
        oracle.drop()


def test_equal_scores_at_the_cut_are_taken_in_id_order(
    open_milvus: Any, milvus_url: str, encoder: HashEncoder
) -> None:
    store = open_milvus(milvus_url)
    texts = ["the same words"] * 60
    _fill(store, encoder, texts)
    query = encoder.encode_query("same")
    first = sorted(f"d{i}" for i in range(60))[:5]
    for mode in ("dense", "sparse", "colbert", "hybrid", "rrf"):
        hits = store.search(query, mode=mode, k=5, candidates=10)
        assert [hit.document.id for hit in hits] == first, mode


def test_a_document_deleted_between_two_steps_is_left_out(
    open_milvus: Any, milvus_url: str, encoder: HashEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_milvus(milvus_url)
    _fill(store, encoder)
    backend = store._handle.backend
    send, steps = backend.send, []

    def delete_after_the_first_step(request: Any) -> Any:
        answer = send(request)
        steps.append(request.method)
        if len(steps) == 2:
            store.delete(["d0"])
        return answer

    monkeypatch.setattr(backend, "send", delete_after_the_first_step)
    for mode in ("rrf", "colbert", "hybrid"):
        steps.clear()
        hits = store.search(encoder.encode_query("blue whale"), mode=mode)
        assert "d0" not in [hit.document.id for hit in hits]
        assert len(hits) >= 3
        _fill_again(store, encoder)


def _fill_again(store: Any, encoder: HashEncoder) -> None:
    store.upsert([Document("d0", TEXTS[0], {"n": 0})], encoder.encode_documents(TEXTS[:1]))


def _spied(store: Any, monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """Return the list of requests that the store will have sent."""
    sent: list[Request] = []
    backend = store._handle.backend
    send = backend.send

    def note_and_send(request: Request) -> Any:
        sent.append(request)
        return send(request)

    monkeypatch.setattr(backend, "send", note_and_send)
    return sent


def test_steps_are_as_few_as_documented(
    open_milvus: Any, milvus_url: str, encoder: HashEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_milvus(milvus_url)
    _fill(store, encoder)
    sent = _spied(store, monkeypatch)
    queries = [encoder.encode_query(text) for text in ("blue whale", "sky", "sea")]
    both = ["search", "search"]
    native = "native" in store.capabilities[0].value
    expected = {
        "dense": ["search"],
        "sparse": ["search"],
        "rrf": [*both, "query"],
        "colbert": [*both, "search", "query"] if native else [*both, "query"],
        "hybrid": [*both, "hybrid_search", "search"] if native else [*both, "query"],
    }
    for mode, methods in expected.items():
        sent.clear()
        store.search(queries[0], mode=mode, k=3)
        assert [request.method for request in sent] == methods, mode
    sent.clear()
    store.search_many(queries, mode="rrf", k=3)
    assert [request.method for request in sent] == expected["rrf"]


def test_every_request_of_a_search_has_its_own_filter_and_fields(
    open_milvus: Any, milvus_url: str, encoder: HashEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_milvus(milvus_url)
    _fill(store, encoder)
    requests = _spied(store, monkeypatch)
    hits = store.search(encoder.encode_query("blue whale"), filter=F("n") >= 1)
    assert hits
    assert "d0" not in [hit.document.id for hit in hits]
    assert requests.pop(0).method == "describe_collection"
    for request in requests:
        assert request.options["output_fields"]
        legs = request.options.get("reqs", [])
        assert all(leg.expr for leg in legs) if legs else request.options["filter"]


def test_large_answers_are_read_in_pieces(
    open_milvus: Any, milvus_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_milvus(milvus_url)
    store.create(SMALL)
    vectors = Vectors.concatenate([_tokens(50 + i) for i in range(8)])
    store.upsert([Document(f"d{i}", "") for i in range(8)], vectors)
    monkeypatch.setattr("trivec_milvus.requests.FETCH_BYTES", 20_000)
    monkeypatch.setattr("trivec_milvus.search._GROUP_BYTES", 40_000)
    page = store.get([f"d{i}" for i in range(8)], with_vectors=True)
    assert page.vectors is not None
    assert page.vectors.colbert is not None
    np.testing.assert_array_equal(np.diff(page.vectors.colbert.indptr), np.arange(50, 58))
    query = Vector(dense=np.eye(4)[0], colbert=np.eye(4)[:2])
    alone = store.search(query, mode="colbert")
    assert len(alone) == 8
    many = store.search_many([query] * 3, mode="colbert")
    assert [[h.document.id for h in hits] for hits in many] == [[h.document.id for h in alone]] * 3


# --- existing collections, names and options ---------------------------------------------------


def test_fields_may_have_other_names(
    open_milvus: Any, milvus_url: str, encoder: HashEncoder
) -> None:
    names = Names(id="pk", text="body", metadata="about", dense="embedding", colbert="late")
    store = open_milvus(milvus_url, names=names)
    _fill(store, encoder)
    query = encoder.encode_query("grey whale")
    for mode in ("dense", "sparse", "colbert", "hybrid", "rrf"):
        assert store.search(query, mode=mode)[0].document == Document("d1", TEXTS[1], {"n": 1})
    with pytest.raises(SchemaMismatchError, match=r"'dense'|'id' is missing"):
        assert open_milvus(milvus_url, store.name).schema


def test_a_collection_without_a_field_for_private_data_keeps_working(
    open_milvus: Any, milvus_url: str, encoder: HashEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_milvus(milvus_url)
    with monkeypatch.context() as older:
        older.setattr("trivec_milvus.creation.Layout", partial(Layout, private=False))
        store.create(encoder.schema)
    again = open_milvus(milvus_url, store.name)  # which reads how the collection lies there
    fields = again._handle.backend._connection.client.describe_collection(again.name)["fields"]
    assert "private" not in {field["name"] for field in fields}
    kept = Document("a", "text", {"n": 1, PRIVATE_KEY: {"node": {"x": 1}, "ref_doc_id": "book"}})
    vectors = encoder.encode_documents(["text"])
    for opened in (store, again):
        opened.upsert([kept], vectors)
        assert opened.get(["a"]).documents == [kept]
        assert opened.count(F(f"{PRIVATE_KEY}.ref_doc_id") == "book") == 1
        hits = opened.search(encoder.encode_query("text"))
        assert [hit.document for hit in hits] == [kept]
    long = Document("long", "text", {"n": 1, PRIVATE_KEY: {"node": {"x": "x" * 65_536}}})
    with pytest.raises(InvalidDocumentError, match=r"'long'.*LlamaIndex.*65,536.*copy it into"):
        again.upsert([long], vectors)


def test_a_filter_on_what_milvus_does_not_index_says_so(
    open_milvus: Any, milvus_url: str, encoder: HashEncoder
) -> None:
    store = open_milvus(milvus_url)
    store.create(encoder.schema, fields={f"{PRIVATE_KEY}.node.kind": str})
    documents = [
        Document(kind, "text", {PRIVATE_KEY: {"node": {"kind": kind, "n": 1}}}) for kind in "ab"
    ]
    store.upsert(documents, encoder.encode_documents(["text"] * 2))
    assert store.count(F(f"{PRIVATE_KEY}.node.kind") == "b") == 1
    for condition in (F(f"{PRIVATE_KEY}.node.n") == 1, ~F(f"{PRIVATE_KEY}.node.n").exists()):
        with pytest.raises(InvalidFilterError, match=r"'_trivec\.node\.n'.*declare it"):
            store.count(condition)


def test_declared_paths_never_share_a_field(open_milvus: Any, lite_url: str) -> None:
    store = open_milvus(lite_url)
    store.create(SMALL, fields={"a.b": int, "a_b": int, "c": list[int], "c_desc": int})
    documents = [
        Document("x", "", {"a_b": 1, "c_desc": 7}),
        Document("y", "", {"a": {"b": 2}, "c": [1, 9]}),
    ]
    store.upsert(documents, Vectors(dense=np.ones((2, 4), np.float32)))
    for condition, one in (
        (F("a.b") == 2, "y"),
        (F("a_b") == 1, "x"),
        (F("c_desc") >= 7, "x"),
        (F("c") >= 7, "y"),
    ):
        found = [d.id for page in store.scan(filter=condition) for d in page.documents]
        assert found == [one]


def test_a_foreign_collection_is_refused_with_the_difference(lite_url: str) -> None:
    from pymilvus import MilvusClient

    client = MilvusClient(lite_url.removeprefix("milvus+lite:"))
    client.create_collection("foreign", dimension=4)
    store = MilvusStore(client, "foreign")
    with pytest.raises(SchemaMismatchError, match=r"no 'dense', 'sparse' or 'colbert'"):
        store.count()
    store = MilvusStore(client, "foreign", names=Names(dense="vector"))
    with pytest.raises(
        SchemaMismatchError, match=r"'id' is INT64, expected VARCHAR.*'text' is miss"
    ):
        store.count()
    client.drop_collection("foreign")
    client.close()


def test_a_client_that_was_handed_in_stays_open(
    lite_url: str, keep_lite_open: None, encoder: HashEncoder
) -> None:
    from pymilvus import MilvusClient

    client = MilvusClient(lite_url.removeprefix("milvus+lite:"))
    with MilvusStore(client, "handed_in") as store:
        _fill(store, encoder)
        found = asyncio.run(store.asearch(encoder.encode_query("blue whale")))
        assert found[0].document.id == "d0"
        store.close()
    assert client.has_collection("handed_in")
    client.drop_collection("handed_in")
    client.close()


def test_wrong_options_are_named(lite_url: str, tmp_path: Any) -> None:
    for wrong in ({"consistency": "Sometimes"}, {"timeout": 0}, {"colbert_type": "float16"}):
        with pytest.raises(InvalidOptionError, match=next(iter(wrong))):
            open_store(f"{lite_url}/x", **wrong)
    with pytest.raises(InvalidOptionError, match=r"end in '\.db'"):
        open_store(f"milvus+lite:{tmp_path}/file/x")
    with pytest.raises(InvalidOptionError, match=r"FILE\.db/name"):
        open_store("milvus+lite:name")
    for names in ({"id": "1x"}, {"id": "text"}):
        with pytest.raises(InvalidOptionError):
            Names(**names)


@pytest.mark.parametrize("host", ["127.0.0.1:9", "no.such.host.invalid"])
def test_nothing_listens(host: str) -> None:
    start = time.monotonic()
    port = "" if ":" in host else ":19530"
    with pytest.raises(StoreUnavailableError, match=f"nothing answers at milvus://{host}{port}: "):
        open_store(f"milvus://{host}/x")
    assert time.monotonic() - start < 5


def test_a_file_is_not_asked_whether_it_lives() -> None:
    def made(target: str, roots: bytes | None, **options: Any) -> Any:
        return options["options"]

    file = Address("http://127.0.0.1:19530", lite=True).client_options(made, 30.0)
    assert file["channel"]["grpc.keepalive_time_ms"] == 2**31 - 1
    server = Address("http://127.0.0.1:19530").client_options(made, 30.0)
    assert "grpc.keepalive_time_ms" not in server["channel"]


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILVUS_TOKEN", "s3cret-token")
    monkeypatch.setattr("trivec_milvus.client.CONNECT_SECONDS", 0.2)
    with pytest.raises(StoreUnavailableError) as caught:
        open_store("milvus://127.0.0.1:9/x", user="me", password="s3cret-password")
    assert "127.0.0.1:9" in str(caught.value)
    assert "s3cret" not in f"{caught.value!r} {caught.value.__cause__!r}"
    options = MilvusOptions(user="me", password="s3cret-password", database="db", tls=True)
    assert "s3cret" not in repr(options)
    address = Address.of(StoreUrl.parse("milvus://host/x"), options)
    assert (address.uri, address.token) == ("https://host:19530", "s3cret-token")
    assert "s3cret" not in repr(address)


def test_a_file_is_open_in_one_process_only(
    tmp_path: Any, double_path: Any, encoder: HashEncoder
) -> None:
    import subprocess
    import sys

    code = "import sys; from milvus_lite.db import MilvusLite; MilvusLite(sys.argv[1]); "
    code += "print('open', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(tmp_path / "held.db")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(StoreError, match="one process only"):
            open_store(f"milvus+lite:{tmp_path}/held.db/x")
        holder.communicate("")
    with open_store(f"milvus+lite:{tmp_path}/held.db/x") as store:
        store.create(encoder.schema)


# --- event loops -------------------------------------------------------------------------------


def test_every_loop_has_its_own_client(
    open_milvus: Any, milvus_double: str, encoder: HashEncoder
) -> None:
    store = open_milvus(milvus_double)
    _fill(store, encoder)
    query = encoder.encode_query("blue whale")
    expected = store.search(query)
    clients = []

    async def search() -> None:
        hits = await asyncio.gather(*(store.asearch(query) for _ in range(5)))
        assert all([h.document for h in found] == [h.document for h in expected] for found in hits)
        connection = store._handle.backend._connection
        clients.append(connection.of_loop())
        assert connection.of_loop() is clients[-1]
        await connection.aclose()

    asyncio.run(search())
    asyncio.run(search())
    assert clients[0] is not clients[1]
