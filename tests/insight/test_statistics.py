"""Intervals cover, and tests reject, as often as they say."""

from __future__ import annotations

import numpy as np
import pytest

import trivec.insight.statistics
from trivec.insight.statistics import bootstrap_interval, holm, randomisation_p


def test_an_interval_holds_the_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(100):
        low, high = bootstrap_interval(rng.normal(0.5, 0.2, 60))
        held += low <= 0.5 <= high
    assert 88 <= held <= 99


def test_a_difference_that_is_not_there_is_seldom_found() -> None:
    rng = np.random.default_rng(1)
    found = sum(randomisation_p(rng.normal(0, 1, 30)) < 0.05 for _ in range(100))
    assert found <= 12


def test_a_difference_that_is_there_is_found() -> None:
    rng = np.random.default_rng(2)
    assert randomisation_p(rng.normal(0.5, 0.3, 40)) < 0.001


def test_few_queries_prove_nothing() -> None:
    # Of the 8 ways to set three signs, 2 are as extreme: p is about 1/4.
    assert randomisation_p(np.array([0.3, 0.3, 0.3])) == pytest.approx(0.25, abs=0.02)
    assert randomisation_p(np.zeros(0)) == 1


def test_many_values_are_drawn_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).normal(0.1, 1, 50)
    whole = bootstrap_interval(values), randomisation_p(values)
    monkeypatch.setattr(trivec.insight.statistics, "_MAX_DRAWN", 50 * 999)
    chunked = bootstrap_interval(values), randomisation_p(values)
    assert chunked[0] == pytest.approx(whole[0], abs=0.02)
    assert chunked[1] == pytest.approx(whole[1], abs=0.03)


def test_corrected_values_never_fall() -> None:
    p_values = [0.001, 0.2, 0.02, 0.9]
    assert holm(p_values) == pytest.approx([0.004, 0.4, 0.06, 0.9])
    assert holm([]) == []
