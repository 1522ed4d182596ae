"""`trivec search`: the best documents for a question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Annotated

import typer
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

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
from trivec.hit import Hit
from trivec.search import as_mode
from trivec.stores.registry import open_store
from trivec.terminal import one_line

__all__ = ["hits_table", "search"]


def search(
    store: StoreArgument,
    query: Annotated[str, typer.Argument(help="The question.")],
    model: CollectionModel = None,
    model_name: ModelName = None,
    device: Device = "auto",
    precision: Precision = "auto",
    mode: Annotated[str, typer.Option(help="dense, sparse, colbert, hybrid or rrf.")] = "hybrid",
    k: Annotated[int, typer.Option("-k", help="How many hits.")] = 10,
    weights: Annotated[
        str, typer.Option(help="general, model_card, long_documents, or three numbers.")
    ] = "general",
    candidates: Annotated[int, typer.Option(help="How many documents each source gives.")] = 100,
    filter: Annotated[
        str | None, typer.Option(help="""Such as 'year >= 2020 and lang in ["de", "en"]'.""")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the best documents with the parts of their scores."""
    condition = None if filter is None else parse_filter(filter)
    with open_store(store) as collection:
        find = partial(
            collection.search_many,
            k=k,
            mode=as_mode(mode),
            weights=weights_of(weights),
            candidates=candidates,
            filter=condition,
        )
        # What is wrong is told before a model loads: options, the collection, the model's name.
        find([])
        collection.count(condition)
        model = model_of(collection, model, model_name)
        encoder = load_encoder(model, device, precision, model_name)
        collection.schema.check_model(encoder.schema.model)
        hits = find([encoder.encode_query(query)])[0]
    if as_json:
        print_json([asdict(hit) for hit in hits])
    else:
        out = output()
        out.print(hits_table(hits, out.width))


def hits_table(hits: Sequence[Hit], width: int) -> Table:
    """Return hits as a table of scores, ids and the beginnings of texts.

    Args:
        hits: The hits.
        width: The cells of a line. Scores are never cut, ids are folded, and texts get what room
            is left.
    """
    rows = [
        (
            f"{hit.score:.4f}",
            *("" if part is None else f"{part:.3f}" for part in _parts(hit)),
            one_line(hit.document.id),
            one_line(" ".join(hit.document.text.split())[:200]),
        )
        for hit in hits
    ]
    table = Table(box=None, pad_edge=False)
    room = width
    for place, name in enumerate(("score", "dense", "sparse", "colbert")):
        longest = max([len(name), *(len(row[place]) for row in rows)])
        table.add_column(name, no_wrap=True, min_width=longest)
        room -= longest + 2
    longest = max([len("id"), *(cell_len(row[-2]) for row in rows)])
    table.add_column("id", overflow="fold", width=max(2, min(longest, room * 3 // 4)))
    table.add_column("text")
    for *numbers, id, text in rows:
        # Text, since a string would be read as markup; not to be wrapped is a matter of the
        # cells, since a column that says so of itself would not shrink.
        table.add_row(*numbers, Text(id), Text(text, no_wrap=True, overflow="ellipsis"))
    return table


def _parts(hit: Hit) -> tuple[float | None, float | None, float | None]:
    return hit.scores.dense, hit.scores.sparse, hit.scores.colbert
