"""The time of ColBERT's scores from few bits beside those from float16, in turns, on one thread."""

from __future__ import annotations

import time

import numpy as np
import pytest

from trivec.rows import Float, TokenRows, unit
from trivec.scores import TokenColumns, maxsim
from trivec.token_codes import TokenCodes

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(600)]

DOCUMENTS, TOKENS, DIMENSION, QUERY = 100, 200, 1024, 32
ROUNDS = 7


def unit_vectors(rng: np.random.Generator, count: int) -> Float:
    return unit(rng.standard_normal((count, DIMENSION), dtype=np.float32))


def test_few_bits_are_no_slower_than_float16() -> None:
    rng = np.random.default_rng(0)
    values = unit_vectors(rng, DOCUMENTS * TOKENS).astype(np.float16)
    rows = TokenRows(np.arange(DOCUMENTS + 1) * TOKENS, values)
    query = unit_vectors(rng, QUERY)
    columns: dict[int, TokenColumns] = {16: rows}
    columns |= {bits: TokenCodes.encode(rows, bits) for bits in (8, 4, 2, 1)}
    best = dict.fromkeys(columns, float("inf"))
    for _ in range(ROUNDS):
        for bits, tokens in columns.items():
            start = time.process_time()
            maxsim(query, tokens)
            best[bits] = min(best[bits], time.process_time() - start)
    for bits, seconds in best.items():
        print(f"{bits:2} bits: {1000 * seconds:5.1f} ms, {seconds / best[16]:.2f} of float16")
    assert max(best.values()) <= 1.05 * best[16]
