"""Which model a command takes, so that it is the one whose vectors a collection holds."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from trivec.cli.options import notes
from trivec.errors import CollectionNotFoundError
from trivec.schema import Schema
from trivec.stores.store import Store

__all__ = ["CollectionModel", "ModelName", "check_model", "model_of"]

DEFAULT = "BAAI/bge-m3"
DEMO = "demo"

CollectionModel = Annotated[
    str | None,
    typer.Option(
        help="Hub id or folder of the model, or 'demo'; the collection's own model by default."
    ),
]
ModelName = Annotated[
    str | None,
    typer.Option(help="The model's name in the collection, if it is not that of its folder."),
]


def model_of(store: Store, model: str | None, name: str | None) -> str:
    """Return which model to load for a collection, before anything is loaded.

    Args:
        store: The collection, which may not exist yet.
        model: What the user asked for; None for the collection's own.
        name: What the user says the model is called.

    Raises:
        SchemaMismatchError: If the collection holds the vectors of another model.
    """
    try:
        schema = store.schema
    except CollectionNotFoundError:
        return model or DEFAULT
    check_model(schema, model, name)
    if model is not None:
        return model
    if schema.model:
        return DEMO if schema.model == _name_of(DEMO) else schema.model
    notes.print(
        f"[yellow]the collection does not say which model made its vectors; {escape(DEFAULT)} is "
        "taken[/yellow]"
    )
    return DEFAULT


def check_model(schema: Schema, model: str | None, name: str | None = None) -> None:
    """Compare the model that was asked for with the collection's, by their names.

    Raises:
        SchemaMismatchError: If they differ.
    """
    if name is not None:
        schema.check_model(name)
    elif model is not None:
        schema.check_model(_name_of(model))


def _name_of(model: str) -> str:
    if model == DEMO:
        from trivec.demo.model import demo_name

        return demo_name()
    from trivec.encoders.hub import model_name

    return model_name(model)
