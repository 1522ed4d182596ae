"""`trivec search`: the best documents for a question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from trivec.cli.models import ModelFlags
from trivec.cli.options import (
    AsJson,
    K,
    SearchFlags,
    StoreArgument,
    check_search,
    output,
    print_json,
)
from trivec.hit import Hit
from trivec.search import PARTS, SearchOptions, as_mode
from trivec.stores.registry import open_store
from trivec.terminal import one_line


def search(
    store: StoreArgument,
    query: Annotated[str, typer.Argument(help="The question.")],
    model: ModelFlags,
    flags: SearchFlags,
    mode: Annotated[str, typer.Option(help="dense, sparse, colbert, hybrid or rrf.")] = "hybrid",
    k: K = 10,
    as_json: AsJson = False,
) -> None:
    """Print the best documents with the parts of their scores."""
    options: SearchOptions = {**flags.options(), "mode": as_mode(mode), "k": k}
    with open_store(store) as collection:
        check_search(collection, options)
        encoder = model.load_for(collection)
        hits = collection.search(encoder.encode_query(query), **options)
    if as_json:
        print_json([asdict(hit) for hit in hits])
    else:
        out = output()
        out.print(hits_table(hits, out.width))


def hits_table(hits: Sequence[Hit], width: int) -> Table:
    """Return hits as a table of scores, ids and the beginnings of texts.

    In a line of this width in columns of the terminal, scores are never cut, ids are folded, and
    texts get the remaining width.
    """
    rows = [
        (
            f"{hit.score:.4f}",
            *(_decimals(getattr(hit.scores, part)) for part in PARTS),
            one_line(hit.document.id),
            one_line(" ".join(hit.document.text.split())[:200]),
        )
        for hit in hits
    ]
    table = Table(box=None, pad_edge=False)
    remaining = width
    for column, name in enumerate(("score", *PARTS)):
        longest = max([len(name), *(len(row[column]) for row in rows)])
        table.add_column(name, no_wrap=True, min_width=longest)
        remaining -= longest + 2
    longest = max([len("id"), *(cell_len(row[-2]) for row in rows)])
    table.add_column("id", overflow="fold", width=max(2, min(longest, remaining * 3 // 4)))
    table.add_column("text")
    for *numbers, id, text in rows:
        # rich reads markup in a string, but not in a Text. The cell sets no_wrap, since a column
        # with no_wrap does not shrink.
        table.add_row(*numbers, Text(id), Text(text, no_wrap=True, overflow="ellipsis"))
    return table


def _decimals(score: float | None) -> str:
    return "" if score is None else f"{score:.3f}"
