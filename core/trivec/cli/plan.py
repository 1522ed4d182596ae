"""`trivec plan`: the bytes that vectors will take in each database."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from trivec.cli.options import AsJson, notes, output, print_json
from trivec.errors import InvalidOptionError
from trivec.insight.plan import plan as storage_choices
from trivec.insight.plan import schema_of
from trivec.schema import Schema
from trivec.stores.registry import open_store
from trivec.stores.storage import StorageChoice
from trivec.stores.url import StoreUrl

SAMPLE = 256  # documents of a collection whose lengths are measured


def plan(
    store: Annotated[
        str | None,
        typer.Argument(
            help="URL of a collection whose dimensions and lengths are taken; its database comes "
            "first."
        ),
    ] = None,
    tokens: Annotated[
        float | None, typer.Option(help="The mean number of tokens of a text; 200 by default.")
    ] = None,
    terms: Annotated[
        float | None,
        typer.Option(help="The mean number of lexical terms; as many as tokens by default."),
    ] = None,
    model: Annotated[str, typer.Option(help="The name of a model.")] = "BAAI/bge-m3",
    as_json: AsJson = False,
) -> None:
    """Compute the bytes of 1,000 documents for each way to store their vectors."""
    scheme = None if store is None else StoreUrl.parse(store).scheme
    if store is None:
        schema = schema_of(model)
    else:
        schema, mean_tokens, mean_terms = _sampled(store)
        tokens = mean_tokens if tokens is None else tokens
        if terms is None and mean_terms is not None:
            # Texts shorter than the sampled texts have fewer terms.
            terms = mean_terms if tokens is None else min(mean_terms, tokens)
    tokens = 200 if tokens is None else tokens
    choices = storage_choices(schema, tokens=tokens, terms=terms, scheme=scheme)
    if as_json:
        print_json([{**asdict(c), "bytes_per_thousand": c.bytes_per_thousand} for c in choices])
        return
    if not choices:
        notes.print("no installed database says how it stores vectors; install a connector")
        return
    output().print(_table(choices))
    terms = tokens if terms is None else terms
    notes.print(
        f"[dim]computed from the layouts, not measured: d = {schema.dense or schema.colbert} "
        f"dimensions, t = {tokens + 1:g} ColBERT vectors, s = {terms:g} terms; without texts, "
        "metadata and index graphs. * is the connector's default.[/dim]"
    )


def _sampled(url: str) -> tuple[Schema, float | None, float | None]:
    """Return the schema of a collection, and the mean tokens and terms of some documents."""
    with open_store(url) as collection:
        schema = collection.schema
        page = next(iter(collection.scan(batch_size=SAMPLE, with_vectors=True)), None)
    if page is None or page.vectors is None or not page.documents:
        raise InvalidOptionError(f"{url} holds no document to take lengths from; give --tokens")
    colbert, sparse = page.vectors.colbert, page.vectors.sparse
    terms = None if sparse is None else float(np.diff(sparse.indptr).mean())
    if colbert is None:
        return schema, terms, terms
    tokens = max(0.0, float(np.diff(colbert.indptr).mean()) - 1)
    # Merged ColBERT vectors are fewer than the tokens of their texts.
    return schema, tokens if terms is None else max(tokens, terms), terms


def _table(choices: list[StorageChoice]) -> Table:
    table = Table(title="MB per 1,000 documents", title_justify="left", title_style="")
    for column in ("database", "part", "storage", "bytes of a document"):
        table.add_column(column)
    table.add_column("MB", justify="right")
    for database in dict.fromkeys(choice.database for choice in choices):
        for choice in choices:
            if choice.database == database:
                table.add_row(
                    database,
                    choice.part,
                    f"{choice.storage}{' *' if choice.default else ''}",
                    choice.formula,
                    f"{choice.bytes_per_thousand / 1e6:,.2f}",
                )
        total = sum(c.bytes_per_thousand for c in choices if c.default and c.database == database)
        table.add_row(database, "all", "defaults", "", f"{total / 1e6:,.2f}", style="bold")
        table.add_section()
    return table
