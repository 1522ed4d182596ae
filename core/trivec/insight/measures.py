"""Retrieval measures by name, computed by ir-measures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from trivec.errors import InvalidOptionError, MissingDependencyError
from trivec.insight.judgements import Qrels, checked_grades


class Measures:
    """Measures such as nDCG@10, RR@10, R@100 and AP, for one set of judgements.

    The names are those of ir-measures (https://ir-measur.es).

    Raises:
        InvalidOptionError: If a name is unknown, a measure cannot be computed, or the list is
            empty; or if an id is not a string or a grade not an integer.
        MissingDependencyError: If ir-measures is not installed.

    Example:
        >>> Measures(["RR"], {"q": {"a": 1}})({"q": ["b", "a"]})
        {'RR': {'q': 0.5}}
    """

    def __init__(self, names: Sequence[str], qrels: Qrels) -> None:
        try:
            import ir_measures
        except ImportError as error:
            raise MissingDependencyError(
                "measuring needs ir-measures; run: pip install 'trivec[evaluate]'"
            ) from error
        if isinstance(names, str) or not names:
            raise InvalidOptionError(f"metrics={names!r}; give a list of names such as ['nDCG@10']")
        self.names = tuple(dict.fromkeys(names))
        self.queries = tuple(qrels)
        # trec_eval reads foreign memory if a grade is below -1.
        grades = {
            query: {document: max(0, grade) for document, grade in row.items()}
            for query, row in checked_grades(qrels).items()
        }
        self._measures: dict[str, Any] = {}
        self._evaluators: dict[str, Any] = {}
        for name in self.names:
            with _named(name):
                measure = ir_measures.parse_measure(name)
                _check(measure)
                self._measures[name] = measure
                self._evaluators[name] = ir_measures.evaluator([measure], grades)
        # Some measures fail only when they are computed; so compute one before the search.
        self({query: ["?"] for query in self.queries[:1]})

    @property
    def depth(self) -> int | None:
        """The number of documents of a ranking that matter; None for all."""
        cutoffs = [measure.params.get("cutoff") for measure in self._measures.values()]
        return None if None in cutoffs else max(cutoffs)

    def __call__(self, rankings: Mapping[str, Sequence[str]]) -> dict[str, dict[str, float]]:
        """Return for each name the value of each judged query: 0 for one without a ranking."""
        # Artificial scores that fall by 1: trec_eval would sort equal scores by descending id,
        # instead of in the order that the user sees.
        run = {
            query: {document: float(-rank) for rank, document in enumerate(documents)}
            for query, documents in rankings.items()
        }
        values = {name: dict.fromkeys(self.queries, 0.0) for name in self.names}
        for name, evaluator in self._evaluators.items():
            with _named(name):
                for result in evaluator.iter_calc(run):
                    values[name][result.query_id] = float(result.value)
        return values


def _check(measure: Any) -> None:  # noqa: ANN401 - ir-measures has no types
    """Raise `ValueError` for mistakes that ir-measures or trec_eval would not report in words."""
    supported = measure.SUPPORTED_PARAMS.items()
    required = [name for name, parameter in supported if parameter.required]
    if missing := [name for name in required if name not in measure.params]:
        raise ValueError(f"it needs {', '.join(missing)}")
    measure.validate_params()
    if measure.params.get("cutoff", 1) < 1:  # trec_eval would abort the process
        raise ValueError("its cutoff is below 1")


@contextmanager
def _named(metric: str) -> Iterator[None]:
    """Name the metric in errors."""
    try:
        yield
    except Exception as error:  # AssertionError, KeyError, CalledProcessError and others
        problem = " ".join(str(error).split()).rstrip(".")
        raise InvalidOptionError(
            f"metric {metric!r}: {problem}; expected one such as nDCG@10, RR@10, R@100 or AP"
        ) from error
