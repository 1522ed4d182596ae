"""`trivec evaluate`: compare search modes on judged questions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from trivec.cli.models import ModelFlags
from trivec.cli.options import (
    AsJson,
    GroupBy,
    K,
    SearchFlags,
    StoreArgument,
    check_search,
    inputs_of,
    notes,
    output,
    print_json,
)
from trivec.errors import InvalidOptionError
from trivec.insight.evaluation import METRICS, Evaluation
from trivec.insight.evaluation import evaluate as measure
from trivec.insight.judgements import Qrels, read_beir, read_qrels, read_queries
from trivec.insight.measures import Measures
from trivec.outputs import check_folder, check_outputs
from trivec.search import MODES, Mode, SearchOptions, as_mode
from trivec.stores.registry import open_store

DataArgument = Annotated[
    Path,
    typer.Argument(help="A folder in BEIR's layout, or a file of questions with --qrels."),
]
QrelsOption = Annotated[
    Path | None,
    typer.Option(help="A file of judgements (query, document, grade): TSV, TREC or JSON Lines."),
]
SplitOption = Annotated[str, typer.Option(help="The name of the qrels in a BEIR folder.")]


def evaluate(
    store: StoreArgument,
    data: DataArgument,
    model: ModelFlags,
    flags: SearchFlags,
    qrels: QrelsOption = None,
    split: SplitOption = "test",
    mode: Annotated[
        list[str] | None, typer.Option(help="A mode; repeat for more. All by default.")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="A metric as ir-measures spells it; repeat for more. "
            f"{', '.join(METRICS)} by default."
        ),
    ] = None,
    k: K = 100,
    group_by: GroupBy = None,
    reference: Annotated[
        str | None, typer.Option(help="The mode that the others are tested against.")
    ] = None,
    runs: Annotated[Path | None, typer.Option(help="Write TREC run files to this folder.")] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a page with charts to this file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure search modes on your own questions and judgements.

    With --group-by the judgements are of groups, such as the documents that passages are of.
    """
    modes: list[Mode] | None = None if mode is None else [as_mode(name) for name in mode]
    inputs = inputs_of(*judged_files(data, qrels, split), model.folder, stores=[store])
    outputs = {"--html": html}
    if runs is not None:
        check_folder(runs, inputs=inputs, what="--runs")
        if runs.is_dir():
            outputs |= {f"--runs, {name}": runs / f"{name}.run" for name in modes or MODES}
    check_outputs(outputs, inputs=inputs)
    queries, judgements = read_judged(data, qrels, split)
    options: SearchOptions = {**flags.options(), "k": k, "group_by": group_by}
    checked: list[Mode] = modes or ["hybrid"]
    against = None if reference is None else as_mode(reference)
    with open_store(store) as collection:
        for name in checked:
            check_search(collection, {**options, "mode": name})
        Measures(metric or METRICS, judgements)  # an unknown metric fails before a model is loaded
        evaluation = measure(
            collection,
            model.load_for(collection),
            queries,
            judgements,
            modes=modes,
            metrics=metric or METRICS,
            reference=against,
            **options,
        )
    if runs is not None:
        evaluation.write_runs(runs)
        notes.print(f"run files are in {escape(str(runs))}")
    if html is not None:
        evaluation.write_html(html)
        notes.print(f"the charts are in {escape(str(html))}")
    if as_json:
        print_json(_as_json(evaluation))
    else:
        output().print(evaluation)


def judged_files(data: Path, qrels: Path | None, split: str) -> list[Path | None]:
    """Return the files that `read_judged` may read."""
    if not data.is_dir():
        return [data, qrels]
    return [data / "queries.jsonl", data / "qrels" / f"{split}.tsv", data / "qrels.tsv", qrels]


def read_judged(data: Path, qrels: Path | None, split: str) -> tuple[dict[str, str], Qrels]:
    """Read questions and judgements from a folder in BEIR's layout, or from two files."""
    if data.is_dir():
        queries, judgements = read_beir(data, split=split)
        return queries, judgements if qrels is None else read_qrels(qrels)
    if qrels is None:
        raise InvalidOptionError(f"{data} is not a folder; with a file of questions, give --qrels")
    return read_queries(data), read_qrels(qrels)


def _as_json(evaluation: Evaluation) -> list[object]:
    p_values = {metric: evaluation.p_values(metric) for metric in evaluation.metrics}
    return [
        {
            "mode": result.mode,
            "queries": len(evaluation.queries),
            "ms_per_query": result.milliseconds,
            "metrics": {
                metric: {
                    "mean": result.mean(metric),
                    "interval": result.interval(metric),
                    "p": p_values[metric].get(result.mode),
                }
                for metric in evaluation.metrics
            },
        }
        for result in evaluation.results
    ]
