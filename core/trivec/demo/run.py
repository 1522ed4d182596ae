"""The demo's work: a collection kept up to date, and all five modes measured on it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trivec.demo.collection import FIELDS, DemoCollection
from trivec.document import Document
from trivec.errors import MissingDependencyError
from trivec.hit import Hit
from trivec.ingest import ingest
from trivec.report import IngestReport
from trivec.search import MODES, Mode
from trivec.store import Store
from trivec.text_encoder import TextEncoder
from trivec.vectors import Vectors

__all__ = ["ModeResult", "measure", "ndcg", "update"]


@dataclass(frozen=True, slots=True)
class ModeResult:
    """How one mode did: nDCG@10 for each question, milliseconds for one query, the hits."""

    mode: Mode
    ndcg: dict[str, float]
    milliseconds: float
    hits: dict[str, list[Hit]]


def update(
    collection: DemoCollection, encoder: TextEncoder, store: Store
) -> tuple[IngestReport, int]:
    """Bring a store up to the collection, encoding only what is not there yet.

    Returns:
        What was written, and how many documents were there already.
    """
    store.create(encoder.schema, fields=FIELDS, exist_ok=True)
    there = {d.id: d for page in store.scan() for d in page.documents}
    wanted = {d.id: d for d in collection.documents}
    store.delete(there.keys() - wanted.keys())
    missing: list[Document] = [d for d in collection.documents if there.get(d.id) != d]
    report = ingest(missing, encoder, store)
    return report, len(wanted) - len(missing)


def measure(collection: DemoCollection, queries: Vectors, store: Store) -> list[ModeResult]:
    """Search every question in every mode, one at a time.

    Args:
        collection: The questions and their judgements.
        queries: The questions' vectors, encoded once for all modes.
        store: The collection in a database.

    Raises:
        MissingDependencyError: If ir-measures is not installed.
    """
    results = []
    for mode in MODES:
        store.search(queries[0], mode=mode)  # the first query opens files and connections
        started = time.perf_counter()
        found = [store.search(query, mode=mode) for query in queries]
        milliseconds = (time.perf_counter() - started) * 1000 / max(1, len(found))
        hits = {q.id: h for q, h in zip(collection.questions, found, strict=True)}
        results.append(ModeResult(mode, ndcg(collection.qrels, hits), milliseconds, hits))
    return results


def ndcg(
    qrels: Mapping[str, dict[str, int]], hits: Mapping[str, Sequence[Hit]]
) -> dict[str, float]:
    """Return nDCG@10 for each question, by ir-measures.

    Raises:
        MissingDependencyError: If ir-measures is not installed.
    """
    try:
        import ir_measures
    except ImportError as error:
        raise MissingDependencyError(
            "measuring needs ir-measures; run: pip install 'trivec[demo]'"
        ) from error
    run = {question: {h.document.id: h.score for h in found} for question, found in hits.items()}
    values = ir_measures.iter_calc([ir_measures.nDCG @ 10], qrels, run)
    scored = {value.query_id: float(value.value) for value in values}
    return {question: scored.get(question, 0.0) for question in qrels}
