"""The rotation of token codes: orthogonal, its own opposite, and the same for ever."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from trivec.rotation import rotated, rotated_back


@pytest.mark.parametrize("dim", [1, 2, 8, 24, 40, 96, 128, 768, 1024])
def test_a_rotation_keeps_dot_products(dim: int) -> None:
    rng = np.random.default_rng(dim)
    values = rng.standard_normal((20, dim)).astype(np.float32)
    turned = rotated(values)
    assert turned.dtype == np.float32
    np.testing.assert_allclose(turned @ turned.T, values @ values.T, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(rotated_back(turned), values, atol=1e-5)
    np.testing.assert_allclose(rotated(rotated_back(values)), values, atol=1e-5)
    assert rotated(values[:0]).shape == (0, dim)


@pytest.mark.parametrize(("dim", "block"), [(16, 16), (24, 8), (768, 256), (1024, 1024)])
def test_one_number_is_spread_over_its_block(dim: int, block: int) -> None:
    spread = np.abs(rotated(np.eye(dim, dtype=np.float32)))
    assert (spread > 0).sum(axis=1).tolist() == [block] * dim
    np.testing.assert_allclose(spread[spread > 0], block**-0.5, rtol=1e-5)


@pytest.mark.parametrize(
    ("dim", "digest"),
    [(16, "08fdaeedb2cc1d92"), (24, "ff28113ee050f46d"), (1024, "3097071b6378f066")],
)
def test_the_rotation_never_changes(dim: int, digest: str) -> None:
    """Collections hold vectors that were rotated with it."""
    values = np.sqrt(np.arange(1, dim + 1, dtype=np.float32))[None]
    signs = np.packbits(rotated(values) >= 0).tobytes()
    assert hashlib.sha256(signs).hexdigest()[:16] == digest
