"""Maximal marginal relevance, from nearest to most diverse."""

from __future__ import annotations

import numpy as np
import pytest

from trivec.errors import InvalidOptionError
from trivec.reranking import diverse

# Two that are nearly the same as the query, one between, one across.
DOCUMENTS = np.array([[0, 1], [0.999, 0.04], [1, 0], [0.7, 0.7]], np.float32)
QUERY = np.array([1, 0], np.float32)


def test_relevance_alone_is_the_order_of_cosines() -> None:
    assert diverse(QUERY, DOCUMENTS, k=4, relevance=1) == [2, 1, 3, 0]


def test_difference_alone_takes_the_farthest_after_the_first() -> None:
    assert diverse(QUERY, DOCUMENTS, k=3, relevance=0) == [2, 0, 3]


def test_lengths_do_not_matter() -> None:
    scaled = DOCUMENTS * np.array([[9], [0.1], [3], [7]], np.float32)
    assert diverse(QUERY, scaled, k=4) == diverse(QUERY, DOCUMENTS, k=4)


def test_a_document_without_a_vector_is_neither_near_nor_redundant() -> None:
    documents = np.array([[1, 0], [0, 0], [1, 0.01]], np.float32)
    assert diverse(QUERY, documents, k=3, relevance=0.5) == [0, 1, 2]


def test_k_may_exceed_the_number_of_documents() -> None:
    assert len(diverse(QUERY, DOCUMENTS, k=100)) == 4
    assert diverse(QUERY, DOCUMENTS[:0], k=3) == []


@pytest.mark.parametrize("relevance", [-0.1, 1.1, float("nan")])
def test_relevance_is_between_0_and_1(relevance: float) -> None:
    with pytest.raises(InvalidOptionError, match="relevance"):
        diverse(QUERY, DOCUMENTS, k=1, relevance=relevance)


def test_k_is_at_least_1() -> None:
    with pytest.raises(InvalidOptionError, match="k=0"):
        diverse(QUERY, DOCUMENTS, k=0)
