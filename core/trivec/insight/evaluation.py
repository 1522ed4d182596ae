"""How well each mode finds what was judged relevant, how sure that is, and how fast it is."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np
from numpy.typing import NDArray

from trivec.checks import check_encoder, check_store
from trivec.document import Document
from trivec.encoders.protocol import TextEncoder
from trivec.errors import InvalidOptionError
from trivec.hit import Hit
from trivec.insight.judgements import Qrels, judged_queries
from trivec.insight.measures import Measures
from trivec.insight.statistics import Interval, bootstrap_interval, holm, randomisation_p
from trivec.outputs import make_folder, written_beside
from trivec.search import MODES, Mode, SearchOptions, as_mode
from trivec.stores.store import Store
from trivec.vectors import Vectors

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["METRICS", "Comparison", "Evaluation", "ModeResult", "evaluate"]

METRICS = ("nDCG@10", "RR@10", "R@100")


@dataclass(frozen=True, slots=True)
class ModeResult:
    """How one mode did.

    Args:
        mode: The mode.
        values: For each metric, the value of each query.
        seconds: How long each query's search took, without its encoding.
        hits: For each query its hits, best first.
    """

    mode: Mode
    values: Mapping[str, Mapping[str, float]] = field(repr=False)
    seconds: tuple[float, ...] = field(repr=False)
    hits: Mapping[str, Sequence[Hit]] = field(repr=False)

    def column(self, metric: str) -> NDArray[np.float64]:
        """Return the values of a metric, float64 (queries,)."""
        if metric not in self.values:
            raise InvalidOptionError(
                f"metric {metric!r} was not measured: {', '.join(self.values)}"
            )
        return np.fromiter(self.values[metric].values(), np.float64)

    def mean(self, metric: str) -> float:
        """Return the mean of a metric over the queries."""
        return float(self.column(metric).mean())

    def interval(self, metric: str) -> Interval:
        """Return the 95 % bootstrap interval of the mean."""
        return bootstrap_interval(self.column(metric))

    @property
    def milliseconds(self) -> float:
        """The mean time of one search, one at a time."""
        return 1000 * sum(self.seconds) / len(self.seconds)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One mode against another on the same queries.

    Args:
        difference: The first mode's mean minus the second's.
        interval: The 95 % bootstrap interval of the difference.
        p: Of the two-sided paired randomisation test, not corrected.
    """

    difference: float
    interval: Interval
    p: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was measured; prints as a table with rich, and shows itself in a notebook.

    Args:
        queries: The questions that were asked, id to text.
        metrics: What was measured.
        results: One per mode.
        reference: The mode that the others are tested against.
    """

    queries: Mapping[str, str] = field(repr=False)
    metrics: tuple[str, ...]
    results: tuple[ModeResult, ...]
    reference: Mode

    def result(self, mode: str) -> ModeResult:
        """Return the result of a mode."""
        for result in self.results:
            if result.mode == mode:
                return result
        raise InvalidOptionError(
            f"mode {mode!r} was not measured: {', '.join(r.mode for r in self.results)}"
        )

    def compare(self, first: str, second: str, metric: str) -> Comparison:
        """Compare two modes query by query.

        Args:
            first: The mode whose gain is asked for.
            second: The mode that it is compared with.
            metric: One that was measured.
        """
        differences = self.result(first).column(metric) - self.result(second).column(metric)
        return Comparison(
            float(differences.mean()), bootstrap_interval(differences), randomisation_p(differences)
        )

    def p_values(self, metric: str) -> dict[str, float]:
        """Return how likely each other mode's difference from `reference` is by chance.

        Two-sided paired randomisation tests, corrected for their number by Holm's method.
        """
        others = [r.mode for r in self.results if r.mode != self.reference]
        raw = [self.compare(mode, self.reference, metric).p for mode in others]
        return dict(zip(others, holm(raw), strict=True))

    def write_runs(self, folder: str | Path) -> list[Path]:
        """Write one TREC run file per mode, `MODE.run`, for other tools.

        trec_eval ranks by the score in float32, and equal scores by the last id first; so equal
        scores are written one step of float32 apart, in the order of the hits.

        Raises:
            InvalidOptionError: If an id holds a blank, which separates the columns of this format.
            OutputError: If a file cannot be written; those that were there stay.
        """
        for result in self.results:
            for query, hits in result.hits.items():
                for one in (query, *(hit.document.id for hit in hits)):
                    if any(character.isspace() for character in one):
                        raise InvalidOptionError(
                            f"the id {one!r} holds a blank, which a TREC run file cannot say"
                        )
        root = Path(folder)
        make_folder(root)
        paths = [root / f"{result.mode}.run" for result in self.results]
        with ExitStack() as files:  # all of them are written before the first is put in place
            for result, path in zip(self.results, paths, strict=True):
                lines = files.enter_context(written_beside(path))
                for query, hits in result.hits.items():
                    for rank, (hit, score) in enumerate(zip(hits, _falling(hits), strict=True)):
                        row = (query, "Q0", hit.document.id, rank + 1, score, f"trivec-{path.stem}")
                        lines.write(f"{' '.join(map(str, row))}\n".encode())
        return paths

    def write_html(self, path: str | Path) -> None:
        """Write a page with the table and an interactive chart; it loads nothing."""
        from trivec.insight.rendering.evaluation_html import evaluation_page

        page = evaluation_page(self).encode()
        with written_beside(path) as file:
            file.write(page)

    def __rich__(self) -> RenderableType:
        from trivec.insight.rendering.evaluation_text import evaluation_table

        return evaluation_table(self)

    def _repr_html_(self) -> str:
        from trivec.insight.rendering.evaluation_html import evaluation_html

        return evaluation_html(self)


def evaluate(
    store: Store,
    encoder: TextEncoder,
    queries: Mapping[str, str],
    qrels: Qrels,
    *,
    modes: Sequence[Mode] | None = None,
    metrics: Sequence[str] = METRICS,
    reference: Mode | None = None,
    **options: Unpack[SearchOptions],
) -> Evaluation:
    """Measure modes on questions with judgements.

    The questions are encoded once for all modes, and searched one at a time.

    Args:
        store: The collection.
        encoder: The encoder that made its vectors.
        queries: The questions, id to text; those without judgements are left out.
        qrels: For each question the grades of documents.
        modes: What to compare; every mode that the collection can answer by default.
        metrics: As ir-measures spells them; https://ir-measur.es lists them.
        reference: The mode that the others are tested against; "dense" if it is there, else the
            first.
        options: See `SearchOptions`. `k` is 100 by default, and metrics look no further;
            `mode="dense"` is the same as `modes=["dense"]`.

    Raises:
        InvalidOptionError: If a judged question has no text, or an option is unknown.
        SchemaMismatchError: If the collection holds the vectors of another model.
        MissingDependencyError: If ir-measures is not installed.

    Example:
        >>> from trivec import Document, open_store
        >>> from trivec.testing import HashEncoder
        >>> encoder = HashEncoder()
        >>> with open_store("memory:/evaluate-example") as store:
        ...     store.create(encoder.schema)
        ...     documents = [Document("a", "blue whale"), Document("b", "red fox")]
        ...     vectors = encoder.encode_documents([d.text for d in documents])
        ...     _ = store.upsert(documents, vectors)
        ...     found = evaluate(store, encoder, {"q": "fox"}, {"q": {"b": 1}}, metrics=["RR@10"])
        >>> found.result("hybrid").mean("RR@10")
        1.0
    """
    check_store(store, "evaluate: store")
    check_encoder(encoder, "evaluate: encoder")
    judged = judged_queries(queries, qrels)
    measures = Measures(metrics, {query: qrels[query] for query in judged})
    if "mode" in options:
        if modes is not None:
            raise InvalidOptionError("evaluate: give either mode or modes")
        modes = [options["mode"]]
    chosen = _modes(modes, store)
    against = as_mode(reference) if reference else "dense" if "dense" in chosen else chosen[0]
    if against not in chosen:
        raise InvalidOptionError(f"reference={against!r} is none of the modes {', '.join(chosen)}")
    store.schema.check_model(encoder.schema.model)
    for mode in chosen:  # a wrong option is told before anything is encoded
        store.search_many([], **_options(options, mode))
    vectors = encoder.encode_queries(list(judged.values()))
    documents: dict[str, Document] = {}
    results = []
    for mode in chosen:
        found, seconds = _search_all(store, vectors, _options(options, mode))
        hits = {
            query: [_with_shared_document(hit, documents) for hit in one]
            for query, one in zip(judged, found, strict=True)
        }
        rankings = {query: [hit.document.id for hit in one] for query, one in hits.items()}
        results.append(ModeResult(mode, measures(rankings), tuple(seconds), hits))
    return Evaluation(judged, measures.names, tuple(results), against)


def _modes(modes: Sequence[Mode] | None, store: Store) -> tuple[Mode, ...]:
    if modes is None:
        parts = store.schema.parts
        return tuple(mode for mode in MODES if mode in parts or mode in ("hybrid", "rrf"))
    if not isinstance(modes, Sequence) or isinstance(modes, str) or not modes:
        raise InvalidOptionError(f"modes={modes!r}; give a list of {', '.join(MODES)}")
    return tuple(dict.fromkeys(as_mode(mode) for mode in modes))


def _options(options: SearchOptions, mode: Mode) -> SearchOptions:
    """Return the options of the searches in one mode."""
    return {"k": 100, **options, "mode": mode}


def _search_all(
    store: Store, vectors: Vectors, options: SearchOptions
) -> tuple[list[list[Hit]], list[float]]:
    """Search one at a time, and say how many seconds each took."""
    found: list[list[Hit]] = []
    seconds: list[float] = []
    # The first query opens files and connections, so it is asked twice.
    for index in (0, *range(len(vectors))):
        query = vectors[index]
        started = time.perf_counter()
        hits = store.search(query, **options)
        seconds.append(time.perf_counter() - started)
        found.append(hits)
    return found[1:], seconds[1:]


def _with_shared_document(hit: Hit, documents: dict[str, Document]) -> Hit:
    """Keep one copy of a document that many queries and modes find."""
    return replace(hit, document=documents.setdefault(hit.document.id, hit.document))


def _falling(hits: Sequence[Hit]) -> list[np.float32]:
    """Return scores that fall strictly, as near to those of the hits as float32 allows."""
    scores: list[np.float32] = []
    for hit in hits:
        score = np.float32(hit.score)
        if scores:
            score = min(score, np.nextafter(scores[-1], np.float32(-np.inf)))
        scores.append(score)
    return scores
