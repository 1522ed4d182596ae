"""Retrieval measures by name, computed by ir-measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trivec.errors import InvalidOptionError, MissingDependencyError
from trivec.insight.judgements import Qrels

__all__ = ["Measures"]


class Measures:
    """Some measures, such as nDCG@10, RR@10, R@100 and AP, for one set of judgements.

    Args:
        names: As ir-measures spells them (https://ir-measur.es).
        qrels: The judgements; a query that they lack is not measured.

    Raises:
        InvalidOptionError: If a name is unknown or there is none.
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
        parsed: dict[str, Any] = {}
        for name in names:
            try:
                parsed[name] = ir_measures.parse_measure(name)
            except (NameError, ValueError, SyntaxError) as error:
                raise InvalidOptionError(
                    f"metric {name!r}: {error}; expected one such as nDCG@10, RR@10, R@100 or AP"
                ) from error
        self.names = tuple(parsed)
        self.queries = tuple(qrels)
        self._measures = parsed
        self._evaluator = ir_measures.evaluator(
            list(parsed.values()), {query: dict(grades) for query, grades in qrels.items()}
        )

    @property
    def depth(self) -> int | None:
        """How many documents of a ranking matter; None for all."""
        cutoffs = [measure.params.get("cutoff") for measure in self._measures.values()]
        return None if None in cutoffs else max(cutoffs)

    def __call__(self, rankings: Mapping[str, Sequence[str]]) -> dict[str, dict[str, float]]:
        """Measure rankings, best document first; a query without one counts as 0.

        Returns:
            For each name, the value of each judged query.
        """
        # Made-up scores that fall by 1: equal scores would be ranked by trec_eval's own rule,
        # the last id first, instead of in the order that the user sees.
        run = {
            query: {document: float(-place) for place, document in enumerate(documents)}
            for query, documents in rankings.items()
        }
        values = {name: dict.fromkeys(self.queries, 0.0) for name in self.names}
        names: dict[Any, list[str]] = {}
        for name, measure in self._measures.items():
            names.setdefault(measure, []).append(name)
        for found in self._evaluator.iter_calc(run):
            for name in names[found.measure]:
                values[name][found.query_id] = float(found.value)
        return values
