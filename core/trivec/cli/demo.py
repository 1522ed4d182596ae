"""`trivec demo`: the main job on real text, start to end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from trivec.cli.options import AsJson, Device, Model, Precision, load_encoder, notes, print_json
from trivec.cli.search import hits_table
from trivec.demo.collection import DemoCollection, Question, load_collection
from trivec.demo.model import default_cache
from trivec.demo.run import METRIC, measure, update
from trivec.insight.evaluation import ModeResult
from trivec.search import Mode
from trivec.stores.registry import open_store

__all__ = ["demo"]

SHOWN = ("exact", "meaning", "cross-lingual")
"""The kinds of question of which one is shown with its hits."""


def demo(
    model: Model = "demo",
    device: Device = "auto",
    precision: Precision = "auto",
    store: Annotated[
        str | None, typer.Option(help="URL of a collection; an embedded Qdrant by default.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Encode a multilingual collection once, search it in five modes, and compare them."""
    collection = load_collection()
    encoder = load_encoder(model, device, precision)
    url = store or _embedded(model)
    with open_store(url) as target:
        report, reused = update(collection, encoder, target)
        notes.print(f"{report.documents} documents encoded and written, {reused} reused from {url}")
        results = measure(collection, encoder, target).results
    if as_json:
        print_json(_as_json(collection, results))
        return
    out = Console()
    out.print(_table(collection, results))
    by_mode: dict[Mode, ModeResult] = {result.mode: result for result in results}
    for question in _chosen(collection, by_mode):
        out.print(f"\n[bold]{question.text}[/bold]  ({question.kind}, {question.id})")
        out.print(hits_table(by_mode["hybrid"].hits[question.id][:3]))
        out.print(f"[dim]{_ranks(question, collection, results)}[/dim]")


def _embedded(model: str) -> str:
    folder: Path = default_cache() / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    name = "".join(c if c.isalnum() else "-" for c in model).strip("-").lower()
    return f"qdrant+edge:{folder}/{name}"


def _table(collection: DemoCollection, results: Sequence[ModeResult]) -> Table:
    kinds = sorted({question.kind for question in collection.questions})
    title = (
        f"nDCG@10 on {len(collection.documents)} passages, {len(collection.questions)} questions"
    )
    table = Table("mode", "all", *kinds, "ms per query", title=title, title_justify="left")
    for result in results:
        scores = [_mean(result, collection.questions)]
        for kind in kinds:
            scores.append(_mean(result, [q for q in collection.questions if q.kind == kind]))
        style = "bold" if result.mode == "hybrid" else ""
        cells = [f"{score:.3f}" for score in scores]
        table.add_row(result.mode, *cells, f"{result.milliseconds:.1f}", style=style)
    return table


def _mean(result: ModeResult, questions: Sequence[Question]) -> float:
    return sum(_ndcg(result, question) for question in questions) / max(1, len(questions))


def _ndcg(result: ModeResult, question: Question) -> float:
    return result.values[METRIC][question.id]


def _chosen(collection: DemoCollection, results: Mapping[Mode, ModeResult]) -> list[Question]:
    """Return one question of each kind shown: where hybrid gains most over dense and sparse."""

    def gain(question: Question) -> float:
        hybrid, dense, sparse = (
            _ndcg(results[mode], question) for mode in ("hybrid", "dense", "sparse")
        )
        return hybrid - (dense + sparse) / 2

    return [max((q for q in collection.questions if q.kind == kind), key=gain) for kind in SHOWN]


def _ranks(question: Question, collection: DemoCollection, results: Sequence[ModeResult]) -> str:
    """Say at which rank each mode has the first document that answers the question."""
    grades = collection.qrels[question.id]
    best = {document for document, grade in grades.items() if grade == max(grades.values())}
    ranks = []
    for result in results:
        ids = [hit.document.id for hit in result.hits[question.id]]
        rank = next((i for i, one in enumerate(ids, start=1) if one in best), None)
        ranks.append(f"{result.mode} {rank or 'not in the first 10'}")
    return "rank of the answer: " + ", ".join(ranks)


def _as_json(collection: DemoCollection, results: Sequence[ModeResult]) -> list[object]:
    return [
        {
            "mode": result.mode,
            "ndcg@10": _mean(result, collection.questions),
            "ms_per_query": result.milliseconds,
            "questions": [
                {**asdict(q), "ndcg@10": _ndcg(result, q), "hits": _hits(result, q)}
                for q in collection.questions
            ],
        }
        for result in results
    ]


def _hits(result: ModeResult, question: Question) -> list[object]:
    return [
        {"id": hit.document.id, "score": hit.score, "scores": asdict(hit.scores)}
        for hit in result.hits[question.id]
    ]
