"""`trivec search`: the best documents for a question."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from trivec.checks import tokenizing
from trivec.cli.hits import hits_table, split_groups
from trivec.cli.models import ModelFlags
from trivec.cli.options import (
    AsJson,
    GroupBy,
    K,
    SearchFlags,
    StoreArgument,
    check_search,
    notes,
    output,
    print_json,
)
from trivec.hit import Hit
from trivec.search import Search, SearchOptions, as_mode
from trivec.stores.evidence import check_evidence
from trivec.stores.registry import open_store


def search(
    store: StoreArgument,
    query: Annotated[str, typer.Argument(help="The question.")],
    model: ModelFlags,
    flags: SearchFlags,
    mode: Annotated[str, typer.Option(help="dense, sparse, colbert, hybrid or rrf.")] = "hybrid",
    k: K = 10,
    group_by: GroupBy = None,
    per_group: Annotated[
        int, typer.Option(help="The number of hits of each group; only with --group-by.")
    ] = 1,
    evidence: Annotated[
        int, typer.Option(help="The number of passages of each hit that are shown as evidence.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Print the best documents with the parts of their scores."""
    options: SearchOptions = {
        **flags.options(),
        "mode": as_mode(mode),
        "k": k,
        "group_by": group_by,
        "per_group": per_group,
        "evidence": evidence,
    }
    with open_store(store) as collection:
        Search(**options)
        # The search finds the encoder that is loaded below, which lists the tokens of texts.
        check_search(collection, {**options, "evidence": 0})
        if evidence:
            check_evidence(collection.name, collection.schema, [])
        encoder = model.load_for(collection)
        if evidence:
            encoder = tokenizing(encoder, "--evidence")
        hits = collection.search(encoder.encode_query(query), **options)
    if group_by is not None and (count := len(split_groups(hits))) < k:
        notes.print(
            f"{count} {'group' if count == 1 else 'groups'} by {group_by!r}, fewer than -k {k}",
            markup=False,
            soft_wrap=True,
        )
    if as_json:
        print_json([_as_json(hit) for hit in hits])
    else:
        out = output()
        out.print(hits_table(hits, out.width, group_by=group_by))


def _as_json(hit: Hit) -> dict[str, object]:
    """Return a hit as JSON, with the same members whatever the search asked for."""
    evidence = [
        {"start": e.start, "end": e.end, "text": e.text, "score": e.score} for e in hit.evidence
    ]
    return {**asdict(hit), "evidence": evidence}
