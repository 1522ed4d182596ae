"""Rows of Milvus and back, without a client."""

from __future__ import annotations

import numpy as np
import pytest

from trivec import Document, Schema, Vector, Vectors
from trivec.colbert_storage import ColbertStorage
from trivec.errors import InvalidDocumentError, InvalidVectorsError, StoreError
from trivec.fields import FieldType
from trivec.rows import SparseRows, TokenRows
from trivec_milvus.mapping import (
    EMPTY_SPARSE,
    SENTINEL,
    document_of,
    pack_tokens,
    row_bytes,
    rows_of,
    unpack_tokens,
    vectors_of,
    without_reserved_index,
)
from trivec_milvus.schema import MAX_VARCHAR_BYTES, Layout, Storage

SCHEMA = Schema(dense=4, sparse=True, colbert=1024)
VECTORS = Vectors(
    dense=np.array([[1, 0, 0, 0], [0, 0, 0, 0]], np.float32),
    sparse=SparseRows.from_dicts([{7: 0.5}, {}]),
    colbert=TokenRows.from_arrays(
        [
            np.random.default_rng(0).standard_normal((60, 1024)).astype(np.float32),
            np.zeros((0, 1024)),
        ]
    ),
)
DOCUMENTS = [Document("a", "text", {"x": 1}), Document("b", "")]


def _layout(storage: Storage = "payload", **fields: FieldType) -> Layout:
    half = storage == "payload"
    colbert = ColbertStorage(bits=16 if half else 32)
    return Layout(SCHEMA, fields, colbert, storage=storage, half=half)


@pytest.mark.parametrize("storage", ["payload", "native"])
def test_rows_come_back_as_they_were(storage: Storage) -> None:
    layout = _layout(storage)
    made = rows_of(DOCUMENTS, VECTORS, layout)
    assert [document_of(row, layout) for row in made] == DOCUMENTS
    back = vectors_of(made, layout)
    assert back.dense is not None
    assert back.sparse is not None
    assert back.colbert is not None
    assert VECTORS.colbert is not None
    np.testing.assert_array_equal(back.dense, VECTORS.dense)
    assert [back.sparse.row(0), back.sparse.row(1)] == [{7: 0.5}, {}]
    np.testing.assert_array_equal(back.colbert.indptr, [0, 60, 60])
    exact = VECTORS.colbert.values
    if storage == "payload":
        exact = exact.astype(np.float16)
    np.testing.assert_array_equal(back.colbert.values, exact)
    assert back.colbert.values.dtype == exact.dtype


def test_token_vectors_reach_the_client_without_a_copy() -> None:
    (row, _) = rows_of(DOCUMENTS, VECTORS, _layout("native"))
    assert VECTORS.colbert is not None
    assert all(np.shares_memory(s["vec"], VECTORS.colbert.values) for s in row["colbert"])


def test_what_is_absent_is_marked() -> None:
    present, absent = rows_of(DOCUMENTS, VECTORS, _layout())
    assert (present["has_dense"], present["tokens"]) == (True, 60)
    assert (absent["has_dense"], absent["tokens"], absent["colbert"]) == (False, 0, [])
    assert absent["sparse"] == EMPTY_SPARSE
    assert list(EMPTY_SPARSE) == [SENTINEL]
    query = without_reserved_index(Vector(sparse={SENTINEL: 1.0, 3: 0.5}))
    assert query.sparse == {3: 0.5}


def test_the_reserved_index_is_refused() -> None:
    vectors = Vectors(sparse=SparseRows.from_dicts([{2**32 - 2: 1.0}]))
    with pytest.raises(InvalidVectorsError, match=r"'a'.*reserved"):
        rows_of(
            DOCUMENTS[:1],
            vectors,
            Layout(Schema(dense=None, sparse=True, colbert=None)),
        )


@pytest.mark.parametrize("dim", [1, 3, 128, 1024, 4096])
def test_packed_tokens_fit_the_strings_of_milvus(dim: int) -> None:
    tokens = np.random.default_rng(dim).standard_normal((100, dim)).astype(np.float16)
    packed = pack_tokens(tokens)
    assert max(len(s) for s in packed) <= MAX_VARCHAR_BYTES
    np.testing.assert_array_equal(unpack_tokens(packed), tokens)


def test_packed_tokens_of_another_kind_are_refused() -> None:
    with pytest.raises(StoreError, match="int8"):
        unpack_tokens(["int8 1 4", "AAAA"])


@pytest.mark.parametrize("text", ["x" * 65_535, "x" * 65_536, "🐋" * 40_000, "aż" * 70_000])
def test_a_long_text_is_cut_between_characters_and_joined_again(text: str) -> None:
    layout = _layout()
    one = Document("a", text)
    (row,) = rows_of([one], VECTORS.slice(0, 1), layout)
    pieces = [row["text"], *row["text_more"]]
    assert max(len(piece.encode()) for piece in pieces) <= MAX_VARCHAR_BYTES
    assert document_of(row, layout) == one


def test_metadata_that_filters_cannot_hold_names_the_document() -> None:
    long = Document("long", "", {"tags": ["_" * 30_000]})
    with pytest.raises(InvalidDocumentError, match=r"'long'.*'tags' takes 9"):
        rows_of([long], VECTORS.slice(0, 1), _layout(tags=FieldType.LIST_STR))
    many = Document("many", "", {f"k{i}": i for i in range(3000)})
    with pytest.raises(InvalidDocumentError, match=r"'many'.*65,536"):
        rows_of([many], VECTORS.slice(0, 1), _layout())


def test_row_bytes_are_those_on_the_wire() -> None:
    np.testing.assert_array_equal(row_bytes(VECTORS, _layout("native")), [16 + 8 + 60 * 4096, 16])
    assert VECTORS.colbert is not None
    packed = sum(len(string) for string in pack_tokens(VECTORS.colbert.row(0)))
    assert row_bytes(VECTORS, _layout())[0] == pytest.approx(packed, rel=0.01)
