"""Long documents: the passages of a stored one, and three ways to store them, as measured.

`TRIVEC_BENCHMARK_DATA` is the folder of the collections, by default `shared/data` beside the
repository; `tests/cases/joined_documents.py` says how they are joined. The demo model reads 512
tokens at once.
So a whole document is read in windows of whole sentences, and its vectors are those of its windows
laid end to end (sparse: the highest weights; dense: the mean). The vectors are archived in
`TRIVEC_BENCHMARK_VECTORS`, so that the next run encodes no document; by default in a temporary
folder. Nothing is random.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from joined_documents import LongDocuments, finds, read
from numpy.typing import NDArray

from trivec import (
    ColbertStorage,
    Encoder,
    Passages,
    Schema,
    Store,
    Vector,
    Vectors,
    Weights,
    best_passages,
    copy,
    ingest,
    open_store,
)
from trivec.demo.model import demo_model
from trivec.encoders.protocol import Token
from trivec.errors import CollectionNotFoundError
from trivec.insight.measures import Measures
from trivec.passages.splitting import Cuts, split
from trivec.passages.windows import Positions, best_apart
from trivec.rows import SparseRows, TokenRows
from trivec.scores import score_many
from trivec.search import Mode
from trivec.stores.reduction import reduced, rounded

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(2 * 3600)]

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("TRIVEC_BENCHMARK_DATA") or ROOT.parent / "shared" / "data")
NAMES = ("scifact", "xquad-r-ar", "xquad-r-de", "xquad-r-en", "xquad-r-zh")
WINDOW = 64
SHOWN = 3
EVERY = 4  # of the questions of XQuAD-R, for the three ways
FULL = ColbertStorage(bits=16)
SMALL = ColbertStorage(bits=1, pool=2)
WAYS: Mapping[str, Passages | None] = {
    "whole document": None,
    "passages alone": Passages(tokens=256),
    "late chunking": Passages(tokens=256, late=True),
}
MODES: tuple[Mode, ...] = ("hybrid", "dense")
DIMENSION = 1024  # of BGE-M3, for which bytes are given


class WindowEncoder:
    """The demo model as an encoder that reads texts of any length.

    Args:
        encoder: The encoder that reads one window.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.schema: Schema = encoder.schema
        self._encoder = encoder
        self._room = encoder.max_length - 2

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Encode texts, each in windows that are joined."""
        return Vectors.concatenate([self._document(text) for text in texts])

    def encode_passages(self, text: str, passages: Sequence[slice]) -> Vectors:
        """Encode passages in their context, as the encoder itself does."""
        return self._encoder.encode_passages(text, passages)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Encode questions."""
        return self._encoder.encode_queries(texts)

    def encode_query(self, text: str) -> Vector:
        """Encode one question."""
        return self._encoder.encode_query(text)

    async def aencode_documents(self, texts: Sequence[str]) -> Vectors:
        """Encode texts; nothing else runs here that could be blocked."""
        return self.encode_documents(texts)

    async def aencode_queries(self, texts: Sequence[str]) -> Vectors:
        """Encode questions; nothing else runs here that could be blocked."""
        return self.encode_queries(texts)

    async def aencode_query(self, text: str) -> Vector:
        """Encode a question; nothing else runs here that could be blocked."""
        return self.encode_query(text)

    def tokens(self, text: str) -> list[Token]:
        """Return all tokens of a text: one for each ColBERT vector."""
        return self._encoder.whole_tokens(text)[:-1]

    def whole_tokens(self, text: str) -> list[Token]:
        """Return all tokens of a text, and the last special one."""
        return self._encoder.whole_tokens(text)

    def _document(self, text: str) -> Vectors:
        parts = split(text, self.tokens(text), Passages(tokens=self._room, overlap=0))
        if len(parts) == 1:
            # As a passage of late chunking, so that all texts have the same rows.
            return self._encoder.encode_passages(text, [parts[0].tokens])
        vectors = self._encoder.encode_passages(text, [part.tokens for part in parts])
        assert vectors.dense is not None
        assert vectors.sparse is not None
        assert vectors.colbert is not None
        sizes = np.array([part.stop - part.first for part in parts])
        dense = sizes @ vectors.dense
        weights: dict[int, float] = {}
        for row in range(len(parts)):
            for id, weight in vectors.sparse.row(row).items():
                weights[id] = max(weight, weights.get(id, 0.0))
        colbert = TokenRows(
            np.array([0, len(vectors.colbert.values)]),
            vectors.colbert.values,
            weights=vectors.colbert.weights,
        )
        return Vectors(
            (dense / np.linalg.norm(dense))[None], SparseRows.from_dicts([weights]), colbert
        )


@dataclass(frozen=True, slots=True)
class Case:
    """A collection of long documents, an encoder, and its vectors of the questions."""

    name: str
    collection: LongDocuments
    encoder: WindowEncoder
    queries: dict[str, Vector]
    vectors: Path

    def asked(self) -> list[str]:
        """Return the questions that are asked: of XQuAD-R, a part."""
        return list(self.collection.questions)[:: 1 if self.name == "scifact" else EVERY]

    def store(self, way: str, storage: ColbertStorage) -> Store:
        """Return the documents stored in one of the three ways."""
        name = f"{self.name}-{way.replace(' ', '-')}"
        store = open_store(f"memory:/{name}-{storage.bits}")
        if not has(store):
            with open_store(f"archive:{self.vectors / name}") as archive:
                archive.create(self.encoder.schema, fields={"parent": str}, exist_ok=True)
                journal = self.vectors / f"{name}.journal"
                ingest(
                    self.collection.documents,
                    self.encoder,
                    archive,
                    passages=WAYS[way],
                    journal=journal,
                )
                copy(archive, store, colbert=storage)
        return store


@pytest.fixture(scope="module")
def model() -> Encoder:
    return Encoder.load(demo_model(), device="cpu", colbert_dtype="float16")


@pytest.fixture(scope="module", params=NAMES)
def case(request: pytest.FixtureRequest, model: Encoder, vectors: Path) -> Case:
    folder = DATA / str(request.param)
    if not folder.is_dir():
        pytest.skip(f"there is no folder {folder}; TRIVEC_BENCHMARK_DATA names another one")
    encoder = WindowEncoder(model)
    collection = read(folder, lambda text: len(encoder.tokens(text)))
    lengths = [len(encoder.tokens(document.text)) for document in collection.documents]
    assert all(1000 <= length <= 6000 for length in lengths)
    asked = model.encode_queries(list(collection.questions.values()))
    queries = dict(zip(collection.questions, asked, strict=True))
    return Case(folder.name, collection, encoder, queries, vectors)


def test_best_passages_find_the_answers(
    case: Case, model: Encoder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stored vectors find the answers as encoding the same windows one by one does."""
    documents = {document.id: document for document in case.collection.documents}
    stored = {
        str(storage): {id: vector_of(store, id) for id in documents}
        for storage in (FULL, SMALL)
        for store in [case.store("whole document", storage)]
    }
    windows = {id: Windows.of(case.encoder, document.text) for id, document in documents.items()}
    alone = {id: model.encode_documents(each.texts) for id, each in windows.items()}
    passes = 0

    def count(*_: object) -> None:
        nonlocal passes
        passes += 1

    results: dict[str, list[list[bool]]] = {}
    with monkeypatch.context() as patch:
        patch.setattr(model, "_encode_batch", count)
        for question, answers in case.collection.answers.items():
            query = case.queries[question]
            for id in dict.fromkeys(answer.document for answer in answers):
                here = [answer for answer in answers if answer.document == id]

                spans: dict[str, list[tuple[int, int]]] = {}
                for way, vectors in stored.items():
                    best = best_passages(
                        query,
                        documents[id],
                        vectors[id],
                        case.encoder,
                        tokens=WINDOW,
                        k=SHOWN,
                    )
                    spans[way] = [(passage.start, passage.end) for passage in best]
                parts = score_many(query, alone[id])
                general = Weights.GENERAL
                lexical = replace(general, dense=0)
                spans["alone"] = windows[id].best(parts.hybrid(lexical))
                spans["alone, with dense"] = windows[id].best(parts.hybrid(general))
                for way, found in spans.items():
                    hits = [any(finds(answer, *span) for answer in here) for span in found]
                    results.setdefault(way, []).append(hits)
    assert passes == 0
    recall = {way: recall_at(hits) for way, hits in results.items()}
    with capsys.disabled():
        print(f"\n{case.name}: {len(documents)} documents, {len(results['alone'])} pairs")
        for way, values in recall.items():
            shares = values / recall["alone"]
            print(f"| {way} | " + " | ".join(f"{100 * v:.1f}" for v in (*values, *shares)) + " |")
    assert recall[str(FULL)][-1] >= 0.98 * recall["alone"][-1]


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows of a text that `best_passages` scores, and their texts."""

    texts: list[str]
    spans: list[tuple[int, int]]
    starts: Positions
    ends: Positions

    @classmethod
    def of(cls, encoder: WindowEncoder, text: str) -> Windows:
        """Return windows of at most `WINDOW` tokens that begin with each sentence."""
        cuts = Cuts(text, encoder.tokens(text))
        borders = np.array(cuts.pieces(WINDOW), np.int64)
        starts = borders[:-1]
        ends = borders[np.searchsorted(borders, starts + WINDOW, side="right") - 1]
        pairs = zip(starts.tolist(), ends.tolist(), strict=True)
        passages = [cuts.passage(start, end) for start, end in pairs]
        spans = [(passage.start, passage.end) for passage in passages]
        return cls([text[start:end] for start, end in spans], spans, starts, ends)

    def best(self, scores: NDArray[np.float64]) -> list[tuple[int, int]]:
        """Return the best windows that do not overlap."""
        ranked = best_apart(scores, self.starts, self.ends)
        return [self.spans[best] for best, _ in zip(ranked, range(SHOWN), strict=False)]


def vector_of(store: Store, id: str) -> Vector:
    """Return the stored vectors of a document."""
    vectors = store.get([id], with_vectors=True).vectors
    assert vectors is not None
    return vectors[0]


def has(store: Store) -> bool:
    """Return whether a collection exists."""
    try:
        return store.count() > 0
    except CollectionNotFoundError:
        return False


def recall_at(found: Sequence[Sequence[bool]]) -> NDArray[np.float64]:
    """Return the share of lists with a hit among the first 1, 2… `SHOWN`."""
    return np.array(
        [np.mean([any(hits[:k]) for hits in found]) for k in range(1, SHOWN + 1)], np.float64
    )


def test_three_ways_to_store_long_documents(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    """Rank documents whole, by passages read alone, and by passages of late chunking."""
    questions = case.asked()
    qrels = {id: grades for id, grades in case.collection.qrels().items() if id in questions}
    measure = Measures(["nDCG@10"], qrels)
    queries = [case.queries[id] for id in questions]
    table: dict[tuple[str, str], list[float]] = {}
    for way in WAYS:
        for storage in (FULL, SMALL):
            store = case.store(way, storage)
            cells = [ndcg(measure, questions, store, queries, mode) for mode in MODES]
            table[way, str(storage)] = [*cells, kilobytes(store, storage)]
    with capsys.disabled():
        print(f"\n{case.name}: {len(case.collection.documents)} documents, {len(questions)} asked")
        print(f"| way | storage | {' | '.join(MODES)} | KB a document |")
        for (way, kept), (*cells, size) in table.items():
            shown = " | ".join(f"{100 * cell:.1f}" for cell in cells)
            print(f"| {way} | `{kept}` | {shown} | {size:,.0f} |")


def ndcg(
    measure: Measures, ids: Sequence[str], store: Store, queries: Sequence[Vector], mode: Mode
) -> float:
    """Return the mean nDCG@10 of documents, each ranked by itself or by its best passage."""
    found = store.search_many(queries, k=10, mode=mode, group_by="parent")
    ranked = {
        id: [str(hit.group or hit.document.id) for hit in hits]
        for id, hits in zip(ids, found, strict=True)
    }
    return float(np.mean([*measure(ranked)["nDCG@10"].values()]))


def kilobytes(store: Store, storage: ColbertStorage) -> float:
    """Return the mean size of a document's vectors at 1,024 dimensions, whatever the model's."""
    total, documents = 0, set[str]()
    for page in store.scan(with_vectors=True):
        for document, vector in zip(page.documents, page.vectors or (), strict=True):
            documents.add(str(document.metadata.get("parent", document.id)))
            rows = 0 if vector.colbert is None else len(vector.colbert)
            total += 4 * DIMENSION + 8 * len(vector.sparse or {})
            total += rows * storage.token_bytes(DIMENSION)
    return total / len(documents) / 1000


def test_the_time_of_passages(
    case: Case, model: Encoder, capsys: pytest.CaptureFixture[str]
) -> None:
    """The best passages of 8,192 tokens take far less time than encoding them."""
    joined = "\n\n".join(document.text for document in case.collection.documents)
    text = joined[: case.encoder.tokens(joined)[8191].end]
    tokens = case.encoder.whole_tokens(text)
    started = time.process_time()
    vectors = case.encoder.encode_documents([text])
    encoding = time.process_time() - started
    query = next(iter(case.queries.values()))
    small = rounded_to(vectors, SMALL)
    times = {
        "tokens": least(lambda: case.encoder.whole_tokens(text)),
        "splitting": least(lambda: split(text, tokens, Passages())),
        "best passages": least(lambda: best_passages(query, text, vectors[0], case.encoder)),
        f"best passages, {SMALL}": least(
            lambda: best_passages(query, text, small[0], case.encoder)
        ),
    }
    with capsys.disabled():
        shown = ", ".join(f"{name} {1000 * seconds:.0f} ms" for name, seconds in times.items())
        print(f"\n{case.name}, {len(tokens)} tokens, load {psutil.getloadavg()[0]:.1f}: {shown}")
        print(f"encoding {1000 * encoding:.0f} ms")
    assert max(times.values()) < encoding / 10


def rounded_to(vectors: Vectors, storage: ColbertStorage) -> Vectors:
    """Return vectors as a collection keeps them."""
    assert vectors.colbert is not None
    return replace(vectors, colbert=rounded(reduced(vectors.colbert, storage), storage))


def least(call: Callable[[], object]) -> float:
    """Return the least processor time of five calls."""
    times: list[float] = []
    for _ in range(5):
        started = time.process_time()
        call()
        times.append(time.process_time() - started)
    return min(times)
