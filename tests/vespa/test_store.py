"""What Vespa's own container answers, and what the connector makes of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trivec import Document, F, Schema, Store, Vector, Vectors, copy, open_store
from trivec.errors import (
    CollectionNotFoundError,
    IncompleteResultError,
    InvalidDocumentError,
    InvalidOptionError,
    InvalidVectorsError,
    SchemaMismatchError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
)
from trivec.rows import SparseRows, TokenRows
from trivec.search import Mode
from trivec_vespa.client import Request, query
from trivec_vespa.mapping import document_path
from trivec_vespa.replies import Result, acknowledged


def _vectors(count: int, seed: int = 0) -> Vectors:
    rng = np.random.default_rng(seed)
    dense = rng.standard_normal((count, 8))
    tokens = [rng.standard_normal((int(rng.integers(1, 6)), 16)) for _ in range(count)]
    return Vectors(
        dense=dense / np.linalg.norm(dense, axis=1, keepdims=True),
        sparse=SparseRows.from_dicts([{i % 5: 0.5, 9: 0.1} for i in range(count)]),
        colbert=TokenRows.from_arrays(
            [(t / np.linalg.norm(t, axis=1, keepdims=True)).astype(np.float32) for t in tokens]
        ),
    )


def _put(store: Store, id: str, fields: dict[str, Any]) -> None:
    path = document_path("test", id)
    _backend(store).client.send(Request("POST", path, acknowledged, lambda: {"fields": fields}))


def _backend(store: Store) -> Any:
    return store._handle.backend


def _query(store: Store, body: dict[str, Any]) -> Result:
    backend = _backend(store)
    answer: Result = backend.client.send(backend._query(body))
    return answer


def test_short_tensors_are_refused_before_vespa_pads_them(store: Store) -> None:
    _put(store, "short", {"dense_rep": [1.0, 2.0]})  # no error: the other six become 0
    with pytest.raises(InvalidVectorsError, match="dimension 2"):
        store.upsert([Document("a", "")], Vectors(dense=np.ones((1, 2))))
    with pytest.raises(InvalidVectorsError, match="dimension 2"):
        store.search(Vector(dense=np.ones(2, np.float32)), mode="dense")


def test_a_long_tensor_answers_500_which_is_not_retried(store: Store) -> None:
    with pytest.raises(StoreError, match=r"status 500.*out of bounds") as caught:
        _put(store, "long", {"dense_rep": [1.0] * 9})
    assert not isinstance(caught.value, StoreUnavailableError)


def test_the_first_of_several_values_counts(store: Store) -> None:
    documents = [Document(lang, "", {"lang": lang}) for lang in ("en", "de", "fr")]
    store.upsert(documents, _vectors(3))
    assert store.count(F("lang").in_(["en", "de"])) == 2
    assert store.count(F("lang").in_(["en"])) == 1


def test_what_was_written_without_a_description_is_dropped_and_not_adopted(
    store: Store, open_vespa: Any, schema: Schema
) -> None:
    other = open_vespa()
    assert other.count() == 0
    store.drop()
    _put(other, "late", {"id": "late", "parts": 0})  # by a writer that did not know yet
    with pytest.raises(SchemaMismatchError, match="holds 1 documents that no collection describes"):
        store.create(schema, fields={"lang": str})
    store.drop()
    store.create(schema, fields={"lang": str})
    assert store.count() == 0


def test_a_writer_learns_that_the_collection_was_dropped_meanwhile(
    store: Store, open_vespa: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = open_vespa()
    send = _backend(other).send

    def drop_and_send(request: Any) -> Any:
        if request.method == "POST":
            store.drop()
        return send(request)

    monkeypatch.setattr(_backend(other), "send", drop_and_send)
    with pytest.raises(CollectionNotFoundError):
        other.upsert([Document("late", "")], _vectors(1))
    store.drop()
    assert _backend(store).lifecycle.documents() == 0


def test_a_schema_of_somebody_else_is_not_emptied(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.upsert([Document("a", "")], _vectors(1))
    lifecycle = _backend(store).lifecycle
    _backend(store).client.send(Request("DELETE", lifecycle.description, acknowledged))

    def without_parts(body: Any, name: str, **options: Any) -> Any:
        return query({**body, "yql": body["yql"].replace("parts", "nosuch")}, name, **options)

    monkeypatch.setattr("trivec_vespa.lifecycle.query", without_parts)
    store.drop()
    monkeypatch.undo()
    assert lifecycle.documents() == 1


def test_deleting_what_is_not_there_is_no_error(store: Store) -> None:
    store.upsert([Document("a", "")], _vectors(1))
    store.delete(["b"])
    assert store.count() == 1


def test_partial_coverage_is_an_error_unless_allowed(store: Store, open_vespa: Any) -> None:
    store.upsert([Document(f"d{i}", "") for i in range(3)], _vectors(3))
    half = {
        "yql": "select id from sources * where true",
        "ranking.properties.standin.coverage": 0.5,
    }
    with pytest.raises(IncompleteResultError, match=r"50 % .*timeout.*allow_partial"):
        _query(store, half)
    assert _query(open_vespa(allow_partial=True), half).coverage["coverage"] == 50


def test_errors_of_content_nodes_are_errors(store: Store, open_vespa: Any) -> None:
    body = {
        "yql": "select id from sources * where true",
        "ranking.properties.standin.error": "boom",
    }
    with pytest.raises(StoreError, match="boom"):
        _query(store, body)
    slow = {**body, "ranking.properties.standin.delay-ms": 900}
    with pytest.raises(StoreUnavailableError, match="504"):
        _query(open_vespa(timeout=0.3), slow)


@pytest.mark.parametrize(
    ("id", "error", "message"),
    [
        ("standin-no-space", StoreFullError, "standin-no-space: status 507.*nearly full"),
        ("standin-fail", StoreError, "'standin-fail'.*500"),
        ("standin-overload", StoreUnavailableError, "429"),
    ],
)
def test_refused_writes(
    id: str, error: type[StoreError], message: str, store: Store, waits: list[Any]
) -> None:
    with pytest.raises(error, match=message):
        store.upsert([Document("good", ""), Document(id, "")], _vectors(2))
    assert bool(waits) == (error is StoreUnavailableError)


def test_the_description_is_no_document(store: Store, open_vespa: Any) -> None:
    store.upsert([Document("a", ""), Document("b", "", {"lang": "en"})], _vectors(2))
    assert store.count(F("lang").is_null()) == 1
    store.delete_where(F("year").is_null())
    assert store.count() == 0
    assert list(store.scan()) == []
    assert open_vespa().schema == store.schema


def test_rare_tokens_and_tiny_weights_are_found(store: Store) -> None:
    rows: list[dict[int, float]] = [{2**31 + 7: 0.3}, {2**32 - 2: 1e-6}, {7: 0.5}]
    vectors = Vectors(sparse=SparseRows.from_dicts(rows))
    store.upsert([Document(str(i), "") for i in range(3)], vectors)
    for i, row in enumerate(rows):
        hits = store.search(Vector(sparse={next(iter(row)): 0.5}), mode="sparse")
        assert [hit.document.id for hit in hits] == [str(i)]
        assert hits[0].score == pytest.approx(0.5 * next(iter(row.values())))
    page = store.get(["0", "1", "2"], with_vectors=True)
    assert page.vectors is not None
    assert page.vectors.sparse is not None
    assert [dict(page.vectors.sparse.row(i)) for i in range(3)] == [
        {key: pytest.approx(value) for key, value in row.items()} for row in rows
    ]


def test_what_is_stored_is_the_nearest_bfloat16(store: Store) -> None:
    vectors = _vectors(5)
    store.upsert([Document(str(i), "") for i in range(5)], vectors)
    back = store.get([str(i) for i in range(5)], with_vectors=True).vectors
    assert back is not None
    assert back.dense is not None
    assert back.colbert is not None
    assert vectors.dense is not None
    assert vectors.colbert is not None
    pairs = [(back.dense, vectors.dense), (back.colbert.values, vectors.colbert.values)]
    for got, wanted in pairs:
        # Half a unit in the last of 8 bits; cutting bits off would miss by a whole one.
        assert np.all(np.abs(got - wanted) <= np.abs(wanted) * 2.0**-8)


def test_refused_text_stops_a_write_before_it_starts(store: Store, open_vespa: Any) -> None:
    documents = [Document("a", "fine"), Document("b", "bell \x07")]
    with pytest.raises(InvalidDocumentError, match=r"'b': its text holds U\+0007"):
        store.upsert(documents, _vectors(2))
    assert store.count() == 0
    open_vespa(text_errors="replace").upsert(documents, _vectors(2))
    assert store.get(["b"]).documents[0].text == "bell \ufffd"


def test_a_copy_with_replaced_characters_reports_no_difference(
    store: Store, open_vespa: Any
) -> None:
    documents = [Document("a", "fine"), Document("b", "bell \x07", {"note": "bell \x07"})]
    with open_store(f"memory:/{store.name}") as source, open_vespa(text_errors="replace") as target:
        source.create(store.schema)
        source.upsert(documents, _vectors(2))
        report = copy(source, target)
        assert (report.written.documents, report.verification.problems) == (2, ())
        assert target.get(["b"]).documents[0].text == "bell \ufffd"
        source.drop()


def test_equal_scores_beyond_the_candidates_are_settled_by_id(store: Store) -> None:
    same = _vectors(1).take([0] * 60)
    order = np.random.default_rng(2).permutation(60)
    store.upsert([Document(f"t{i:02d}", "") for i in order], same)
    modes: tuple[Mode, ...] = ("dense", "sparse", "hybrid", "rrf")
    for mode in modes:
        hits = store.search(same[0], k=5, candidates=5, mode=mode)
        assert [hit.document.id for hit in hits] == [f"t{i:02d}" for i in range(5)], mode


@pytest.mark.parametrize(("mode", "most"), [("dense", 10_000), ("hybrid", 5000)])
def test_more_hits_than_vespa_returns_are_refused(store: Store, mode: Mode, most: int) -> None:
    query = _vectors(1)[0]
    assert store.search(query, mode=mode, k=most) == []
    with pytest.raises(InvalidOptionError, match="10000 hits"):
        store.search(query, mode=mode, k=most + 1)


def test_delete_where_deletes_more_than_one_page(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trivec_vespa.store._PAGE", 7)
    store.upsert([Document(f"d{i}", "", {"year": i}) for i in range(30)], _vectors(30))
    store.delete_where(F("year") < 20)
    assert store.count() == 10
