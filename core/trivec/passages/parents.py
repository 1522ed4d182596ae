"""Whole documents, read from a collection that holds their passages."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from trivec.checks import check_store
from trivec.document import Document
from trivec.errors import InvalidDocumentError
from trivec.passages.stored import is_passage_of, look_up, parent_of
from trivec.stores.store import Store
from trivec.stores.validation import check_ids
from trivec.twins import Twin, answered, arun, either, run

_DOCUMENTS = 64  # put together at once

_log = logging.getLogger("trivec")


def read_parents(store: Store, ids: Iterable[str]) -> list[Document]:
    """Return documents that were ingested as passages, each put together from its passages.

    Args:
        store: The collection that has the passages.
        ids: The ids of the documents; of those that come twice, the first place counts.

    Returns:
        The documents with their whole texts and their own metadata, in the order of the ids.
        Unknown ids are left out. So are documents of which only some passages are stored, such as
        while they are written; a warning in the log names them.

    Raises:
        InvalidOptionError: If the ids are one id alone, or no ids at all.
        InvalidDocumentError: If no document can have one of them.
        StoreError: If the database failed.

    Example:
        >>> from trivec import Document, ingest, open_store, read_parents
        >>> from trivec.testing import HashEncoder
        >>> encoder, store = HashEncoder(), open_store("memory:/read-parents-example")
        >>> store.create(encoder.schema, fields={"parent": str})
        >>> report = Document("report", "A sentence of some words. " * 20, {"year": 2026})
        >>> _ = ingest([report], encoder, store, passages=32)
        >>> store.count(), read_parents(store, ["report"]) == [report]
        (4, True)
    """
    return run(_read(store, ids))


async def aread_parents(store: Store, ids: Iterable[str]) -> list[Document]:
    """Return documents put together from their passages, without blocking the event loop."""
    return await arun(_read(store, ids))


def _read(store: Store, ids: Iterable[str]) -> Twin[list[Document]]:
    check_store(store, "read_parents: store")
    wanted = check_ids(ids)
    documents: list[Document] = []
    incomplete: list[str] = []

    def read(ids: list[str]) -> Twin[list[Document]]:
        page = yield from either(store.get, store.aget, ids)
        return page.documents

    for start in range(0, len(wanted), _DOCUMENTS):
        search = look_up(dict.fromkeys(wanted[start : start + _DOCUMENTS], 0))
        existing = yield from answered(search, read)
        for id, numbered in existing.items():
            passages = [each for each in numbered.values() if is_passage_of(each, id)]
            if passages:
                try:
                    documents.append(parent_of(passages))
                except InvalidDocumentError:
                    incomplete.append(id)
    if incomplete:
        _log.warning(
            "collection %r has only some passages of %d documents, which are left out: %s; ingest "
            "them again",
            store.name,
            len(incomplete),
            ", ".join(map(repr, incomplete[:3])),
        )
    return documents
