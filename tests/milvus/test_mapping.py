"""Rows of Milvus and back, without a client."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from trivec import Document, Schema, Vector, Vectors
from trivec.colbert_storage import ColbertStorage
from trivec.errors import InvalidDocumentError, InvalidVectorsError, StoreError
from trivec.fields import FieldType
from trivec.rows import SparseRows, TokenRows
from trivec.token_codes import TokenCodes
from trivec_milvus.mapping import (
    EMPTY_SPARSE,
    SENTINEL,
    codes_of,
    document_of,
    row_bytes,
    rows_of,
    token_bytes,
    vectors_of,
    without_reserved_index,
)
from trivec_milvus.packing import pack_codes, pack_tokens, unpack_codes, unpack_tokens
from trivec_milvus.schema import MAX_TOKENS, MAX_VARCHAR_BYTES, Layout, Storage

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
    np.testing.assert_array_equal(unpack_tokens(packed, dim), tokens)


def _small(bits: int) -> Layout:
    return Layout(SCHEMA, colbert=ColbertStorage(bits=bits))


@pytest.mark.parametrize("bits", [8, 4, 2, 1])
def test_codes_come_back_exactly(bits: int) -> None:
    layout = _small(bits)
    assert VECTORS.colbert is not None
    codes = TokenCodes.encode(VECTORS.colbert, bits)
    rows = rows_of(DOCUMENTS, VECTORS, layout)
    assert [(row["tokens"], len(row["colbert"]) > 0) for row in rows] == [(60, True), (0, False)]
    assert max(len(string) for string in rows[0]["colbert"]) <= MAX_VARCHAR_BYTES
    back = codes_of(rows, layout)
    np.testing.assert_array_equal(back.indptr, codes.indptr)
    np.testing.assert_array_equal(back.packed, codes.packed)
    np.testing.assert_array_equal(back.factors, codes.factors)
    decoded = vectors_of(rows, layout).colbert
    assert decoded is not None
    np.testing.assert_array_equal(decoded.values, codes.decoded().values)
    assert rows_of(DOCUMENTS, Vectors(colbert=decoded), layout)[0]["colbert"] == rows[0]["colbert"]


@pytest.mark.parametrize("bits", [8, 4, 2, 1])
@pytest.mark.parametrize("dim", [8, 24, 1024])
def test_as_many_codes_as_milvus_holds_fit_its_strings(bits: int, dim: int) -> None:
    rng = np.random.default_rng(bits)
    levels = rng.integers(0, 256, (4096, dim * bits // 8), np.uint8)
    factors = rng.random(4096).astype(np.float16)
    packed = pack_codes((levels, factors), bits)
    assert max(len(string) for string in packed) <= MAX_VARCHAR_BYTES
    assert len(packed) <= MAX_TOKENS
    back = unpack_codes(packed, bits, dim)
    np.testing.assert_array_equal(back[0], levels)
    np.testing.assert_array_equal(back[1], factors)


DAMAGED: dict[str, tuple[Any, str]] = {
    "of another type": (["int8 1 1024", "AAAA"], "int8.*a newer trivec"),
    "of another dimension": (["{type} 1 512", "AAAA"], "512.*1024"),
    "a header that is no header": (["", "AAAA"], "expected '{type} COUNT 1024'"),
    "a count that is no number": (["{type} x 1024", "AAAA"], "invalid literal"),
    "a negative count": (["{type} -1 1024", "AAAA"], "bytes, got 3"),
    "too short": (["{type} 1 1024", "AAAA"], "bytes, got 3"),
    "cut within four characters": (["{type} 1 1024", "AAAAA"], "base64|padding"),
    "foreign characters": (["{type} 1 1024", "AA ĄA"], "base64|ASCII"),
    "no strings": ([1, 2], "no attribute"),
    "no list": (7, "not subscriptable"),
}


@pytest.mark.parametrize("bits", [16, 8, 1])
@pytest.mark.parametrize("damaged", DAMAGED)
def test_damaged_strings_name_the_document(bits: int, damaged: str) -> None:
    layout, type = _small(bits), "float16" if bits == 16 else f"bits{bits}"
    strings, message = DAMAGED[damaged]
    if isinstance(strings, list):
        strings = [s.replace("{type}", type) if isinstance(s, str) else s for s in strings]
    rows = rows_of(DOCUMENTS, VECTORS, layout)
    rows[0]["colbert"] = strings
    message = message.replace("{type}", type)
    with pytest.raises(StoreError, match=f"'a': its ColBERT vectors cannot be read.*({message})"):
        vectors_of(rows, layout)


@pytest.mark.parametrize("factor", [np.nan, np.inf, -1.0])
def test_a_factor_that_no_code_has_names_the_document(factor: float) -> None:
    rows = rows_of(DOCUMENTS, VECTORS, _small(1))
    levels = np.zeros((2, 128), np.uint8)
    rows[0]["colbert"] = pack_codes((levels, np.array([1, factor], np.float16)), 1)
    with pytest.raises(StoreError, match=r"'a'.*factor"):
        codes_of(rows, _small(1))


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
    for bits in (16, 8, 4, 2, 1):
        (row, _) = rows_of(DOCUMENTS, VECTORS, _small(bits))
        sent = 24 + sum(len(string) for string in row["colbert"])
        assert row_bytes(VECTORS, _small(bits))[0] == pytest.approx(sent, rel=0.01)


def test_one_bit_and_pairs_take_less_than_a_sixtieth_before_base64() -> None:
    """200 tokens of 1,024 dimensions, of which pooling leaves 100."""
    small = ColbertStorage(bits=1, pool=2)
    layout = replace(_small(1), colbert=small)
    sent = small.kept(200) * token_bytes(layout)
    assert sent * 3 / 4 <= 200 * 4096 / 60
    assert sent <= 200 * 4096 / 47
