"""`trivec tune`: the best weights for a set of questions."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from trivec.cli.evaluate import DataArgument, QrelsOption, SplitOption, read_judged
from trivec.cli.models import ModelFlags
from trivec.cli.options import AsJson, SearchFlags, StoreArgument, check_search, output, print_json
from trivec.insight.measures import Measures
from trivec.insight.tuning import tune as tune_weights
from trivec.stores.registry import open_store


def tune(
    store: StoreArgument,
    data: DataArgument,
    model: ModelFlags,
    flags: SearchFlags,
    qrels: QrelsOption = None,
    split: SplitOption = "test",
    metric: Annotated[str, typer.Option(help="A metric as ir-measures spells it.")] = "nDCG@10",
    seed: Annotated[int, typer.Option(help="The seed of the random split into halves.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Find better weights than --weights, and test whether their gain is more than chance."""
    queries, judgements = read_judged(data, qrels, split)
    options = flags.options()
    baseline = options.pop("weights")
    with open_store(store) as collection:
        check_search(collection, {**options, "weights": baseline})
        Measures([metric], judgements)  # an unknown metric fails before a model is loaded
        tuning = tune_weights(
            collection,
            model.load_for(collection),
            queries,
            judgements,
            metric=metric,
            baseline=baseline,
            seed=seed,
            **options,
        )
    if as_json:
        print_json({**asdict(tuning), "warning": tuning.warning})
    else:
        output().print(tuning)
