"""`trivec optimize`: indexes are built, and the disk of deleted documents is given back."""

from __future__ import annotations

from dataclasses import asdict

import typer

from trivec.cli.options import AsJson, StoreArgument, output, print_json
from trivec.stores.folder import told_size
from trivec.stores.registry import open_store

__all__ = ["optimize"]


def optimize(store: StoreArgument, as_json: AsJson = False) -> None:
    """Build a collection's indexes now, and give back the disk that deleted documents take."""
    with open_store(store) as opened:
        report = opened.optimize()
    if as_json:
        print_json(asdict(report))
    elif report.bytes_before is None or report.bytes_after is None:
        typer.echo("nothing to do: this database optimises by itself")
    else:
        before, after = told_size(report.bytes_before), told_size(report.bytes_after)
        output().print(f"{before} on the disk before, {after} now")
