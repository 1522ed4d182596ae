"""The steps of the demo: update the collection, and measure all five modes on it."""

from __future__ import annotations

from trivec.demo.collection import FIELDS, DemoCollection
from trivec.encoders.protocol import TextEncoder
from trivec.ingestion.ingest import ingest
from trivec.ingestion.report import IngestReport
from trivec.insight.evaluation import Evaluation, evaluate
from trivec.search import MODES
from trivec.stores.store import Store

METRIC = "nDCG@10"


def update(
    collection: DemoCollection, encoder: TextEncoder, store: Store
) -> tuple[IngestReport, int]:
    """Update a store to the collection, encoding only new and changed documents.

    Args:
        collection: The documents.
        encoder: The encoder.
        store: The store; the collection is created if it does not exist.

    Returns:
        The report, and the number of documents that were stored already.
    """
    store.create(encoder.schema, fields=FIELDS, exist_ok=True)
    stored = {d.id: d for page in store.scan() for d in page.documents}
    wanted = {d.id: d for d in collection.documents}
    store.delete(stored.keys() - wanted.keys())
    missing = [d for d in collection.documents if stored.get(d.id) != d]
    report = ingest(missing, encoder, store)
    return report, len(wanted) - len(missing)


def measure(collection: DemoCollection, encoder: TextEncoder, store: Store) -> Evaluation:
    """Measure nDCG@10 of every mode on the questions, which are encoded once.

    Args:
        collection: The questions and their judgements.
        encoder: The encoder.
        store: The store with the collection's documents.
    """
    questions = {question.id: question.text for question in collection.questions}
    qrels = {question: collection.qrels[question] for question in questions}
    return evaluate(store, encoder, questions, qrels, modes=MODES, metrics=[METRIC], k=10)
