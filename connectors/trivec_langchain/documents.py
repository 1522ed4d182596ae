"""LangChain's documents as documents of trivec, and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple
from uuid import uuid4

from langchain_core.documents import Document as LangChainDocument

from trivec import Document, Hit
from trivec.arguments import at_least_one
from trivec.document import PRIVATE_KEY, public_metadata
from trivec.errors import InvalidDocumentError, InvalidOptionError
from trivec.passages.evidence_metadata import with_evidence, without_evidence
from trivec_langchain.options import DocumentSearch


class Batch(NamedTuple):
    """Documents with different ids, and the ids of all documents that were given, in order."""

    ids: list[str]
    documents: list[Document]


def with_ids(
    documents: Iterable[LangChainDocument], ids: Sequence[str | None] | None
) -> Iterator[tuple[str, LangChainDocument]]:
    """Yield each document with its id: the one given, else its own, else a new UUID."""
    if isinstance(ids, str):
        raise InvalidOptionError(f"ids={ids!r} is one string; pass a list of ids")
    if ids is None:
        yield from ((document.id or str(uuid4()), document) for document in documents)
        return
    given = list(ids)
    if isinstance(documents, Sequence) and len(documents) != len(given):
        raise InvalidOptionError(f"{len(given)} ids came with {len(documents)} documents")
    count = 0
    for document in documents:
        if count == len(given):
            raise InvalidOptionError(f"{len(given)} ids came with more documents than that")
        yield given[count] or document.id or str(uuid4()), document
        count += 1
    if count < len(given):
        raise InvalidOptionError(f"{len(given)} ids came with {count} documents")


def batches(pairs: Iterator[tuple[str, LangChainDocument]], size: int) -> Iterator[Batch]:
    """Yield documents in batches; of several with the same id in a batch, the last one."""
    size = at_least_one(size, "batch_size")
    while batch := list(islice(pairs, size)):
        last = dict(batch)
        yield Batch([id for id, _ in batch], [_to_trivec(id, d) for id, d in last.items()])


def _to_trivec(id: str, document: LangChainDocument) -> Document:
    if PRIVATE_KEY in document.metadata:
        raise InvalidDocumentError(
            f"document {id!r}: the metadata key {PRIVATE_KEY!r} is reserved; rename it"
        )
    metadata = without_evidence(document.metadata, document.page_content)
    return Document(id, document.page_content, metadata)


def hit_documents(hits: Sequence[Hit], asked: DocumentSearch) -> list[LangChainDocument]:
    """Return the documents of hits, with the evidence and the score that the search asked for."""
    documents: list[LangChainDocument] = []
    for hit in hits:
        document = to_langchain(hit.document)
        if asked.search.evidence:
            document.metadata = with_evidence(document.metadata, hit.evidence)
        if asked.score_key is not None:
            document.metadata[asked.score_key] = hit.score
        documents.append(document)
    return documents


def to_langchain(document: Document) -> LangChainDocument:
    """Return a document as it was given, with its id."""
    return LangChainDocument(
        id=document.id, page_content=document.text, metadata=public_metadata(document)
    )
