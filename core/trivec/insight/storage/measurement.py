"""Measure what small token vectors cost in quality, on a sample of documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from trivec.arguments import at_least_one, expect
from trivec.checks import check_encoder
from trivec.colbert_storage import ColbertStorage
from trivec.encoders.protocol import TextEncoder
from trivec.errors import InvalidOptionError
from trivec.insight.judgements import Qrels
from trivec.insight.measures import Measures
from trivec.insight.statistics import Values
from trivec.insight.storage.quality import (
    AGREEMENT,
    JUDGED,
    agreement_values,
    best_rows,
    judged_values,
    quality,
)
from trivec.insight.storage.questions import Judged, Questions, given, held_out
from trivec.insight.storage.ranking import Ranking
from trivec.insight.storage.report import StorageReport
from trivec.insight.storage.results import RANKED_MODES, Quality, RankedMode, StorageResult
from trivec.insight.storage.sample import Drawn, Sample, Source
from trivec.schema import Schema
from trivec.scores import Weights
from trivec.stores.store import Store

FULL = ColbertStorage(bits=32)
"""The storage that others are compared with."""

_THIRD = 1 / 3
FRONTIER: tuple[ColbertStorage, ...] = (
    *(ColbertStorage(bits=bits) for bits in (16, 8, 4, 2, 1)),
    *(ColbertStorage(bits=bits, pool=2) for bits in (16, 4, 2, 1)),
    *(ColbertStorage(bits=bits, pool=3) for bits in (4, 2, 1)),
    *(ColbertStorage(bits=bits, prune=_THIRD) for bits in (16, 4, 2, 1)),
    *(ColbertStorage(bits=bits, pool=2, prune=_THIRD) for bits in (2, 1)),
    ColbertStorage(bits=1, pool=3, prune=_THIRD),
)
"""The storages that are measured unless others are given."""

_FEW = 50  # questions; fewer say little


def measure_storage(
    source: Source,
    encoder: TextEncoder,
    queries: Mapping[str, str] | None = None,
    qrels: Qrels | None = None,
    *,
    storages: Sequence[ColbertStorage | str] | None = None,
    sample: int = 2_000,
    questions: int | None = None,
    weights: Weights = Weights.GENERAL,
    candidates: int = 100,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> StorageReport:
    """Measure what each way to keep token vectors costs in quality, on your own documents.

    Each question ranks the union of its best dense and its best sparse documents of the sample, as
    the exact hybrid search does; only the token vectors change from storage to storage. Nothing is
    written but files in the system's temporary folder: up to 4 bytes for each number of the
    sample's token vectors.

    With judgements, the quality is nDCG@10. Without, it is the overlap of the 10 best and the rank
    correlation with the ranking by full float32, which are no judgements: they say how much the
    order changes, not whether it gets worse. Without questions, sentences of the documents serve as
    questions: a document of at least three sentences is encoded again without one of them.

    Args:
        source: A collection with full token vectors, such as an archive; or documents, which are
            encoded.
        encoder: The encoder of the questions, and of the documents if they come without vectors.
        queries: Questions of yours, id to text.
        qrels: For each question the grades of documents.
        storages: The storages to compare with full float32; by default `FRONTIER`, about 20 of
            them. A storage that prunes needs the lexical weight of each token; an archive,
            `memory:` and a new encoding have it.
        sample: The most documents: those judged relevant, then others at random. A smaller
            collection is taken whole.
        questions: The most questions; by default all of `queries` (whose relevant documents fit
            into the sample), or 200 that are drawn.
        weights: The weights of the hybrid score.
        candidates: How many documents each of the two sources gives.
        seed: The seed of all random choices.
        progress: Called with a sentence at each step.

    Raises:
        InvalidOptionError: If an option is out of range, the vectors of the source are not full,
            there are too few documents to draw questions from, or full vectors find no relevant
            document.
        SchemaMismatchError: If the collection holds the vectors of another model.
        MissingDependencyError: If there are judgements, and ir-measures is not installed.

    Example:
        >>> from trivec import Document
        >>> from trivec.testing import HashEncoder
        >>> texts = {"a": "blue whale", "b": "red fox", "c": "grey seal", "d": "blue sea"}
        >>> documents = [Document(id, text) for id, text in texts.items()]
        >>> report = measure_storage(
        ...     documents, HashEncoder(), {"q": "whale"}, {"q": {"a": 1}},
        ...     storages=["bits=1,pool=2", "bits=8"],
        ... )
        >>> [(str(result.storage), result.token_bytes) for result in report.results]
        [('bits=32', 192.0), ('bits=8', 54.0), ('bits=1,pool=2', 8.0)]
        >>> report.result("bits=8").quality("hybrid").share
        1.0
    """
    check_encoder(encoder, "measure_storage: encoder")
    sample, candidates = at_least_one(sample, "sample"), at_least_one(candidates, "candidates")
    most = None if questions is None else at_least_one(questions, "questions")
    _check_weights(weights)
    if not isinstance(seed, int) or seed < 0:
        raise InvalidOptionError(f"seed={seed!r}; expected an integer of at least 0")
    schema = _schema(source, encoder)
    wanted = _storages(storages, schema)
    tell = progress or (lambda _: None)

    judged = _judged(queries, qrels, sample=sample, most=most, seed=seed)
    tell("drawing a sample")
    first = judged.relevant if judged else ()
    drawn = Drawn.from_source(source, sample, first=first, seed=seed)
    if judged is not None:
        asked = judged.within([document.id for document in drawn.documents])
    elif queries is not None:
        asked = given(queries, most=most, seed=seed)
    else:
        asked = held_out(drawn.documents, most=most, seed=seed)
    tell(f"encoding {len(asked.texts):,} questions")
    vectors = encoder.encode_queries(list(asked.texts.values()))
    with Sample() as documents:
        texts = asked.shortened
        for done in documents.read(source, drawn.documents, encoder, schema, texts=texts):
            tell(f"read {done:,} of {len(drawn.documents):,} documents")
        notes: list[str] = []
        if not documents.has_weights:
            wanted, notes = _without_pruning(wanted)
        tell(f"ranking with {len(wanted)} storages")
        ranking = Ranking.of(documents, vectors, weights, candidates, wanted)
    return StorageReport(
        results=tuple(_results(ranking, documents, asked, schema, wanted)),
        metrics=AGREEMENT if asked.qrels is None else JUDGED,
        judged=asked.qrels is not None,
        questions=len(asked.texts),
        documents=len(documents.ids),
        available=drawn.available,
        tokens=float(documents.lengths.mean()),
        notes=(*asked.notes, *notes, *_notes(asked, len(documents.ids), drawn.available)),
    )


# --- checks --------------------------------------------------------------------------------------


def _check_weights(weights: Weights) -> None:
    expect(weights, Weights, "weights", "Weights, such as Weights(1, 0.3, 1)")
    if weights.colbert == 0:
        raise InvalidOptionError("weights: the weight of ColBERT is 0, so its storage is no matter")


def _judged(
    queries: Mapping[str, str] | None,
    qrels: Qrels | None,
    *,
    sample: int,
    most: int | None,
    seed: int,
) -> Judged | None:
    """Return the judged questions, if there are judgements."""
    if queries is not None:
        expect(queries, Mapping, "queries", "a mapping of ids to questions")
        if not queries:
            raise InvalidOptionError("measure_storage: queries holds no question")
    if qrels is None:
        return None
    if queries is None:
        raise InvalidOptionError("measure_storage: give the questions of qrels as queries")
    judged = Judged.chosen(queries, qrels, sample=sample, most=most, seed=seed)
    Measures(JUDGED, judged.qrels)  # a missing package is noticed before the work
    return judged


def check_full(store: Store) -> None:
    """Check that a collection holds full token vectors.

    Raises:
        InvalidOptionError: If it keeps less, or none.
    """
    collection = store.describe()
    if collection.schema.colbert is None:
        raise InvalidOptionError(f"{store.address} holds no token vectors to measure")
    kept = collection.colbert
    if kept is not None and kept.reduces:
        raise InvalidOptionError(
            f"{store.address} keeps its token vectors as {kept}, and what was left out is gone; "
            "measure an archive or a collection with full token vectors, or the documents "
            "themselves, which are encoded anew"
        )


def _schema(source: Source, encoder: TextEncoder) -> Schema:
    """Return the vectors to compare; they are full token vectors, and others for candidates."""
    schema = encoder.schema
    if isinstance(source, Store):
        check_full(source)
        schema = encoder.schema.held_by(source.schema)
    if schema.colbert is None:
        raise InvalidOptionError("there are no token vectors to measure: the model makes none")
    if schema.dense is None and not schema.sparse:
        raise InvalidOptionError(
            "there are neither dense nor sparse vectors, from which candidates come"
        )
    return schema


def _storages(
    storages: Sequence[ColbertStorage | str] | None, schema: Schema
) -> list[ColbertStorage]:
    """Return the storages to measure: full float32, and then others by falling size."""
    chosen: list[ColbertStorage] = []
    if storages is None:
        chosen = [s for s in FRONTIER if (schema.colbert or 0) * s.bits % 8 == 0]
    else:
        if isinstance(storages, str) or not isinstance(storages, Sequence) or not storages:
            raise InvalidOptionError(
                "storages: expected a list such as [ColbertStorage(bits=1, pool=2)]"
            )
        chosen = [ColbertStorage.of(storage) for storage in storages]
        for storage in chosen:
            storage.check_dimension(schema.colbert)
    return list(dict.fromkeys([FULL, *chosen]))


def _without_pruning(storages: Sequence[ColbertStorage]) -> tuple[list[ColbertStorage], list[str]]:
    """Return the storages that need no lexical weights, and a note if others were left out."""
    kept = [storage for storage in storages if not storage.prune]
    if len(kept) == len(storages):
        return kept, []
    why = (
        "the source does not keep the lexical weight of each token, which pruning needs; an "
        "archive, or the documents encoded anew, have it"
    )
    if len(kept) == 1:
        raise InvalidOptionError(why)
    return kept, [f"storages that prune were left out: {why}"]


def _notes(asked: Questions, documents: int, available: int) -> list[str]:
    notes = []
    if documents < available:
        notes.append(
            f"a sample: {documents:,} of {available:,} documents"
            + (", those judged relevant first" if asked.qrels else "")
            + "; among fewer documents all questions are easier"
        )
    if not asked.qrels:
        notes.append(
            f"these are no judgements: {' and '.join(AGREEMENT)} say how much the order changes, "
            "not whether it gets worse"
        )
    if len(asked.texts) < _FEW:
        notes.append(f"{len(asked.texts)} questions say little; {_FEW} or more say something")
    return notes


# --- the table -----------------------------------------------------------------------------------


def _results(
    ranking: Ranking,
    documents: Sample,
    asked: Questions,
    schema: Schema,
    storages: Sequence[ColbertStorage],
) -> list[StorageResult]:
    measures = None if asked.qrels is None else Measures(JUDGED, asked.qrels)
    values: dict[RankedMode, list[dict[str, Values]]] = {}
    for mode in RANKED_MODES:
        full = list(ranking.scores(0, mode))
        values[mode] = []
        for number in range(len(storages)):
            scores = list(ranking.scores(number, mode)) if number else full
            if measures is None:
                values[mode].append(agreement_values(full, scores))
                continue
            rankings = {
                question: [documents.ids[row] for row in rows[best_rows(of_rows)].tolist()]
                for question, rows, of_rows in zip(
                    asked.texts, ranking.candidates, scores, strict=True
                )
            }
            values[mode].append(judged_values(rankings, measures))
        for metric, of_questions in values[mode][0].items():
            if of_questions.mean() <= 0:
                raise InvalidOptionError(
                    f"full token vectors reach a mean {metric} of 0: they find no relevant "
                    "document, so nothing can be compared; look at the questions and judgements"
                )
    light = float(documents.vectors.row_bytes().mean())
    results = []
    for number, storage in enumerate(storages):
        kept = sum(storage.kept(length) for length in documents.lengths.tolist())
        token_bytes = kept * storage.token_bytes(schema.colbert or 0) / len(documents.ids)
        qualities: dict[RankedMode, dict[str, Quality]] = {
            mode: {
                metric: quality(of_questions, values[mode][0][metric])
                for metric, of_questions in values[mode][number].items()
            }
            for mode in RANKED_MODES
        }
        results.append(StorageResult(storage, token_bytes, token_bytes + light, qualities))
    return sorted(results, key=lambda result: -result.token_bytes)
