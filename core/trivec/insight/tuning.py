"""The best weights for one's own questions, and whether they are better by more than chance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Unpack

import numpy as np
from numpy.typing import NDArray

from trivec.arguments import expect
from trivec.checks import check_encoder, check_store
from trivec.encoders.protocol import TextEncoder
from trivec.errors import InvalidOptionError
from trivec.hit import Hit
from trivec.insight.judgements import Qrels, judged_queries
from trivec.insight.measures import Measures
from trivec.insight.statistics import Interval, bootstrap_interval, randomisation_p
from trivec.scores import Weights
from trivec.search import Search, SearchOptions
from trivec.stores.store import Store

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Tried", "Tuning", "tune"]

STEPS = 20
"""The grid has every triple of multiples of 1/20 that sums to 1: 231 of them."""

SIGNIFICANT = 0.05

Column = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Tried:
    """Weights and the mean of the metric on the tuning half."""

    weights: Weights
    mean: float


@dataclass(frozen=True, slots=True)
class Tuning:
    """What tuning found; prints with rich.

    Args:
        metric: What was made as large as possible.
        weights: The best weights on the tuning half; those of `baseline` if none is better.
        baseline: What they are compared with.
        tuning: The means on the tuning half: baseline, tuned.
        testing: The means on the other half: baseline, tuned. This is the honest number.
        interval: The 95 % bootstrap interval of the gain on the testing half.
        p: Of the two-sided paired randomisation test on the testing half.
        queries: How many questions each half has.
        tried: Every weights that were tried.
    """

    metric: str
    weights: Weights
    baseline: Weights
    tuning: tuple[float, float]
    testing: tuple[float, float]
    interval: Interval
    p: float
    queries: tuple[int, int]
    tried: tuple[Tried, ...] = field(repr=False, default=())

    @property
    def warning(self) -> str | None:
        """Why the weights should not be trusted, or None."""
        before, after = self.testing
        if self.weights == self.baseline:
            return "no weights were better than the baseline; keep it"
        if after <= before:
            return (
                "the gain did not carry over to the questions that were held out; keep the baseline"
            )
        if self.p >= SIGNIFICANT:
            return (
                f"the gain may be chance (p = {self.p:.3f} on {self.queries[1]} questions held "
                "out); keep the baseline, or judge more questions"
            )
        return None

    def __rich__(self) -> RenderableType:
        from trivec.insight.rendering.tuning_text import tuning_text

        return tuning_text(self)


def tune(
    store: Store,
    encoder: TextEncoder,
    queries: Mapping[str, str],
    qrels: Qrels,
    *,
    metric: str = "nDCG@10",
    baseline: Weights = Weights.GENERAL,
    seed: int = 0,
    **options: Unpack[SearchOptions],
) -> Tuning:
    """Find the weights of the hybrid score that suit one's own questions best.

    Each question is searched once. Its hits carry the three parts, and every weights are tried
    on these, ranked as the store would rank them; so the search costs the same for 1 or 231
    weights. A random half of the questions chooses, the other half says what the choice is worth.

    The pool of a question is the best `2 * candidates` hits by `baseline`, out of a union of up to
    `4 * candidates`: a document far down in all three parts is left out.

    Args:
        store: The collection.
        encoder: The encoder that made its vectors.
        queries: The questions, id to text; those without judgements are left out.
        qrels: For each question the grades of documents.
        metric: As ir-measures spells it.
        baseline: The weights to compare with.
        seed: Of the split into halves.
        options: Those of your searches; see `SearchOptions`. The mode is "hybrid", and `baseline`
            says the weights.

    Raises:
        InvalidOptionError: If fewer than 4 questions have judgements, the metric cannot be
            computed, the seed is below 0, or the options hold another mode or weights.
        SchemaMismatchError: If the collection holds the vectors of another model.
        MissingDependencyError: If ir-measures is not installed.
    """
    check_store(store, "tune: store")
    check_encoder(encoder, "tune: encoder")
    expect(metric, str, "metric", "the name of one, such as 'nDCG@10'")
    if not isinstance(seed, int) or seed < 0:
        raise InvalidOptionError(f"seed={seed!r}; expected an integer of at least 0")
    if "weights" in options or options.get("mode", "hybrid") != "hybrid":
        raise InvalidOptionError(
            "tune: the weights of hybrid search are tuned; give those to compare with as baseline, "
            "and no weights or other mode"
        )
    judged = judged_queries(queries, qrels)
    if len(judged) < 4:
        raise InvalidOptionError(
            f"{len(judged)} judged questions cannot be split for tuning and testing; give at "
            "least 4, and rather 50"
        )
    names = list(judged)
    order = np.random.default_rng(seed).permutation(len(names))
    half = len(names) // 2
    learning = [names[i] for i in sorted(order[:half])]
    held_out = [names[i] for i in sorted(order[half:])]
    # A wrong metric or grade is told before anything is encoded.
    measures = [
        Measures([metric], {name: qrels[name] for name in some}) for some in (learning, held_out)
    ]
    store.schema.check_model(encoder.schema.model)
    search: SearchOptions = {"k": 1, **options, "weights": baseline}
    store.search_many([], **search)  # a wrong option is told before anything is encoded
    vectors = encoder.encode_queries(list(judged.values()))
    # A little of every part, so that all of them are computed.
    candidates = Search(**search).candidates
    search = {**search, "k": 2 * candidates, "weights": _all(baseline)}
    found = store.search_many(vectors, **search)
    pools = {name: _Pool(hits, candidates) for name, hits in zip(names, found, strict=True)}
    first, second = (_Measured(half, pools) for half in measures)
    tried = [Tried(weights, first.mean(weights)) for weights in [baseline, *_grid()]]
    highest = max(one.mean for one in tried)
    # Of equally good weights those nearest to the baseline, which is the first of all.
    best = min(
        (one for one in tried if one.mean >= highest - 1e-12),
        key=lambda one: _distance(one.weights, baseline),
    )
    before, after = second.column(baseline), second.column(best.weights)
    return Tuning(
        metric=metric,
        weights=best.weights,
        baseline=baseline,
        tuning=(tried[0].mean, best.mean),
        testing=(float(before.mean()), float(after.mean())),
        interval=bootstrap_interval(after - before),
        p=randomisation_p(after - before),
        queries=(len(learning), len(held_out)),
        tried=tuple(tried),
    )


class _Pool:
    """The hits of one question with their parts, ranked by any weights as a store would."""

    def __init__(self, hits: Sequence[Hit], candidates: int) -> None:
        ordered = sorted(hits, key=lambda hit: hit.document.id)  # a stable sort then breaks ties
        self._ids = np.array([hit.document.id for hit in ordered], object)
        self._parts = np.array(
            [[h.scores.dense or 0, h.scores.sparse or 0, h.scores.colbert or 0] for h in ordered]
        ).reshape(-1, 3)
        self._dense = _first(self._parts[:, 0], candidates)
        sparse = self._parts[:, 1]
        self._sparse = _first(sparse, candidates) & (sparse > 0)

    def ranking(self, weights: Weights, depth: int) -> list[str]:
        """Return the best ids: a source whose weight is 0 gives no candidates."""
        if (weights.dense > 0) == (weights.sparse > 0):
            there = self._dense | self._sparse
        else:
            there = self._dense if weights.dense > 0 else self._sparse
        rows = np.flatnonzero(there)
        scores = self._parts[rows] @ np.array([weights.dense, weights.sparse, weights.colbert])
        best: list[str] = self._ids[rows[np.argsort(-scores, kind="stable")[:depth]]].tolist()
        return best


class _Measured:
    """A metric on some questions, for any weights."""

    def __init__(self, measures: Measures, pools: Mapping[str, _Pool]) -> None:
        self._metric = measures.names[0]
        self._measures = measures
        self._pools = {name: pools[name] for name in measures.queries}
        self._depth = self._measures.depth or max(len(pool._ids) for pool in pools.values())

    def column(self, weights: Weights) -> Column:
        """Return the value of each question."""
        rankings = {name: pool.ranking(weights, self._depth) for name, pool in self._pools.items()}
        return np.fromiter(self._measures(rankings)[self._metric].values(), np.float64)

    def mean(self, weights: Weights) -> float:
        """Return the mean over the questions."""
        return float(self.column(weights).mean())


def _first(scores: Column, count: int) -> NDArray[np.bool_]:
    chosen = np.zeros(len(scores), bool)
    chosen[np.argsort(-scores, kind="stable")[:count]] = True
    return chosen


def _grid() -> Iterator[Weights]:
    for dense in range(STEPS + 1):
        for sparse in range(STEPS + 1 - dense):
            parts = (dense, sparse, STEPS - dense - sparse)
            yield Weights(*(round(part / STEPS, 6) for part in parts))


def _all(weights: Weights) -> Weights:
    """Return weights above 0 as near as may be, so that a search computes every part."""
    least = weights.total / 100
    return Weights(*(max(least, w) for w in (weights.dense, weights.sparse, weights.colbert)))


def _distance(weights: Weights, other: Weights) -> float:
    a, b = (np.array([w.dense, w.sparse, w.colbert]) / w.total for w in (weights, other))
    return float(np.abs(a - b).sum())
