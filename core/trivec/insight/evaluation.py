"""Compare search modes on judged questions: quality, its uncertainty, and speed."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np

from trivec.checks import check_encoder, check_store
from trivec.document import Document
from trivec.encoders.protocol import TextEncoder
from trivec.errors import InvalidOptionError
from trivec.hit import Hit
from trivec.insight.judgements import Qrels, judged_queries
from trivec.insight.measures import Measures
from trivec.insight.results import ModeResult, Results
from trivec.outputs import make_folder, written_beside
from trivec.search import MODES, Mode, SearchOptions, as_mode
from trivec.stores.store import Store
from trivec.vectors import Vectors

if TYPE_CHECKING:
    from rich.console import RenderableType

METRICS = ("nDCG@10", "RR@10", "R@100")


@dataclass(frozen=True, slots=True)
class Evaluation(Results):
    """The measurements of all modes: prints as a table with rich, and displays in a notebook.

    The fields and the comparisons are those of `Results`.
    """

    def write_runs(self, folder: str | Path) -> list[Path]:
        """Write one TREC run file per mode, `MODE.run`, for other tools.

        trec_eval sorts by the score in float32, and equal scores by descending id. So equal scores
        are written one step of float32 apart, in the order of the hits.

        Raises:
            InvalidOptionError: If an id contains white space, which separates the columns of this
                format.
            OutputError: If a file cannot be written; existing files stay as they are.
        """
        for result in self.results:
            for query, hits in result.hits.items():
                for id in (query, *map(_judged_id, hits)):
                    if any(character.isspace() for character in id):
                        raise InvalidOptionError(
                            f"the id {id!r} holds a blank, which a TREC run file cannot express"
                        )
        root = Path(folder)
        make_folder(root)
        paths = [root / f"{result.mode}.run" for result in self.results]
        with ExitStack() as files:  # all files are written before the first one is put in place
            for result, path in zip(self.results, paths, strict=True):
                lines = files.enter_context(written_beside(path))
                for query, hits in result.hits.items():
                    for rank, (hit, score) in enumerate(zip(hits, _falling(hits), strict=True)):
                        name = f"trivec-{path.stem}"
                        row = (query, "Q0", _judged_id(hit), rank + 1, score, name)
                        lines.write(f"{' '.join(map(str, row))}\n".encode())
        return paths

    def write_html(self, path: str | Path) -> None:
        """Write a self-contained HTML page with the table and an interactive chart."""
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
        qrels: For each question the grades of documents; with `group_by` those of groups, by their
            values, such as the ids of the documents that passages are of.
        modes: The modes to compare; by default every mode that the collection supports.
        metrics: The names of metrics as ir-measures spells them; https://ir-measur.es lists them.
        reference: The mode that the others are tested against; by default "dense" if it is among
            the modes, else the first mode.
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
        ...     result = evaluate(store, encoder, {"q": "fox"}, {"q": {"b": 1}}, metrics=["RR@10"])
        >>> result.result("hybrid").mean("RR@10")
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
        raise InvalidOptionError(
            f"reference={against!r} is not among the modes {', '.join(chosen)}"
        )
    store.schema.check_model(encoder.schema.model)
    searches: list[SearchOptions] = [{"k": 100, **options, "mode": mode} for mode in chosen]
    for search in searches:  # a wrong option fails before anything is encoded
        store.search_many([], **search)
    vectors = encoder.encode_queries(list(judged.values()))
    documents: dict[str, Document] = {}
    results = []
    for mode, search in zip(chosen, searches, strict=True):
        lists, seconds = _search_all(store, vectors, search)
        hits = {
            query: [
                # The hits of other queries share one copy of the document.
                replace(hit, document=documents.setdefault(hit.document.id, hit.document))
                for hit in _first_of_each(ranked)
            ]
            for query, ranked in zip(judged, lists, strict=True)
        }
        rankings = {query: [*map(_judged_id, ranked)] for query, ranked in hits.items()}
        results.append(ModeResult(mode, measures(rankings), tuple(seconds), hits))
    return Evaluation(judged, measures.names, tuple(results), against)


def _modes(modes: Sequence[Mode] | None, store: Store) -> tuple[Mode, ...]:
    if modes is None:
        parts = store.schema.parts
        return tuple(mode for mode in MODES if mode in parts or mode in ("hybrid", "rrf"))
    if not isinstance(modes, Sequence) or isinstance(modes, str) or not modes:
        raise InvalidOptionError(f"modes={modes!r}; give a list of {', '.join(MODES)}")
    return tuple(dict.fromkeys(as_mode(mode) for mode in modes))


def _judged_id(hit: Hit) -> str:
    """Return the id that judgements have for a hit: the value of its group, or its document's."""
    if hit.group is None:
        return hit.document.id
    return hit.group if isinstance(hit.group, str) else json.dumps(hit.group)


def _first_of_each(hits: Sequence[Hit]) -> list[Hit]:
    """Return the first hit of each id: a group counts once, where its best hit is."""
    first: dict[str, Hit] = {}
    for hit in hits:
        first.setdefault(_judged_id(hit), hit)
    return list(first.values())


def _search_all(
    store: Store, vectors: Vectors, options: SearchOptions
) -> tuple[list[list[Hit]], list[float]]:
    """Return the hits of each query, searched one at a time, and the seconds that each took."""
    lists: list[list[Hit]] = []
    seconds: list[float] = []
    # The first query opens files and connections, so it is searched twice.
    for index in (0, *range(len(vectors))):
        query = vectors[index]
        started = time.perf_counter()
        hits = store.search(query, **options)
        seconds.append(time.perf_counter() - started)
        lists.append(hits)
    return lists[1:], seconds[1:]


def _falling(hits: Sequence[Hit]) -> list[np.float32]:
    """Return strictly falling scores, as close to those of the hits as float32 allows."""
    scores: list[np.float32] = []
    for hit in hits:
        score = np.float32(hit.score)
        if scores:
            score = min(score, np.nextafter(scores[-1], np.float32(-np.inf)))
        scores.append(score)
    return scores
