"""Documents and vectors survive the way into points and back."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trivec import Document, Vectors
from trivec.errors import InvalidDocumentError, InvalidOptionError
from trivec.rows import SparseRows, TokenRows
from trivec.schema import Schema
from trivec_qdrant import Names
from trivec_qdrant.mapping import (
    PointVectors,
    Row,
    columns,
    document,
    payload,
    point_id,
    point_vectors,
    stored_id,
)

# A busy machine is no failure.
CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
IDS = TEXT.filter(bool)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
METADATA = st.dictionaries(TEXT, JSON, max_size=4)


@CALM
@given(IDS, TEXT, METADATA, st.sampled_from([Names(), Names(text="page_content", id="_id")]))
def test_documents_round_trip(one: str, text: str, metadata: Any, names: Names) -> None:
    given_ = Document(one, text, metadata)
    stored = json.loads(json.dumps(payload(given_, names)))
    back = document(Row(str(point_id(one, names)), stored, PointVectors()), names)
    assert back == given_
    assert repr(back.metadata) == repr(given_.metadata)


@CALM
@given(IDS, IDS)
def test_point_ids_are_uuids_of_their_own(one: str, other: str) -> None:
    first, second = point_id(one, Names()), point_id(other, Names())
    assert UUID(str(first))
    assert (first == second) == (one == other)
    assert first == point_id(one, Names())


ROWS = st.lists(
    st.tuples(
        st.booleans(),
        st.dictionaries(st.integers(0, 300_000), st.floats(0.0625, 1, width=32), max_size=5),
        st.integers(0, 4),
    ),
    max_size=6,
)


@CALM
@given(ROWS)
def test_vectors_round_trip(rows: list[tuple[bool, dict[int, float], int]]) -> None:
    rng = np.random.default_rng(0)
    vectors = Vectors(
        dense=np.array([rng.random(3) * there for there, _, _ in rows], np.float32).reshape(-1, 3),
        sparse=SparseRows.from_dicts([sparse for _, sparse, _ in rows]),
        colbert=TokenRows.from_arrays([rng.random((n, 2)) for _, _, n in rows], dim=2),
    )
    points = list(point_vectors(vectors))
    for point, (there, sparse, tokens) in zip(points, rows, strict=True):
        assert (point.dense is not None) == there
        assert (point.indices is not None) == bool(sparse)
        assert (point.colbert is not None) == bool(tokens)
    back = columns(points, Schema(dense=3, sparse=True, colbert=2))
    np.testing.assert_array_equal(back.dense, vectors.dense)
    for found, wanted in zip(back, vectors, strict=True):
        assert found.sparse == wanted.sparse
        np.testing.assert_array_equal(found.colbert, wanted.colbert)


def test_lexical_weights_of_others_are_put_in_order() -> None:
    row = PointVectors(
        indices=np.array([9, 3, 5], np.uint32), weights=np.array([0.5, 0.25, 0], np.float32)
    )
    back = columns([row, PointVectors()], Schema(dense=None, sparse=True, colbert=None))
    assert [vector.sparse for vector in back] == [{3: 0.25, 9: 0.5}, {}]


def test_flat_metadata_and_ids_of_points() -> None:
    names = Names(id="", text="body", metadata="")
    one = Document(str(uuid4()), "text", {"lang": "en"})
    assert payload(one, names) == {"lang": "en", "body": "text"}
    point = str(point_id(one.id, names))
    assert document(Row(point, payload(one, names), PointVectors()), names) == one
    assert point_id("17", names) == stored_id("17") == 17
    with pytest.raises(InvalidDocumentError, match=r"'a-1'.*UUID"):
        point_id("a-1", names)
    with pytest.raises(InvalidDocumentError, match=r"'17'.*body"):
        payload(Document("17", "", {"body": "other"}), names)


def test_a_payload_of_someone_else_is_a_document() -> None:
    empty = document(Row("17", {}, PointVectors()), Names())
    assert empty == Document("17", "")
    partly = document(Row("17", {"text": None, "metadata": None}, PointVectors()), Names())
    assert partly == Document("17", "")


@pytest.mark.parametrize(
    "options", [{"dense": "sparse"}, {"id": "text"}, {"text": ""}, {"metadata": "a.b"}]
)
def test_names_that_cannot_be_meant_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(InvalidOptionError):
        Names(**options)
