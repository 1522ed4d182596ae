"""The model options of commands, and how they choose the model that a collection was made with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from trivec.cli.options import notes
from trivec.encoders.extras import require_torch
from trivec.encoders.files import local_folder
from trivec.encoders.protocol import TextEncoder
from trivec.encoders.registry import open_encoder
from trivec.encoders.url import is_url
from trivec.errors import CheckpointError, CollectionNotFoundError, InvalidOptionError
from trivec.schema import Schema, same_model
from trivec.stores.store import Store

DEFAULT = "BAAI/bge-m3"
DEMO = "demo"

_PRECISIONS = ("auto", "float32", "bfloat16", "float16", "int8")


@dataclass(frozen=True, kw_only=True)
class ModelFlags:
    """The options of every command that encodes."""

    model: Annotated[
        str | None,
        typer.Option(
            help="Hub id or folder of the model, the URL of an encoder such as "
            "trivec://localhost:7600, or 'demo' for the small demo model; options of a model may "
            "follow, as in 'me/tuned?heads=BAAI/bge-m3&truncate_dim=256'; by default the "
            f"collection's own model, or {DEFAULT} if there is none."
        ),
    ] = None
    model_name: Annotated[
        str | None,
        typer.Option(help="The model's name in the collection, if it differs from its folder's."),
    ] = None
    max_length: Annotated[
        int | None,
        typer.Option(help="The most tokens of a text that are read; by default the model's limit."),
    ] = None
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")] = "auto"
    precision: Annotated[str, typer.Option(help="auto, float32, bfloat16, float16 or int8.")] = (
        "auto"
    )

    @property
    def folder(self) -> Path | None:
        """The folder of the model, if it is read from one."""
        model = self.model or DEFAULT
        return local_folder(model) or local_folder(model.partition("?")[0])

    def load(self) -> TextEncoder:
        """Load the model, or connect to its server."""
        model = DEFAULT if self.model is None else self.model
        return load_encoder(model, self.device, self.precision, self.model_name, self.max_length)

    def load_for(self, store: Store) -> TextEncoder:
        """Load the model for a collection, which need not exist.

        If the collection was made with another model, this raises `SchemaMismatchError`; if the
        name shows that, no model is loaded.
        """
        try:
            schema = store.schema
        except CollectionNotFoundError:
            return self.load()
        encoder = replace(self, model=self._model_of(schema)).load()
        schema.check_model(encoder.schema.model)
        return encoder

    def _model_of(self, schema: Schema) -> str:
        """Return the model to load for an existing collection."""
        if self.model_name is not None:
            schema.check_model(self.model_name)
        elif self.model is not None and not is_url(self.model):
            _check_name(self.model, schema)
        if self.model is not None:
            return self.model
        if schema.model:
            return DEMO if schema.model == _name_of(DEMO) else schema.model
        notes.print(
            "[yellow]the collection does not say which model made its vectors; "
            f"{escape(DEFAULT)} is taken[/yellow]"
        )
        return DEFAULT


def load_encoder(
    model: str,
    device: str,
    precision: str,
    name: str | None = None,
    max_length: int | None = None,
) -> TextEncoder:
    """Open an encoder by name, folder or URL; build the demo model if it is "demo".

    Args:
        model: The name, the folder, the folder of an exported model, or the URL.
        device: As in `Encoder.load`.
        precision: As in `Encoder.load`.
        name: The model's name in the schema, if it differs.
        max_length: The most tokens of a text, None for the model's own limit.

    Raises:
        InvalidOptionError: If an option is unknown, or given for an encoder behind a URL.
        CheckpointError: If the model cannot be loaded.
    """
    if is_url(model):
        limit = "auto" if max_length is None else str(max_length)
        given = {"--device": device, "--precision": precision, "--max-length": limit}
        for option, text in given.items():
            if text != "auto":
                raise InvalidOptionError(
                    f"{option} {text} is for a model in this process; an encoder behind a URL runs "
                    "as its server was started"
                )
        return open_encoder(model, **({} if name is None else {"name": name}))
    if precision not in _PRECISIONS:  # before a model is fetched
        raise InvalidOptionError(
            f"precision={precision!r}; expected {', '.join(_PRECISIONS[:-1])} or {_PRECISIONS[-1]}"
        )
    if model == DEMO:
        require_torch("the demo model")
        from trivec.demo.model import demo_model

        model = str(demo_model(progress=lambda step: notes.print(f"[dim]{step}[/dim]")))
    try:
        return open_encoder(
            model, device=device, precision=precision, name=name, max_length=max_length
        )
    except CheckpointError as error:
        base = model.partition("?")[0]
        if "/" in base or Path(base).is_dir():
            raise
        raise CheckpointError(
            f"{error}; if a collection was made by a model in a folder called {model!r}, give the "
            "folder's path as --model"
        ) from error


def _check_name(model: str, schema: Schema) -> None:
    """Check that a model that is not loaded yet can be that of a collection.

    If `truncate_dim` is the checkpoint's own dimension, the collection's name does not have it.
    """
    if not same_model(schema.model, _name_of(model, without_dim=schema.dense)):
        schema.check_model(_name_of(model))


def _name_of(model: str, *, without_dim: int | None = None) -> str:
    """Return the name that a model has in a collection, without a `truncate_dim` of this value."""
    if model == DEMO:
        from trivec.demo.model import demo_name

        return demo_name()
    from trivec.encoders.variants import ModelVariant

    return str(ModelVariant.parse(model).named(without_dim=without_dim))
