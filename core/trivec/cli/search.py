"""`trivec search`: the best documents for a question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from trivec.cli.options import (
    AsJson,
    Device,
    Model,
    Precision,
    StoreArgument,
    load_encoder,
    print_json,
    weights_of,
)
from trivec.filters.parser import parse_filter
from trivec.hit import Hit
from trivec.search import as_mode
from trivec.stores.registry import open_store

__all__ = ["hits_table", "search"]


def search(
    store: StoreArgument,
    query: Annotated[str, typer.Argument(help="The question.")],
    model: Model = "BAAI/bge-m3",
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
        collection.count(condition)  # a wrong collection or filter is told before a model loads
        vector = load_encoder(model, device, precision).encode_query(query)
        hits = collection.search(
            vector,
            k=k,
            mode=as_mode(mode),
            weights=weights_of(weights),
            candidates=candidates,
            filter=condition,
        )
    if as_json:
        print_json([asdict(hit) for hit in hits])
    else:
        Console().print(hits_table(hits))


def hits_table(hits: Sequence[Hit]) -> Table:
    """Return hits as a table of scores, ids and the beginnings of texts."""
    table = Table(box=None, pad_edge=False, expand=True)
    for name in ("score", "dense", "sparse", "colbert", "id"):
        table.add_column(name, no_wrap=True)
    table.add_column("text", no_wrap=True, overflow="ellipsis", ratio=1)  # what room is left
    for hit in hits:
        parts = (hit.scores.dense, hit.scores.sparse, hit.scores.colbert)
        table.add_row(
            f"{hit.score:.4f}",
            *("" if part is None else f"{part:.3f}" for part in parts),
            escape(hit.document.id),
            escape(" ".join(hit.document.text.split())[:200]),
        )
    return table
