"""Arguments in the wrong place or of the wrong kind: an error that says which and what instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

import trivec
from trivec import Document, Hit, Store, Weights, open_store
from trivec.errors import InvalidInputError, SchemaMismatchError
from trivec.schema import Schema
from trivec.scores import Scores
from trivec.testing import HashEncoder

# As a program without type checks calls them.
copy: Any = trivec.copy
evaluate: Any = trivec.evaluate
explain: Any = trivec.explain
ingest: Any = trivec.ingest
tune: Any = trivec.tune

ONE = Document("a", "blue whale")
QUERIES = {str(i): "whale" for i in range(4)}
QRELS = {one: {"a": 1} for one in QUERIES}


@pytest.fixture
def store(encoder: HashEncoder) -> Iterator[Store]:
    with open_store(f"memory:/slips-{uuid4().hex}") as store:
        store.create(encoder.schema)
        store.upsert([ONE], HashEncoder().encode_documents([ONE.text]))
        yield store
        store.drop()


Call = Callable[[Any, Any], object]
SLIPS: dict[str, tuple[Call, str]] = {
    "encoder and store swapped": (
        lambda e, s: ingest([ONE], s, e),
        r"ingest: encoder: .*Store.*the encoder and the store are swapped",
    ),
    "one document": (
        lambda e, s: ingest(ONE, e, s),
        r"ingest: documents: .*trivec\.document\.Document; put it into a list",
    ),
    "a path": (
        lambda e, s: ingest("articles.jsonl", e, s),
        r"documents: .*Source\('articles.jsonl'\)",
    ),
    "a mapping": (lambda e, s: ingest({"a": ONE}, e, s), "documents: .* got dict"),
    "nothing to iterate": (lambda e, s: ingest(7, e, s), "documents: .* got int 7"),
    "None": (lambda e, s: ingest(None, e, s), "documents: .* got None"),
    "a store as the source": (lambda e, s: ingest(s, e, s), "documents: .*`copy`"),
    "texts": (lambda e, s: ingest(["blue whale"], e, s), "got str 'blue whale' after 0 others"),
    "rows": (lambda e, s: ingest([ONE, {"id": "b"}], e, s), "got dict after 1 others"),
    "a URL": (
        lambda e, s: ingest([ONE], e, "memory:/a"),
        r"store: .*open_store\('memory:/a'\)",
    ),
    "a model's name": (
        lambda e, s: ingest([ONE], "BAAI/bge-m3", s),
        r"encoder: .*open_encoder\('BAAI/bge-m3'\)",
    ),
    "a class": (lambda e, s: ingest([ONE], HashEncoder, s), "encoder: .*the class .*HashEncoder"),
    "part_bytes": (lambda e, s: ingest([ONE], e, s, part_bytes="1"), "part_bytes='1' must be"),
    "part_bytes 0": (lambda e, s: ingest([ONE], e, s, part_bytes=0), "part_bytes=0 must be"),
    "journal": (lambda e, s: ingest([ONE], e, s, journal=True), "journal: .*got bool True"),
    "prune": (lambda e, s: ingest([ONE], e, s, prune="no"), "prune: .*got str 'no'"),
    "on_error": (lambda e, s: ingest([ONE], e, s, on_error=[]), r"on_error=\[\]"),
    "rejected": (lambda e, s: ingest([ONE], e, s, rejected="x"), "rejected: expected a function"),
    "progress": (lambda e, s: ingest([ONE], e, s, progress=1), "progress: expected a function"),
    "copy from a URL": (lambda e, s: copy("memory:/a", s), "copy: source: .*open_store"),
    "copy to an encoder": (lambda e, s: copy(s, e), "copy: destination: .*HashEncoder"),
    "copy a sample": (lambda e, s: copy(s, s, sample="2"), "sample='2' must be"),
    "copy a journal": (lambda e, s: copy(s, s, journal=1), "journal: .*got int 1"),
    "copy set_fields": (lambda e, s: copy(s, s, set_fields=["a"]), "set_fields: .*list of str"),
    "evaluate swapped": (
        lambda e, s: evaluate(e, s, QUERIES, QRELS),
        "evaluate: store: .*HashEncoder; the encoder and the store are swapped",
    ),
    "evaluate queries": (lambda e, s: evaluate(s, e, ["whale"], QRELS), "queries: .*list of str"),
    "evaluate a text": (lambda e, s: evaluate(s, e, {"0": 7}, QRELS), r"queries\['0'\]: .*int 7"),
    "evaluate qrels": (lambda e, s: evaluate(s, e, QUERIES, ["a"]), "qrels: .*list of str"),
    "evaluate grades": (lambda e, s: evaluate(s, e, QUERIES, {"0": "a"}), r"qrels\['0'\]: .*'a'"),
    "evaluate metrics": (lambda e, s: evaluate(s, e, QUERIES, QRELS, metrics="RR"), "metrics='RR'"),
    "evaluate modes": (lambda e, s: evaluate(s, e, QUERIES, QRELS, modes=5), "modes=5"),
    "evaluate k": (lambda e, s: evaluate(s, e, QUERIES, QRELS, k="5"), "k.*'5'"),
    "evaluate weights": (lambda e, s: evaluate(s, e, QUERIES, QRELS, weights=(1, 1, 1)), "weights"),
    "evaluate filter": (lambda e, s: evaluate(s, e, QUERIES, QRELS, filter={"a": 1}), "filter"),
    "tune swapped": (lambda e, s: tune(e, s, QUERIES, QRELS), "tune: store: .*swapped"),
    "tune metric": (lambda e, s: tune(s, e, QUERIES, QRELS, metric=["RR"]), "metric: .*list"),
    "tune baseline": (lambda e, s: tune(s, e, QUERIES, QRELS, baseline=(1, 1, 1)), "weights"),
    "tune candidates": (lambda e, s: tune(s, e, QUERIES, QRELS, candidates="9"), "candidates.*'9'"),
    "tune seed": (lambda e, s: tune(s, e, QUERIES, QRELS, seed="a"), "seed='a'"),
    "explain swapped": (lambda e, s: explain(e, "whale", ONE), "explain: query: .*HashEncoder"),
    "explain a store": (lambda e, s: explain("whale", ONE, s), "explain: encoder: .*Store"),
    "explain a hit": (
        lambda e, s: explain("whale", Hit(ONE, 1.0, Scores(1.0)), e),
        r"got a hit: hit\.document",
    ),
    "explain documents": (lambda e, s: explain("whale", [ONE], e), "explain: document: .*list of"),
    "explain a batch": (
        lambda e, s: explain("whale", ONE, e, document_vector=s.get(["a"], with_vectors=True)[1]),
        r"document_vector: expected one Vector, such as the row vectors\[0\]",
    ),
    "explain weights": (lambda e, s: explain("whale", ONE, e, weights=(1, 1, 1)), "weights: "),
}  # fmt: skip


@pytest.mark.parametrize(("call", "message"), SLIPS.values(), ids=SLIPS)
def test_a_slip_is_told_before_anything_is_encoded(
    encoder: HashEncoder, store: Store, call: Call, message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        call(encoder, store)
    assert encoder.encoded <= ("after 1 others" in message)
    assert store.count() == 1


def test_another_model_is_told_before_anything_is_encoded(
    encoder: HashEncoder, store: Store
) -> None:
    store.drop()
    store.create(Schema(dense=32, sparse=True, colbert=16, model="maker/other"))
    calls: list[Callable[[], object]] = [
        lambda: ingest([ONE], encoder, store),
        lambda: evaluate(store, encoder, QUERIES, QRELS),
        lambda: tune(store, encoder, QUERIES, QRELS),
    ]
    for call in calls:
        with pytest.raises(
            SchemaMismatchError, match=r"'hash'.*'maker/other'|'maker/other'.*'hash'"
        ):
            call()
    assert encoder.encoded == 0
    store.drop()
    store.create(Schema(dense=32, sparse=True, colbert=16, model="maker/hash"))  # one of its names
    assert ingest([ONE], encoder, store).documents == 1
    assert evaluate(store, encoder, QUERIES, QRELS, metrics=["RR"]).result("hybrid").mean("RR") == 1
    assert tune(store, encoder, QUERIES, QRELS).baseline == Weights.GENERAL
