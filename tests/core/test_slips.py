"""Calls with a wrong argument: each is an error of ours that says what to pass instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from trivec import Document, F, Schema, Store, Vector, Vectors, Weights, open_store, score
from trivec.encoders import CachingEncoder
from trivec.errors import InvalidInputError, InvalidVectorsError, StoreError
from trivec.rows import SparseRows, TokenRows
from trivec.scores import score_many
from trivec.search import Search
from trivec.testing import HashEncoder

Call = Callable[[], object]

ENCODER = HashEncoder()
CACHED = CachingEncoder(ENCODER)
SCHEMA = ENCODER.schema
DOCUMENTS = [Document("a", "blue whale", {"lang": "en"}), Document("b", "grey seal")]
VECTORS = ENCODER.encode_documents([document.text for document in DOCUMENTS])
QUERY = ENCODER.encode_query("whale")
IS_EN = F("lang") == "en"


@pytest.fixture
def store() -> Iterator[Any]:
    """Yield a store that takes anything, as it is without a type checker."""
    with open_store(f"memory:/{uuid4().hex}") as opened:
        opened.create(SCHEMA, fields={"lang": str})
        opened.upsert(DOCUMENTS, VECTORS)
        yield opened
        opened.drop()


ENCODE = r"expected a Vector, such as encoder\.encode_query\(text\)"
OF_STORES: dict[str, tuple[Callable[[Any], object], str]] = {
    "search a text": (lambda s: s.search("whale"), f"query: {ENCODE}.*, got str 'whale'"),
    "search nothing": (lambda s: s.search(None), f"query: {ENCODE}.*, got None"),
    "search a batch": (lambda s: s.search(VECTORS), f"{ENCODE}.*, got trivec.vectors.Vectors"),
    "search a list": (lambda s: s.search([QUERY]), f"{ENCODE}.*, got list of trivec"),
    "search an array": (lambda s: s.search(np.ones(32)), f"{ENCODE}.*got numpy.ndarray"),
    "search a document": (lambda s: s.search(DOCUMENTS[0]), f"{ENCODE}.*Document"),
    "k as text": (lambda s: s.search(QUERY, k="5"), "k='5' must be an integer from 1"),
    "k as float": (lambda s: s.search(QUERY, k=5.0), "k=5.0 must be an integer from 1"),
    "k as bool": (lambda s: s.search(QUERY, k=True), "k=True must be an integer from 1"),
    "k as None": (lambda s: s.search(QUERY, k=None), "k=None must be an integer from 1"),
    "candidates": (lambda s: s.search(QUERY, candidates="9"), "candidates='9' must be an integer"),
    "weights as mode": (
        lambda s: s.search(QUERY, mode=Weights.GENERAL),
        r"mode \(trivec.scores.Weights\)",
    ),
    "modes": (
        lambda s: s.search(QUERY, mode=["dense"]),
        r"mode \(list of str\); expected one of dense, ",
    ),
    "tuple of weights": (
        lambda s: s.search(QUERY, weights=(1, 0.3, 1)),
        r"expected Weights, such as Weights\(1, 0.3, 1\), got tuple of int",
    ),
    "dict of weights": (lambda s: s.search(QUERY, weights={"dense": 1}), "Weights.*, got dict"),
    "name of weights": (lambda s: s.search(QUERY, weights="GENERAL"), "got str 'GENERAL'"),
    "filter as dict": (lambda s: s.search(QUERY, filter={"lang": "en"}), "filter"),
    "field as filter": (lambda s: s.search(QUERY, filter=F("lang")), "filter"),
    "many of a text": (
        lambda s: s.search_many("whale"),
        r"queries: expected Vectors, such as encoder\.encode_queries\(texts\), got str",
    ),
    "many of one": (lambda s: s.search_many(QUERY), "queries: expected Vectors.*got .*Vector$"),
    "many of texts": (lambda s: s.search_many(["whale"]), f"query: {ENCODE}"),
    "many of batches": (lambda s: s.search_many([VECTORS]), f"query: {ENCODE}"),
    "many of a number": (lambda s: s.search_many(5), "queries: .*got int 5"),
    "create by encoder": (
        lambda s: s.create(ENCODER),
        r"schema: expected a Schema, usually encoder\.schema, got trivec\.testing\.\S*HashEncoder",
    ),
    "create by nothing": (lambda s: s.create(None), "schema: expected a Schema.*got None"),
    "create by dict": (lambda s: s.create({"dense": 32}), "schema: expected a Schema"),
    "create by class": (lambda s: s.create(Schema), "got the class trivec.schema.Schema"),
    "names of fields": (
        lambda s: s.create(SCHEMA, fields=["lang"]),
        "fields: expected a dict of paths and types.*got list of str",
    ),
    "name of a field": (lambda s: s.create(SCHEMA, fields="lang"), "fields: .*got str 'lang'"),
    "type as text": (
        lambda s: s.create(SCHEMA, fields={"lang": "str"}),
        "field 'lang': expected the type itself, one of str, .*, got str 'str'",
    ),
    "type in a list": (
        lambda s: s.create(SCHEMA, fields={"lang": ["str"]}),
        "field 'lang': expected the type itself.*, got list of str",
    ),
    "type of list": (lambda s: s.create(SCHEMA, fields={"lang": list}), "got the class list"),
    "list of float": (lambda s: s.create(SCHEMA, fields={"x": list[float]}), r"list\[float\]"),
    "path of a field": (lambda s: s.create(SCHEMA, fields={1: str}), "path of a field is a str"),
    "exist_ok as text": (lambda s: s.create(SCHEMA, exist_ok="yes"), "exist_ok: .*got str 'yes'"),
    "one document": (
        lambda s: s.upsert(DOCUMENTS[0], VECTORS),
        "documents: expected a list of Document, got trivec.document.Document",
    ),
    "a generator": (lambda s: s.upsert(iter(DOCUMENTS), VECTORS), "documents: .*list_iterator"),
    "no documents": (lambda s: s.upsert(None, VECTORS), "documents: .*got None"),
    "a text": (lambda s: s.upsert("ab", VECTORS), "documents: .*, got str"),
    "texts": (lambda s: s.upsert(["a", "b"], VECTORS), "documents: each.*got str 'a'"),
    "dicts": (lambda s: s.upsert([{"id": "a"}] * 2, VECTORS), "documents: each.*got dict"),
    "a dict": (lambda s: s.upsert({"a": DOCUMENTS[0]}, VECTORS), "documents: .*got dict"),
    "swapped": (lambda s: s.upsert(VECTORS, DOCUMENTS), "documents: .*got trivec.vectors.Vectors"),
    "arrays": (
        lambda s: s.upsert(DOCUMENTS, [np.ones(32)] * 2),
        r"vectors: expected Vectors, such as encoder\.encode_documents\(texts\), got list of numpy",
    ),
    "an array": (lambda s: s.upsert(DOCUMENTS, np.ones((2, 32))), "vectors: .*numpy.ndarray"),
    "vectors in a list": (lambda s: s.upsert(DOCUMENTS, [QUERY] * 2), "vectors: .*list of trivec"),
    "one vector": (lambda s: s.upsert(DOCUMENTS[:1], QUERY), "vectors: .*got trivec.*Vector$"),
    "no vectors": (lambda s: s.upsert(DOCUMENTS, None), "vectors: .*got None"),
    "an encoder": (lambda s: s.upsert(DOCUMENTS, ENCODER), "vectors: .*HashEncoder"),
    "get one id": (lambda s: s.get("a"), r"ids='a' is one string; pass a list of ids"),
    "get a number": (lambda s: s.get(5), "ids: expected a list of str, got int 5"),
    "get numbers": (lambda s: s.get([1, 2]), "document id 1 must be a str"),
    "get nothing": (lambda s: s.get(None), "ids: expected a list of str, got None"),
    "get bytes": (lambda s: s.get(b"a"), "ids: expected a list of str, got bytes"),
    "get documents": (
        lambda s: s.get(DOCUMENTS),
        "document id .*Document. must be a str; .*document.id",
    ),
    "get a document": (lambda s: s.get(DOCUMENTS[0]), "ids: .*got trivec.document.Document"),
    "delete one id": (lambda s: s.delete("a"), "pass a list of ids"),
    "delete a filter": (lambda s: s.delete(IS_EN), "ids: expected a list of str, got .*Comparison"),
    "delete hits": (
        lambda s: s.delete(s.search(QUERY)),
        "document id .trivec.hit.Hit. must be a str",
    ),
    "delete where ids": (lambda s: s.delete_where(["a"]), "not a filter"),
    "delete where text": (lambda s: s.delete_where("lang == 'en'"), "parse_filter"),
    "count a text": (lambda s: s.count("lang"), "'lang' is not a filter; parse_filter"),
    "pages as text": (lambda s: s.scan(batch_size="5"), "batch_size='5' must be"),
    "pages as float": (lambda s: s.scan(batch_size=5.5), "batch_size=5.5 must be"),
    "pages as bool": (lambda s: s.scan(batch_size=True), "batch_size=True must be"),
    "pages of none": (
        lambda s: s.scan(batch_size=0),
        "batch_size=0 must be an integer",
    ),
    "pages of a filter": (lambda s: s.scan(filter="x"), "'x' is not a filter; parse_filter"),
}


@pytest.mark.parametrize(("call", "message"), OF_STORES.values(), ids=OF_STORES)
def test_a_slip_with_a_store(store: Any, call: Callable[[Any], object], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        call(store)
    assert store.count() == 2


@pytest.mark.parametrize(
    "slip",
    ["search a text", "many of a text", "create by encoder", "arrays", "get a number", "k as text"],
)
async def test_the_asynchronous_twins_say_the_same(store: Any, slip: str) -> None:
    call, message = OF_STORES[slip]

    class Twin:
        def __getattr__(self, name: str) -> object:
            return getattr(store, f"a{name}")

    with pytest.raises(InvalidInputError, match=message):
        await call(Twin())  # type: ignore[misc]


def test_creating_by_an_encoder_creates_nothing(store: Any) -> None:
    with open_store(f"memory:/{uuid4().hex}") as fresh:
        wrong: Any = ENCODER
        with pytest.raises(InvalidInputError):
            fresh.create(wrong)
        with pytest.raises(StoreError, match="does not exist"):
            fresh.count()


def _any(value: object) -> Any:
    return value


OF_VALUES: dict[str, tuple[Call, str]] = {
    "dense text": (lambda: Vectors(dense=_any("x")), "dense: expected numbers, got str 'x'"),
    "dense texts": (lambda: Vectors(dense=_any([["1", "2"]])), "dense: expected numbers"),
    "dense rows of two lengths": (lambda: Vectors(dense=_any([[1, 2], [3]])), "dense: expected"),
    "dense objects": (lambda: Vectors(dense=_any([object()])), "got object"),
    "dense of complex": (lambda: Vectors(dense=_any(np.ones((1, 2), complex))), "got numpy.nda"),
    "dense vector": (lambda: Vectors(dense=_any(QUERY)), "dense: expected numbers, got .*Vector"),
    "output of FlagEmbedding": (lambda: Vectors(_any({"dense_vecs": 1})), "got dict"),
    "one dimension": (lambda: Vectors(dense=_any([1.0])), r"shape \(1,\), expected \(n, dimens"),
    "sparse dicts": (
        lambda: Vectors(sparse=_any([{1: 0.5}])),
        r"sparse: expected SparseRows, such as SparseRows.from_dicts\(rows\), got list of dict",
    ),
    "ColBERT arrays": (
        lambda: Vectors(colbert=_any([np.ones((2, 3))])),
        r"colbert: expected TokenRows, such as TokenRows.from_arrays\(rows\), got list of numpy",
    ),
    "dense of a vector": (lambda: Vector(dense=_any("x")), "dense: expected numbers"),
    "rows in a vector": (lambda: Vector(dense=_any([[1.0]])), r"shape \(1, 1\), expected \(dim"),
    "a number": (lambda: Vector(dense=_any(1.0)), r"shape \(\), expected \(dimension,\)"),
    "no part": (Vector, "at least one of dense, sparse and colbert"),
    "sparse list": (lambda: Vector(sparse=_any([1])), "sparse row 0: expected {vocabulary id: w"),
    "sparse text": (lambda: Vector(sparse=_any("x")), "sparse row 0: .*got str 'x'"),
    "keys as text": (lambda: Vector(sparse=_any({"12": 0.5})), "sparse ids.*got str '12'"),
    "keys of words": (lambda: Vector(sparse=_any({"a": 0.5, 1: 0.5})), "sparse ids.*got str 'a'"),
    "keys as floats": (lambda: Vector(sparse=_any({1.5: 0.5})), "sparse ids.*type float64"),
    "keys as bools": (lambda: Vector(sparse=_any({True: 0.5})), "sparse ids.*type bool"),
    "weights as text": (lambda: Vector(sparse=_any({1: "x"})), "sparse weights.*got str 'x'"),
    "weights as None": (lambda: Vector(sparse=_any({1: None})), "sparse weights.*got None"),
    "tokens of two lengths": (lambda: Vector(colbert=_any([[1, 2], [1]])), "ColBERT row 0"),
    "one token": (lambda: Vector(colbert=np.ones(3)), r"shapes \(3,\); expected \(tokens, dim"),
    "tokens as text": (lambda: Vector(colbert=_any("x")), "ColBERT row 0: .*got str 'x'"),
    "index as text": (lambda: VECTORS[_any("a")], "expected the number of one row, got str 'a'"),
    "index as slice": (lambda: VECTORS[_any(slice(0, 1))], r"got slice; vectors\.slice\(start"),
    "index as float": (lambda: VECTORS[_any(0.5)], "expected the number of one row"),
    "slice of text": (lambda: VECTORS.slice(_any("a"), 2), "start: .*got str 'a'"),
    "take a row": (lambda: VECTORS.take(_any(0)), "rows: expected integers in a row"),
    "take text": (lambda: VECTORS.take(_any("a")), "rows: expected integers, got str 'a'"),
    "take a mask": (lambda: VECTORS.take(_any(np.array([True, False]))), "rows: .*type bool"),
    "take floats": (lambda: VECTORS.take(_any([0.5])), "rows: .*type float64"),
    "only of an encoder": (lambda: VECTORS.only(_any(ENCODER)), "schema: expected a Schema"),
    "join one": (lambda: Vectors.concatenate(_any(VECTORS)), "batches: expected a list of Vec"),
    "join vectors": (lambda: Vectors.concatenate(_any([QUERY])), "batches: each: expected Vect"),
    "join dimensions": (
        lambda: Vectors.concatenate([Vectors(dense=np.ones((1, n))) for n in (2, 3)]),
        "the dense vectors of a batch has dimension 3, expected 2",
    ),
    "stack arrays": (
        lambda: Vectors.from_rows(_any([np.ones(3)]), dense=3, sparse=False, colbert=None),
        "rows: each: expected a Vector",
    ),
    "load nothing": (lambda: Vectors.load(_any(None)), "path: expected the path of a file, got No"),
    "dict for rows": (lambda: SparseRows.from_dicts(_any({1: 0.5})), "sparse rows: .*got dict"),
    "text for rows": (lambda: SparseRows.from_dicts(_any("ab")), "sparse rows: .*got str 'ab'"),
    "no columns": (lambda: SparseRows(*_any([None] * 3)), "sparse indices: expected integers, got"),
    "float ids": (
        lambda: SparseRows(*_any([[0, 1], [1.5], [0.5]])),
        "sparse indices: expected integers in a row",
    ),
    "one array": (lambda: TokenRows.from_arrays(_any(np.ones((2, 3)))), "expected .tokens, dimens"),
    "text for arrays": (lambda: TokenRows.from_arrays(_any("x")), "ColBERT rows: .*got str 'x'"),
    "no tokens": (lambda: TokenRows(*_any([None, None])), "ColBERT values: expected numbers, got"),
    "weight as text": (lambda: Weights(_any("1"), 0.3, 1), "weight dense: .*, got str '1'"),
    "weight as None": (lambda: Weights(1, _any(None), 1), "weight sparse: .*, got None"),
    "weights in a tuple": (lambda: Weights(_any((1, 0.3, 1)), 0, 0), "weight dense: .*tuple of"),
    "score a text": (lambda: score(_any("q"), VECTORS[0]), f"query: {ENCODE}"),
    "score a batch": (lambda: score(QUERY, _any(VECTORS)), f"document: {ENCODE}"),
    "score a document": (lambda: score(QUERY, _any(DOCUMENTS[0])), f"document: {ENCODE}"),
    "score by numbers": (lambda: score(QUERY, VECTORS[0], _any((1, 1, 1))), "weights: expected W"),
    "score many of one": (lambda: score_many(QUERY, _any(VECTORS[0])), "documents: expected Vect"),
    "document of a dict": (
        lambda: Document(_any({"id": "a"}), ""),
        "document id .dict. must be a str",
    ),
    "metadata of pairs": (
        lambda: Document("a", "", _any([("a", 1)])),
        "metadata must be a dict, got list of tup",
    ),
    "dimension as text": (lambda: Schema(_any("1024"), True, None), "schema: dense='1024' must be"),
    "dimension as float": (lambda: Schema(_any(1024.0), True, None), "dense=1024.0 must be"),
    "dimension as bool": (lambda: Schema(_any(True), True, None), "dense=True must be"),
    "sparse as number": (lambda: Schema(None, _any(250_002), None), "sparse: expected True or Fal"),
    "model as None": (lambda: Schema(3, True, None, _any(None)), "model: .*got None"),
    "fits an encoder": (lambda: SCHEMA.held_by(_any(ENCODER)), "collection: expected a Schema"),
    "search with a text": (lambda: Search(filter=_any("x")), "'x' is not a filter; parse_filter"),
    "open nothing": (lambda: open_store(_any(None)), "None is not the URL of a store"),
    "open a path": (lambda: open_store(_any(Path("x"))), "is not the URL of a store"),
    "bytes as text": (lambda: open_store("memory:/x", batch_bytes="5"), "batch_bytes='5'"),
    "bytes as float": (lambda: open_store("memory:/x", batch_bytes=1.5), "batch_bytes=1.5 must"),
    "encode a text": (lambda: ENCODER.encode_documents("abc"), r"texts: expected a list of texts"),
    "encode nothing": (lambda: ENCODER.encode_documents(_any(None)), "texts: .*got None"),
    "encode documents": (lambda: ENCODER.encode_documents(_any(DOCUMENTS)), "text 0: .*Document"),
    "encode questions": (lambda: ENCODER.encode_query(_any(["abc"])), "text 0: .*list of str"),
    "tokens of a list": (lambda: ENCODER.tokens(_any(["abc"])), "text 0: expected a str"),
    "cache a text": (lambda: CACHED.encode_documents("abc"), "texts: expected a list of texts"),
    "cache questions": (lambda: CACHED.encode_query(_any(["abc"])), "text 0: expected a str"),
    "dimension of hashes": (lambda: HashEncoder(dense=_any("32")), "dense='32' must"),
}


@pytest.mark.parametrize(("call", "message"), OF_VALUES.values(), ids=OF_VALUES)
def test_a_slip_with_a_value(call: Call, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        call()


def test_a_file_that_holds_no_vectors(tmp_path: Path) -> None:
    file = tmp_path / "notes.safetensors"
    file.write_text("no vectors at all")
    with pytest.raises(InvalidVectorsError, match=r"notes\.safetensors' is not a file of"):
        Vectors.load(file)


def test_numbers_of_numpy_are_numbers(store: Store) -> None:
    schema = Schema(_any(np.int64(32)), _any(np.True_), _any(np.int32(16)))
    assert schema == Schema(32, True, 16)
    assert (type(schema.dense), type(schema.sparse)) == (int, bool)
    weights = Weights(_any(np.float32(0.5)), _any(np.int64(1)), 1)
    hits = store.search(QUERY, k=_any(np.int64(1)), weights=weights)
    assert [hit.document.id for hit in hits] == ["a"]
    assert [len(page.documents) for page in store.scan(batch_size=_any(np.int64(1)))] == [1, 1]
    assert VECTORS[_any(np.int64(1))].sparse == VECTORS[1].sparse
    sparse = Vector(sparse={int(i): np.float16(0.5) for i in np.arange(3)}).sparse  # type: ignore[misc]
    assert sparse == {0: 0.5, 1: 0.5, 2: 0.5}
