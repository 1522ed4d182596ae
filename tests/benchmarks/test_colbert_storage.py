"""The quality of small token vectors on judged collections, and the table of docs/benchmarks.md.

`TRIVEC_BENCHMARK_DATA` is the folder of the collections, by default `shared/data` beside the
repository; each has `corpus.jsonl`, `queries.jsonl` and `qrels.tsv` in BEIR's layout. The
collection of `trivec demo` is measured too: nothing was chosen by it. The demo model encodes the
documents into archives in `TRIVEC_BENCHMARK_VECTORS`, so that the next run encodes nothing; by
default into a temporary folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from trivec import Document, Encoder, StorageReport, ingest, measure_storage, open_store
from trivec.demo.collection import load_collection
from trivec.demo.model import demo_model
from trivec.insight.judgements import Qrels, read_beir

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(6 * 3600)]

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("TRIVEC_BENCHMARK_DATA") or ROOT.parent / "shared" / "data")
NAMES = ("demo", "scifact", "xquad-r-ar", "xquad-r-de", "xquad-r-en", "xquad-r-zh")
SHOWN = ("bits=4", "bits=1", "bits=1,pool=2", "bits=1,pool=3", "bits=1,prune=1/3")


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.load(demo_model(), device="cpu")


@pytest.fixture(scope="module", params=NAMES)
def report(request: pytest.FixtureRequest, vectors: Path, encoder: Encoder) -> StorageReport:
    """Measure one collection with all of its documents and questions."""
    documents, queries, qrels = collection(request.param)
    with open_store(f"archive:{vectors / request.param}") as archive:
        archive.create(encoder.schema, exist_ok=True)
        if archive.count() < len(documents):
            ingest(documents, encoder, archive)
        return measure_storage(
            archive, encoder, queries, qrels, storages=SHOWN, sample=len(documents)
        )


def collection(name: str) -> tuple[list[Document], dict[str, str], Qrels]:
    """Return the documents, questions and judgements of a collection."""
    if name == "demo":
        demo = load_collection()
        return demo.documents, {q.id: q.text for q in demo.questions}, demo.qrels
    folder = DATA / name
    if not folder.is_dir():
        pytest.skip(f"there is no folder {folder}; TRIVEC_BENCHMARK_DATA names another one")
    return list(read_corpus(folder / "corpus.jsonl")), *read_beir(folder)


def read_corpus(path: Path) -> Iterator[Document]:
    """Yield the documents of a file in BEIR's layout."""
    for line in path.read_text("utf-8").splitlines():
        row = json.loads(line)
        yield Document(row["_id"], f"{row.get('title', '')} {row['text']}".strip())


def test_what_small_token_vectors_keep(
    report: StorageReport, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    name = request.node.callspec.params["report"]
    full = report.full.quality("hybrid").mean
    with capsys.disabled():
        print(
            f"\n{name}: {report.documents:,} documents of {report.tokens:.0f} token vectors, "
            f"{report.questions:,} questions, hybrid nDCG@10 {full:.3f} with full float32"
        )
        print("| storage | bytes | ColBERT | hybrid |\n| --- | --- | --- | --- |")
        for storage in SHOWN:
            result = report.result(storage)
            cells = []
            for quality in (result.quality("colbert"), result.quality("hybrid")):
                low, high = (100 * end for end in quality.interval)
                cells.append(f"{100 * quality.share:.1f} ({low:.1f} to {high:.1f})")
            smaller = report.full.token_bytes / result.token_bytes
            print(f"| `{storage}` | 1/{smaller:.0f} | {cells[0]} | {cells[1]} |")
    halved, third = report.result("bits=1,pool=2"), report.result("bits=1,pool=3")
    assert halved.token_bytes <= report.full.token_bytes / 60
    if name == "demo":  # 140 questions say little: the bounds must lie within the intervals
        assert halved.quality("hybrid").interval.high >= 0.99
        assert halved.quality("colbert").interval.high >= 0.975
        return
    assert halved.quality("hybrid").share >= 0.99
    assert halved.quality("colbert").share >= 0.975
    assert third.quality("hybrid").share >= 0.985
