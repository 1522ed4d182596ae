"""`trivec tune`: the best weights for one's own questions."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from trivec.cli.evaluate import DataArgument, QrelsOption, read_judged
from trivec.cli.models import CollectionModel, ModelName, model_of
from trivec.cli.options import (
    AsJson,
    Device,
    Precision,
    StoreArgument,
    load_encoder,
    output,
    print_json,
    weights_of,
)
from trivec.filters.parser import parse_filter
from trivec.insight.measures import Measures
from trivec.insight.tuning import tune as search_weights
from trivec.stores.registry import open_store

__all__ = ["tune"]


def tune(
    store: StoreArgument,
    data: DataArgument,
    qrels: QrelsOption = None,
    split: Annotated[str, typer.Option(help="Which qrels of a BEIR folder.")] = "test",
    model: CollectionModel = None,
    model_name: ModelName = None,
    device: Device = "auto",
    precision: Precision = "auto",
    metric: Annotated[str, typer.Option(help="As ir-measures spells it.")] = "nDCG@10",
    weights: Annotated[
        str, typer.Option(help="What to compare with: a preset's name or three numbers.")
    ] = "general",
    candidates: Annotated[int, typer.Option(help="How many documents each source gives.")] = 100,
    filter: Annotated[str | None, typer.Option(help="Such as 'year >= 2020'.")] = None,
    seed: Annotated[int, typer.Option(help="Of the split into halves.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Find the best weights of hybrid search, and whether their gain is more than chance."""
    queries, judgements = read_judged(data, qrels, split)
    baseline = weights_of(weights)
    condition = None if filter is None else parse_filter(filter)
    with open_store(store) as collection:
        # What is wrong is told before a model loads: options, the collection, the model's name.
        collection.search_many([], weights=baseline, candidates=candidates, filter=condition)
        Measures([metric], judgements)
        collection.count(condition)
        model = model_of(collection, model, model_name)
        found = search_weights(
            collection,
            load_encoder(model, device, precision, model_name),
            queries,
            judgements,
            metric=metric,
            baseline=baseline,
            candidates=candidates,
            filter=condition,
            seed=seed,
        )
    if as_json:
        print_json({**asdict(found), "warning": found.warning})
    else:
        output().print(found)
