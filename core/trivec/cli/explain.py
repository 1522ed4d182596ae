"""`trivec explain`: why a document was found."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from trivec.checks import tokenizing
from trivec.cli.models import ModelFlags
from trivec.cli.options import (
    AsJson,
    StoreArgument,
    WeightsText,
    inputs_of,
    notes,
    output,
    print_json,
    weights_of,
)
from trivec.document import MAX_ID_BYTES
from trivec.errors import InvalidOptionError
from trivec.insight.explanation import explain as explain_score
from trivec.insight.rendering.explanation_html import explanation_page
from trivec.outputs import check_outputs, written_beside
from trivec.passages.stored import PARENT
from trivec.stores.registry import open_store
from trivec.stores.store import Store


def explain(
    store: StoreArgument,
    query: Annotated[str, typer.Argument(help="The question.")],
    id: Annotated[str, typer.Argument(help="The id of the document.")],
    model: ModelFlags,
    weights: WeightsText = "general",
    html: Annotated[Path | None, typer.Option(help="Write a page to this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what each part and each token contributes to the score of a document."""
    check_outputs({"--html": html}, inputs=inputs_of(model.folder, stores=[store]))
    chosen = weights_of(weights)
    with open_store(store) as collection:
        documents, vectors = collection.get([id], with_vectors=True)
        if not documents or vectors is None:
            hint = _passage_hint(collection, id)
            raise InvalidOptionError(f"{store} holds no document {id!r}{hint}")
        encoder = tokenizing(model.load_for(collection), "--model")
    explanation = explain_score(
        *(query, documents[0], encoder),
        document_vector=vectors[0],
        weights=chosen,
        overflow=collection.overflow,
    )
    if html is not None:
        with written_beside(html) as file:
            file.write(explanation_page(explanation).encode())
        notes.print(f"the explanation is in {escape(str(html))}")
    if as_json:
        print_json({**asdict(explanation), "score": explanation.score})
    elif html is None:
        output().print(explanation)


def _passage_hint(store: Store, id: str) -> str:
    """Return what to explain instead of a document that is stored in passages."""
    passage = f"{id}#0"
    if len(passage.encode()) > MAX_ID_BYTES:
        return ""
    page = store.get([passage])
    if not page.documents or page.documents[0].metadata.get(PARENT) != id:
        return ""
    return (
        f", but passages of it; explain one of them, such as {passage!r}, or the ids that "
        "`trivec search` shows"
    )
