"""`trivec explain`: why a document was found."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from trivec.cli.models import CollectionModel, ModelName, model_of
from trivec.cli.options import (
    AsJson,
    Device,
    Precision,
    StoreArgument,
    inputs_of,
    load_encoder,
    notes,
    output,
    print_json,
    weights_of,
)
from trivec.errors import InvalidOptionError
from trivec.insight.explanation import explain as take_apart
from trivec.insight.rendering.explanation_html import explanation_page
from trivec.outputs import check_outputs, written_beside
from trivec.stores.registry import open_store

__all__ = ["explain"]


def explain(
    store: StoreArgument,
    query: Annotated[str, typer.Argument(help="The question.")],
    id: Annotated[str, typer.Argument(help="The id of the document.")],
    model: CollectionModel = None,
    model_name: ModelName = None,
    device: Device = "auto",
    precision: Precision = "auto",
    weights: Annotated[
        str, typer.Option(help="general, model_card, long_documents, or three numbers.")
    ] = "general",
    html: Annotated[Path | None, typer.Option(help="Write a page here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Take a document's score apart: what each part and each token gave."""
    check_outputs({"--html": html}, inputs=inputs_of(stores=[store], model=model))
    chosen = weights_of(weights)
    with open_store(store) as collection:
        model = model_of(collection, model, model_name)
        schema = collection.schema
        documents, vectors = collection.get([id], with_vectors=True)
    if not documents or vectors is None:
        raise InvalidOptionError(f"{store} holds no document {id!r}")
    encoder = load_encoder(model, device, precision, model_name)
    schema.check_model(encoder.schema.model)
    explanation = take_apart(
        query, documents[0], encoder, document_vector=vectors[0], weights=chosen
    )
    if html is not None:
        with written_beside(html) as file:
            file.write(explanation_page(explanation).encode())
        notes.print(f"the explanation is in {escape(str(html))}")
    if as_json:
        print_json({**asdict(explanation), "score": explanation.score})
    elif html is None:
        output().print(explanation)
