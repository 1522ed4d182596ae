"""`trivec evaluate`: how well each mode finds what was judged relevant."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from trivec.cli.models import CollectionModel, ModelName, model_of
from trivec.cli.options import (
    AsJson,
    Device,
    Precision,
    StoreArgument,
    inputs_of,
    load_encoder,
    notes,
    output,
    print_json,
    weights_of,
)
from trivec.errors import InvalidOptionError
from trivec.filters.parser import parse_filter
from trivec.insight.evaluation import METRICS, Evaluation
from trivec.insight.evaluation import evaluate as measure
from trivec.insight.judgements import Qrels, read_beir, read_qrels, read_queries
from trivec.insight.measures import Measures
from trivec.outputs import check_folder, check_outputs
from trivec.search import MODES, Mode, as_mode
from trivec.stores.registry import open_store

__all__ = ["DataArgument", "QrelsOption", "evaluate", "read_judged"]

DataArgument = Annotated[
    Path,
    typer.Argument(help="A folder in BEIR's layout, or a file of questions with --qrels."),
]
QrelsOption = Annotated[
    Path | None, typer.Option(help="Judgements: query, document, grade; TSV, TREC or JSON Lines.")
]


def evaluate(
    store: StoreArgument,
    data: DataArgument,
    qrels: QrelsOption = None,
    split: Annotated[str, typer.Option(help="Which qrels of a BEIR folder.")] = "test",
    model: CollectionModel = None,
    model_name: ModelName = None,
    device: Device = "auto",
    precision: Precision = "auto",
    mode: Annotated[
        list[str] | None, typer.Option(help="A mode; repeat for more, all by default.")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(help=f"As ir-measures spells it; repeat. {', '.join(METRICS)} by default."),
    ] = None,
    k: Annotated[int, typer.Option("-k", help="How many hits of each question.")] = 100,
    weights: Annotated[
        str, typer.Option(help="general, model_card, long_documents, or three numbers.")
    ] = "general",
    candidates: Annotated[int, typer.Option(help="How many documents each source gives.")] = 100,
    filter: Annotated[str | None, typer.Option(help="Such as 'year >= 2020'.")] = None,
    reference: Annotated[
        str | None, typer.Option(help="The mode that others are tested against.")
    ] = None,
    runs: Annotated[Path | None, typer.Option(help="Write TREC run files here.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with charts here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure search modes on your own questions and judgements."""
    modes: list[Mode] | None = None if mode is None else [as_mode(one) for one in mode]
    inputs = inputs_of(*_judged_files(data, qrels, split), stores=[store], model=model)
    outputs = {"--html": html}
    if runs is not None:
        check_folder(runs, inputs=inputs, what="--runs")
        if runs.is_dir():
            outputs |= {f"--runs, {one}": runs / f"{one}.run" for one in modes or MODES}
    check_outputs(outputs, inputs=inputs)
    queries, judgements = read_judged(data, qrels, split)
    condition = None if filter is None else parse_filter(filter)
    checked: list[Mode] = modes or ["hybrid"]
    against = None if reference is None else as_mode(reference)
    chosen = weights_of(weights)
    with open_store(store) as collection:
        # What is wrong is told before a model loads: options, the collection, the model's name.
        for one in checked:
            collection.search_many(
                [], k=k, mode=one, weights=chosen, candidates=candidates, filter=condition
            )
        Measures(metric or METRICS, judgements)
        collection.count(condition)
        model = model_of(collection, model, model_name)
        found = measure(
            collection,
            load_encoder(model, device, precision, model_name),
            queries,
            judgements,
            modes=modes,
            metrics=metric or METRICS,
            k=k,
            weights=chosen,
            candidates=candidates,
            filter=condition,
            reference=against,
        )
    if runs is not None:
        found.write_runs(runs)
        notes.print(f"run files are in {escape(str(runs))}")
    if html is not None:
        found.write_html(html)
        notes.print(f"the charts are in {escape(str(html))}")
    if as_json:
        print_json(_as_json(found))
    else:
        output().print(found)


def _judged_files(data: Path, qrels: Path | None, split: str) -> list[Path | None]:
    """Return what `read_judged` may read."""
    if not data.is_dir():
        return [data, qrels]
    return [data / "queries.jsonl", data / "qrels" / f"{split}.tsv", data / "qrels.tsv", qrels]


def read_judged(data: Path, qrels: Path | None, split: str) -> tuple[dict[str, str], Qrels]:
    """Read questions and judgements from a folder, or from two files."""
    if data.is_dir():
        queries, judgements = read_beir(data, split=split)
        return queries, judgements if qrels is None else read_qrels(qrels)
    if qrels is None:
        raise InvalidOptionError(f"{data} is no folder; give --qrels with a file of questions")
    return read_queries(data), read_qrels(qrels)


def _as_json(found: Evaluation) -> list[object]:
    p_values = {metric: found.p_values(metric) for metric in found.metrics}
    return [
        {
            "mode": result.mode,
            "queries": len(found.queries),
            "ms_per_query": result.milliseconds,
            "metrics": {
                metric: {
                    "mean": result.mean(metric),
                    "interval": result.interval(metric),
                    "p": p_values[metric].get(result.mode),
                }
                for metric in found.metrics
            },
        }
        for result in found.results
    ]
