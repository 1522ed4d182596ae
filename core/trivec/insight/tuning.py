"""Find the best weights for a set of questions, and test whether their gain is significant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from trivec.arguments import expect
from trivec.checks import check_encoder, check_store
from trivec.encoders.protocol import TextEncoder
from trivec.errors import InvalidOptionError
from trivec.hit import Hit
from trivec.insight.judgements import Qrels, judged_queries
from trivec.insight.measures import Measures
from trivec.insight.statistics import bootstrap_interval, randomisation_p
from trivec.insight.tuned import Trial, Tuning
from trivec.scores import Weights
from trivec.search import Search, SearchOptions
from trivec.stores.store import Store

_STEPS = 20
"""The grid holds every triple of multiples of 1/20 that sums to 1: 231 triples."""

_Column = NDArray[np.float64]


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
    """Find the weights of the hybrid score that are best for your questions.

    Each question is searched once. Its hits carry the three parts, so all weights can be tried on
    the same hits, ranked as the store would rank them: searching costs the same for 1 or 231
    weights. A random half of the questions chooses the weights, the other half measures their gain.

    The pool of a question is the best `2 * candidates` hits by `baseline`, out of a union of up to
    `4 * candidates`: a document far down in all three parts is left out.

    Args:
        store: The collection.
        encoder: The encoder that made its vectors.
        queries: The questions, id to text; those without judgements are left out.
        qrels: For each question the grades of documents.
        metric: The metric's name as ir-measures spells it.
        baseline: The weights to compare with.
        seed: The seed of the split into halves.
        options: Those of your searches; see `SearchOptions`. The mode is "hybrid", and `baseline`
            says the weights.

    Raises:
        InvalidOptionError: If fewer than 4 questions have judgements, the metric cannot be
            computed, the seed is below 0, or the options hold another mode, weights, groups or
            evidence.
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
    if options.get("group_by") is not None or options.get("evidence"):
        raise InvalidOptionError(
            "tune: weights are compared by the ranking of single documents; leave out group_by, "
            "per_group and evidence"
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
    # A wrong metric or grade fails before anything is encoded.
    measures = [
        Measures([metric], {name: qrels[name] for name in part}) for part in (learning, held_out)
    ]
    store.schema.check_model(encoder.schema.model)
    search: SearchOptions = {"k": 1, **options, "weights": baseline}
    store.search_many([], **search)  # a wrong option is told before anything is encoded
    vectors = encoder.encode_queries(list(judged.values()))
    # Weights above 0 make the search compute all three parts.
    candidates = Search(**search).candidates
    search = {**search, "k": 2 * candidates, "weights": _above_zero(baseline)}
    hits = store.search_many(vectors, **search)
    pools = {name: _Pool(some, candidates) for name, some in zip(names, hits, strict=True)}
    first, second = (partial(_values, measured, pools) for measured in measures)
    tried = [Trial(weights, float(first(weights).mean())) for weights in [baseline, *_grid()]]
    highest = max(trial.mean for trial in tried)
    # Among equally good weights, take those nearest to the baseline, which is the first trial.
    best = min(
        (trial for trial in tried if trial.mean >= highest - 1e-12),
        key=lambda trial: _distance(trial.weights, baseline),
    )
    before, after = second(baseline), second(best.weights)
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
    """The hits of one question with their parts, to be ranked by any weights as a store would."""

    def __init__(self, hits: Sequence[Hit], candidates: int) -> None:
        ordered = sorted(hits, key=lambda hit: hit.document.id)  # a stable sort then breaks ties
        self._ids = np.array([hit.document.id for hit in ordered], object)
        self._parts = np.array(
            [[h.scores.dense or 0, h.scores.sparse or 0, h.scores.colbert or 0] for h in ordered]
        ).reshape(-1, 3)
        self._dense = _first(self._parts[:, 0], candidates)
        sparse = self._parts[:, 1]
        self._sparse = _first(sparse, candidates) & (sparse > 0)

    def ranking(self, weights: Weights, depth: int | None) -> list[str]:
        """Return the best ids, or all; a source with weight 0 contributes no candidates."""
        if (weights.dense > 0) == (weights.sparse > 0):
            is_candidate = self._dense | self._sparse
        else:
            is_candidate = self._dense if weights.dense > 0 else self._sparse
        rows = np.flatnonzero(is_candidate)
        scores = self._parts[rows] @ np.array([weights.dense, weights.sparse, weights.colbert])
        best: list[str] = self._ids[rows[np.argsort(-scores, kind="stable")[:depth]]].tolist()
        return best


def _values(measures: Measures, pools: Mapping[str, _Pool], weights: Weights) -> _Column:
    """Return the metric of each question that is measured, ranked by some weights."""
    rankings = {name: pools[name].ranking(weights, measures.depth) for name in measures.queries}
    (values,) = measures(rankings).values()
    return np.fromiter(values.values(), np.float64)


def _first(scores: _Column, count: int) -> NDArray[np.bool_]:
    chosen = np.zeros(len(scores), bool)
    chosen[np.argsort(-scores, kind="stable")[:count]] = True
    return chosen


def _grid() -> Iterator[Weights]:
    for dense in range(_STEPS + 1):
        for sparse in range(_STEPS + 1 - dense):
            parts = (dense, sparse, _STEPS - dense - sparse)
            yield Weights(*(round(part / _STEPS, 6) for part in parts))


def _above_zero(weights: Weights) -> Weights:
    """Return the closest weights that are all above 0, so that a search computes every part."""
    least = weights.total / 100
    return Weights(*(max(least, w) for w in (weights.dense, weights.sparse, weights.colbert)))


def _distance(weights: Weights, other: Weights) -> float:
    a, b = (np.array([w.dense, w.sparse, w.colbert]) / w.total for w in (weights, other))
    return float(np.abs(a - b).sum())
