"""`trivec demo`: the main job on real text, start to end."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from trivec.checks import tokenizing
from trivec.cli.hits import hits_table
from trivec.cli.models import DEMO, ModelFlags
from trivec.cli.options import AsJson, Colbert, notes, output, print_json
from trivec.colbert_storage import ColbertStorage
from trivec.demo.collection import DemoCollection, Question, load_collection
from trivec.demo.lesson import matches, representations, shares, verdict
from trivec.demo.run import METRIC, measure, update
from trivec.encoders.caching import CachingEncoder
from trivec.encoders.protocol import TokenizingEncoder
from trivec.errors import MissingDependencyError
from trivec.folders import cache_folder
from trivec.hit import Hit
from trivec.insight.explanation import explain
from trivec.insight.measures import Measures
from trivec.insight.results import ModeResult
from trivec.outputs import make_folder
from trivec.search import Mode
from trivec.stores.registry import open_store
from trivec.stores.store import Store
from trivec.terminal import one_line
from trivec.vectors import Vector

SHOWN = ("exact", "meaning", "cross-lingual")
"""The kinds of question of which one example is shown with its hits."""

LEGEND = """\
nDCG@10 is 1 if the right passages come first. Kinds of question: exact (a code
tells the answer from its neighbours), meaning (the answer uses other words),
cross-lingual (it is in another language), plain (some words are shared)."""


@dataclass(frozen=True, kw_only=True)
class DemoModelFlags(ModelFlags):
    """The model options, with the demo model by default."""

    model: Annotated[
        str | None,
        typer.Option(help="Hub id or folder of the model; 'demo' is the small demo model."),
    ] = DEMO


def demo(
    model: DemoModelFlags,
    store: Annotated[
        str | None, typer.Option(help="URL of a collection; an embedded Qdrant by default.")
    ] = None,
    colbert: Colbert = None,
    as_json: AsJson = False,
) -> None:
    """Encode a multilingual collection once, search it in five modes, and compare them."""
    collection = load_collection()
    try:
        Measures([METRIC], collection.qrels)
    except MissingDependencyError as error:  # before a model is loaded
        raise MissingDependencyError(
            "the demo needs ir-measures; run: pip install 'trivec[demo,qdrant]'"
        ) from error
    url = store or _embedded(model.model or DEMO, colbert)
    with open_store(url, colbert=colbert) as target:
        encoder = tokenizing(model.load_for(target), "--model")
        report, reused = update(collection, encoder, target)
        notes.print(
            f"{report.documents} documents encoded and written, {reused} reused from {escape(url)}"
        )
        asked = CachingEncoder.sharing(encoder)  # the questions shown below are not encoded again
        results = measure(collection, asked, target).results
        if as_json:
            print_json(_as_json(collection, results))
            return
        out = output(highlight=False)
        by_mode: dict[Mode, ModeResult] = {result.mode: result for result in results}
        chosen = _chosen(collection, by_mode)
        out.print(_representations(asked.encode_query(chosen[0].text), chosen[0], encoder))
        out.print(_table(collection, results))
        out.print(Text(LEGEND, "dim"))
        for question in chosen:
            vector = asked.encode_query(question.text)
            out.print(_example(question, vector, collection, by_mode, encoder, target, out.width))


def _embedded(model: str, colbert: ColbertStorage | None) -> str:
    """Return the URL of the demo's own collection of a model and a storage."""
    folder: Path = cache_folder() / "demo"
    make_folder(folder)
    text = model if colbert is None else f"{model} {colbert}"
    name = "".join(c if c.isalnum() else "-" for c in text).strip("-").lower()
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
    """Return one question of each shown kind: where hybrid gains most over dense and sparse.

    The output is in English, so an English question is preferred if hybrid gains anything on it.
    """

    def gain(question: Question) -> float:
        hybrid, dense, sparse = (
            _ndcg(results[mode], question) for mode in ("hybrid", "dense", "sparse")
        )
        return hybrid - (dense + sparse) / 2

    def order(question: Question) -> tuple[bool, float]:
        return question.lang == "en" and gain(question) > 0, gain(question)

    return [max((q for q in collection.questions if q.kind == kind), key=order) for kind in SHOWN]


def _representations(
    vector: Vector, question: Question, encoder: TokenizingEncoder
) -> RenderableType:
    """Describe the three representations of one question."""
    lines = representations(vector, encoder.tokens(question.text))
    title = Text.assemble("The model reads ", (question.text, "bold"), " once and gives")
    return Group(title, *(Padding.indent(Text(line), 2) for line in lines), Text())


def _example(
    question: Question,
    query: Vector,
    collection: DemoCollection,
    results: Mapping[Mode, ModeResult],
    encoder: TokenizingEncoder,
    store: Store,
    width: int,
) -> RenderableType:
    """Show the best hits of a question, why the first one was found, and how the modes did."""
    hits = results["hybrid"].hits[question.id]
    title = Text.assemble("\n", (question.text, "bold"), f"  ({question.kind}, {question.id})")
    if not hits:
        return title
    stored = store.get([hits[0].document.id], with_vectors=True)
    explanation = explain(
        question.text,
        hits[0].document,
        encoder,
        query_vector=query,
        document_vector=stored.vectors[0] if stored.vectors is not None else None,
    )
    grades = collection.qrels[question.id]
    answers = {document for document, grade in grades.items() if grade == max(grades.values())}
    ranks: dict[Mode, int | None] = {
        mode: _rank(result.hits[question.id], answers) for mode, result in results.items()
    }
    return Group(
        title,
        hits_table(hits[:3], width),
        Text(f"first hit: {shares(explanation)}", "dim"),
        Text(one_line("; ".join(matches(explanation))), "dim"),
        Text(f"{verdict(ranks, hits, answers)}."),
    )


def _rank(hits: Sequence[Hit], answers: Collection[str]) -> int | None:
    return next((i for i, hit in enumerate(hits, start=1) if hit.document.id in answers), None)


def _as_json(collection: DemoCollection, results: Sequence[ModeResult]) -> list[object]:
    return [
        {
            "mode": result.mode,
            "ndcg@10": _mean(result, collection.questions),
            "ms_per_query": result.milliseconds,
            "questions": [
                {
                    **asdict(question),
                    "ndcg@10": _ndcg(result, question),
                    "hits": [
                        {"id": hit.document.id, "score": hit.score, "scores": asdict(hit.scores)}
                        for hit in result.hits[question.id]
                    ],
                }
                for question in collection.questions
            ],
        }
        for result in results
    ]
