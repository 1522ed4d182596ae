"""Passages that a program read and writes again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from trivec.document import PRIVATE_KEY, Document, private_metadata
from trivec.passages.stored import PARENT, SPAN, parent_id_of
from trivec.stores.store import Store
from trivec.twins import Twin, either


def keep_places(store: Store, documents: Sequence[Document]) -> Twin[Sequence[Document]]:
    """Return documents that are about to be written, so that parents stay whole.

    Frameworks show the user's metadata only. A passage whose text and span are as they are stored
    keeps what is stored under `PRIVATE_KEY`, from which its parent is put together. Only documents
    with the metadata of passages are read.

    Args:
        store: Where they will be written.
        documents: The documents.
    """
    ids = [d.id for d in documents if d.id.startswith(f"{d.metadata.get(PARENT)}#")]
    if not ids:
        return documents
    page = yield from either(store.get, store.aget, ids)
    stored = {d.id: d for d in page.documents if parent_id_of(d) is not None}
    return [_placed(document, stored.get(document.id)) for document in documents]


def _placed(document: Document, stored: Document | None) -> Document:
    if stored is None or document.text != stored.text:
        return document
    if any(document.metadata.get(key) != stored.metadata[key] for key in (PARENT, SPAN)):
        return document
    kept = {**document.metadata, PRIVATE_KEY: private_metadata(stored)}
    return replace(document, metadata=kept)
