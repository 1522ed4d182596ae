"""`trivec export`: a model as a folder that needs no torch."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from trivec.cli.models import DEMO
from trivec.cli.options import AsJson, notes, print_json
from trivec.errors import MissingDependencyError
from trivec.stores.folder import told_size


def export(
    model: Annotated[
        str,
        typer.Argument(
            help="Hub id or folder of the model, with options as --model takes them, or 'demo' for "
            "the demo model."
        ),
    ],
    folder: Annotated[Path, typer.Argument(help="A folder that does not exist or is empty.")],
    model_name: Annotated[
        str | None,
        typer.Option(help="The model's name in collections, if it differs from its folder's."),
    ] = None,
    heads: Annotated[
        str | None,
        typer.Option(help="The model with the sparse and ColBERT heads, for one without."),
    ] = None,
    truncate_dim: Annotated[
        int | None, typer.Option(help="How many first numbers dense vectors keep.")
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(help="The most tokens of a text that are read; by default the model's limit."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a model as ONNX, which `--model` takes in its place and which runs without torch."""
    try:
        from trivec.encoders.onnx_export import check_export_folder, export_model
    except ImportError as error:
        raise MissingDependencyError(
            "exporting needs torch and onnx; run: pip install 'trivec[torch,onnx]'"
        ) from error
    check_export_folder(folder)
    if model == DEMO:
        from trivec.demo.model import demo_model

        model = str(demo_model(progress=lambda step: notes.print(f"[dim]{step}[/dim]")))
    settings = export_model(
        model,
        folder,
        name=model_name,
        heads=heads,
        truncate_dim=truncate_dim,
        max_length=max_length,
    )
    size = sum(path.stat().st_size for path in folder.iterdir())
    if as_json:
        print_json({"bytes": size, "folder": str(folder), **asdict(settings)})
    else:
        notes.print(f"{escape(settings.model)}, {told_size(size)} in {escape(str(folder))}")
