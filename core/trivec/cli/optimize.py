"""`trivec optimize`: build indexes and free the disk space of deleted documents."""

from __future__ import annotations

from dataclasses import asdict

import typer

from trivec.cli.options import AsJson, StoreArgument, output, print_json
from trivec.stores.folder import told_size
from trivec.stores.registry import open_store


def optimize(store: StoreArgument, as_json: AsJson = False) -> None:
    """Build a collection's indexes now and free the disk space of deleted documents."""
    with open_store(store) as opened:
        report = opened.optimize()
    if as_json:
        print_json(asdict(report))
    elif report.bytes_before is None or report.bytes_after is None:
        typer.echo("nothing to do: this database optimises by itself")
    else:
        before, after = told_size(report.bytes_before), told_size(report.bytes_after)
        output().print(f"{before} on the disk before, {after} now")
