"""Token vectors in 8, 4, 2 and 1 bits: exact inverses, unbiased products, columns."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from trivec.errors import InvalidVectorsError
from trivec.pooling import pool_rows
from trivec.rotation import rotated_back
from trivec.rows import TokenRows
from trivec.scores import maxsim
from trivec.token_codes import TokenCodes

BITS = (8, 4, 2, 1)
FACTOR_MIN = 2.0**-25  # shorter vectors have a factor of 0 in float16


def units(seed: int, rows: int, dim: int) -> NDArray[np.float32]:
    values = np.random.default_rng(seed).standard_normal((rows, dim))
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)


def encoded(values: NDArray[Any], bits: int) -> TokenCodes:
    return TokenCodes.encode(TokenRows.from_arrays([values]), bits)


def assert_same(one: TokenCodes, other: TokenCodes) -> None:
    assert one.bits == other.bits
    np.testing.assert_array_equal(one.indptr, other.indptr)
    np.testing.assert_array_equal(one.packed, other.packed)
    np.testing.assert_array_equal(one.factors, other.factors)


def _shape(name: str, rng: np.random.Generator, rows: int, dim: int) -> NDArray[Any]:
    values = rng.standard_normal((rows, dim))
    scale = 10.0 ** rng.uniform(-1, 1, (rows, 1))
    match name:
        case "random":
            return values * scale
        case "one-hot":
            return np.eye(dim)[rng.integers(dim, size=rows)] * scale * np.sign(values[:, :1])
        case "constant":
            return np.ones((rows, dim)) * values[:, :1]
        case "zero":
            return np.where(rng.random((rows, dim)) < 0.5, 0.0, -0.0)
        case "tiny":
            return values * 10.0 ** rng.uniform(-45, -4, (rows, 1))
        case "large":
            return values * 10.0 ** rng.uniform(1, 3.5, (rows, 1))
        case "one outlier":
            values[:, 0] *= 100
            return values
    return values.astype(np.float16)


SHAPES = ["random", "one-hot", "constant", "zero", "tiny", "large", "one outlier", "float16"]


@settings(deadline=None)
@given(
    st.sampled_from(SHAPES),
    st.sampled_from(BITS),
    st.sampled_from([8, 16, 24, 40, 64, 128, 1024]),
    st.integers(0, 5),
    st.integers(0, 10_000),
)
def test_what_was_decoded_is_encoded_as_before(
    name: str, bits: int, dim: int, rows: int, seed: int
) -> None:
    values = _shape(name, np.random.default_rng(seed), rows, dim)
    codes = encoded(np.asarray(values, np.float16 if name == "float16" else np.float32), bits)
    decoded = codes.decoded()
    assert decoded.values.dtype == np.float32
    again = TokenCodes.encode(decoded, bits)
    assert_same(again, codes)
    np.testing.assert_array_equal(again.decoded().values, decoded.values)


@pytest.mark.parametrize("bits", BITS)
def test_zeros_and_what_is_too_short_are_zeros(bits: int) -> None:
    values = np.full((4, 16), 1e-42, np.float32)
    values[1], values[2], values[3] = 0, -0.0, -FACTOR_MIN / 64
    codes = encoded(values, bits)
    assert not codes.decoded().values.any()
    assert len(np.unique(codes.packed, axis=0)) == 1


@pytest.mark.parametrize("length", [1e30, 3e38])
@pytest.mark.parametrize("bits", BITS)
def test_what_is_too_long_is_an_error_that_names_the_row(bits: int, length: float) -> None:
    rows = TokenRows.from_arrays([np.ones((2, 16)), np.full((1, 16), length)])
    with pytest.raises(InvalidVectorsError, match=f"row 1 .* too long for {bits} bits"):
        TokenCodes.encode(rows, bits)


@pytest.mark.parametrize(("bits", "size"), [(8, 16), (4, 8), (2, 4), (1, 2)])
def test_the_columns(bits: int, size: int) -> None:
    codes = encoded(units(0, 3, 16), bits)
    assert codes.packed.dtype == np.uint8
    assert codes.packed.shape == (3, size)
    assert codes.factors.dtype == np.float16
    assert (codes.dim, len(codes)) == (16, 1)


@pytest.mark.parametrize(
    ("bits", "packed", "levels"),
    [
        (1, [0b10110001], [1, -1, 1, 1, -1, -1, -1, 1]),
        (2, [0b00011011, 0b11100100], [-1, -1 / 3, 1 / 3, 1, 1, 1 / 3, -1 / 3, -1]),
        (4, [0xF0, 0xFF, 0x05, 0x0A], [1, -1, 1, 1, -1, -1 / 3, -1, 1 / 3]),
        (8, [255, 0, 255, 51, 0, 85, 170, 204], [1, -1, 1, -0.6, -1, -1 / 3, 1 / 3, 0.6]),
    ],
)
def test_the_first_number_has_the_highest_bits(
    bits: int, packed: list[int], levels: list[float]
) -> None:
    columns = np.array([packed, packed], np.uint8), np.array([1, 0.5], np.float16)
    codes = TokenCodes(bits, np.array([0, 2]), *columns)
    vectors = codes.vectors(np.arange(2))
    np.testing.assert_allclose(vectors, np.outer([1, 0.5], levels), atol=1e-6)
    np.testing.assert_allclose(codes.decoded().values, rotated_back(vectors), atol=1e-6)


@pytest.mark.parametrize(("bits", "error"), [(8, 0.002), (4, 0.03), (2, 0.15), (1, 0.36)])
def test_more_bits_are_nearer(bits: int, error: float) -> None:
    values = units(1, 500, 128)
    distance = encoded(values, bits).decoded().values - values
    assert (distance**2).sum(axis=1).mean() < 2 * error
    own = np.einsum("ij,ij->i", values, encoded(values, bits).decoded().values)
    np.testing.assert_allclose(own, 1, atol=2e-3)  # the factor is chosen for this


@pytest.mark.parametrize("bits", BITS)
def test_dot_products_are_unbiased(bits: int) -> None:
    documents, queries = units(2, 4000, 64), units(3, 4000, 64)
    queries = 0.6 * documents + 0.8 * queries  # as of tokens that match
    exact = np.einsum("ij,ij->i", documents, queries)
    estimate = np.einsum("ij,ij->i", encoded(documents, bits).decoded().values, queries)
    difference = estimate - exact
    assert abs(difference.mean()) < 4 * difference.std() / np.sqrt(len(difference)) + 1e-4
    slope = np.dot(estimate, exact) / np.dot(exact, exact)
    assert slope == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("dim", [8, 16, 128])
@pytest.mark.parametrize("bits", BITS)
def test_products_are_those_of_the_decoded_vectors(bits: int, dim: int) -> None:
    codes, queries = encoded(units(5, 5000, dim), bits), units(6, 7, dim)
    decoded = codes.decoded().values
    for tokens in (slice(0, 5000), slice(17, 4500), slice(3, 3)):
        products = codes.products(tokens, np.ascontiguousarray(codes.turned(queries).T))
        np.testing.assert_allclose(products, decoded[tokens] @ queries.T, atol=1e-5)
    positions = np.array([4999, 0, 0, 4096, 17])
    turned = rotated_back(codes.vectors(positions))
    np.testing.assert_allclose(turned, decoded[positions], atol=1e-6)


@pytest.mark.parametrize("bits", BITS)
def test_scores_are_those_of_the_decoded_vectors(bits: int) -> None:
    rng = np.random.default_rng(7)
    texts = [units(100 + i, int(rng.integers(0, 30)), 32) for i in range(200)]
    codes = TokenCodes.encode(TokenRows.from_arrays(texts, dim=32), bits)
    query = units(8, 9, 32)
    np.testing.assert_allclose(maxsim(query, codes), maxsim(query, codes.decoded()), atol=1e-6)
    assert maxsim(np.zeros((0, 32), np.float32), codes).tolist() == [0.0] * 200
    with pytest.raises(InvalidVectorsError, match="16 ColBERT dimensions, the documents 32"):
        maxsim(query[:, :16], codes)


@pytest.mark.parametrize(("dim", "tokens", "asked"), [(32, 7, 16), (104, 3, 9), (64, 5, 1)])
@pytest.mark.parametrize("bits", BITS)
def test_equal_documents_have_equal_scores(bits: int, dim: int, tokens: int, asked: int) -> None:
    one = encoded(units(9, tokens, dim), bits)
    others = TokenCodes.encode(TokenRows.from_arrays([units(i, i, dim) for i in range(1, 6)]), bits)
    query = units(10, asked, dim)
    (alone,) = maxsim(query, one)
    for count in (1, 2, 203):
        assert set(maxsim(query, one.take(np.zeros(count, np.int64))).tolist()) == {alone}
    mixed = TokenCodes.concatenate([others, one, others, one])
    assert maxsim(query, mixed)[[5, 11]].tolist() == [alone, alone]


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), max_size=6), st.sampled_from(BITS), st.data())
def test_rows_are_those_of_lists(lengths: list[int], bits: int, data: st.DataObject) -> None:
    texts = [units(i, length, 8) for i, length in enumerate(lengths)]
    codes = TokenCodes.encode(TokenRows.from_arrays(texts, dim=8), bits)
    alone = [TokenCodes.encode(TokenRows.from_arrays([text]), bits) for text in texts]
    assert len(codes) == len(texts)
    for i, one in enumerate(alone):
        packed, factors = codes.row(i)
        np.testing.assert_array_equal(packed, one.packed)
        np.testing.assert_array_equal(factors, one.factors)
    rows = [codes.row(i) for i in range(len(codes))]
    assert_same(TokenCodes.from_texts(rows, bits, 8), codes)
    order = data.draw(st.lists(st.integers(0, len(texts) - 1), max_size=8)) if texts else []
    taken = codes.take(np.array(order, np.int64))
    assert_same(taken, TokenCodes.from_texts([rows[i] for i in order], bits, 8))
    if alone:
        assert_same(TokenCodes.concatenate(alone), codes)


@pytest.mark.parametrize("bits", BITS)
def test_blocks_do_not_show(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = TokenRows.from_arrays([units(11, 50, 16), units(12, 33, 16)])
    whole, query = TokenCodes.encode(rows, bits), units(13, 5, 16)
    monkeypatch.setattr("trivec.token_codes._BLOCK", 7)
    assert_same(TokenCodes.encode(rows, bits), whole)
    decoded = rotated_back(whole.vectors(np.arange(83)))
    np.testing.assert_allclose(whole.decoded().values, decoded, atol=1e-6)
    np.testing.assert_allclose(maxsim(query, whole), maxsim(query, whole.decoded()), atol=1e-6)


def test_one_bit_of_pooled_vectors() -> None:
    rows = TokenRows.from_arrays([units(14, 40, 64), units(15, 7, 64), np.zeros((0, 64))])
    pooled = pool_rows(rows, 2)
    codes = TokenCodes.encode(pooled, 1)
    assert np.diff(codes.indptr).tolist() == [20, 3, 0]
    exact = maxsim(units(16, 8, 64), pooled)
    np.testing.assert_allclose(maxsim(units(16, 8, 64), codes), exact, atol=0.15)
    assert_same(TokenCodes.encode(codes.decoded(), 1), codes)


def test_codes_can_be_pickled() -> None:
    codes = encoded(units(17, 5, 16), 2)
    assert_same(pickle.loads(pickle.dumps(codes)), codes)
