"""Reading a source: batches of the documents that are new or have changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from trivec.arguments import described
from trivec.document import Document, check_id
from trivec.errors import InvalidDocumentError
from trivec.ingestion.batches import Batch
from trivec.ingestion.form import Form
from trivec.ingestion.journal import Journal
from trivec.ingestion.options import BATCH_DOCUMENTS
from trivec.ingestion.pipeline import Pipeline
from trivec.ingestion.report import IngestReport, Rejected, Tally
from trivec.ingestion.sources import Source
from trivec.ingestion.worklist import Worklist


@dataclass(slots=True)
class Reading:
    """Makes batches of the documents that need work, of at most `batch_bytes` of text each.

    Attributes:
        unnamed (int): How many entries of the source could be any document: lines that could not
            be read, and rejects without an id that the journal knows.
    """

    documents: Iterable[Document | Rejected]
    form: Form
    journal: Journal
    tally: Tally
    pipeline: Pipeline
    batch_bytes: int
    unnamed: int = 0
    _chunk_ids: set[str] = field(default_factory=set[str])

    def batches(self) -> Iterator[Batch]:
        """Yield batches to encode, and batches with vectors; the ids in a batch are distinct."""
        for group in _grouped(self._needed(), self.batch_bytes):
            if isinstance(group, Batch):
                yield group
            else:
                last = {document.id: document for document in group}
                yield from self.form.batches(list(last.values()), self.pipeline.refuse)

    def _needed(self) -> Iterator[Document | Batch]:
        """Yield documents to encode, and batches of those whose vectors the store has."""
        groups = _grouped(self._read(), self.batch_bytes)
        chunks = (group for group in groups if not isinstance(group, Batch))
        for work in self.journal.worklists(self._noted(chunks)):
            self._forget_unneeded(work)
            touched, batches, changed = self.form.with_stored_vectors(work.touch)
            self.tally.add(
                IngestReport(touched=touched, unchanged=work.unchanged, replaced=work.replaced)
            )
            yield from batches
            yield from work.encode
            yield from changed

    def _noted(self, chunks: Iterable[list[Document]]) -> Iterator[list[Document]]:
        """Yield chunks, and note the ids of the last one."""
        for chunk in chunks:
            self._chunk_ids = {document.id for document in chunk}
            yield chunk

    def _forget_unneeded(self, work: Worklist) -> None:
        """Forget where documents are that are written already, unless others of them wait."""
        needed = {document.id for document in (*work.encode, *work.touch)}
        others = self._chunk_ids - needed
        if len(others) <= work.unchanged + work.replaced:
            self.pipeline.positions.forget(others)
        self._chunk_ids = set()

    def _read(self) -> Iterator[Document]:
        """Yield the documents of the source, without those that it rejects."""
        count = 0
        source = self.documents if isinstance(self.documents, Source) else None
        for document in self.documents:
            self.tally.records += 1
            if isinstance(document, Rejected):
                self._reject(document)
                continue
            if not isinstance(document, Document):
                raise InvalidDocumentError(
                    f"ingest takes documents, got {described(document)} after {count} others; "
                    "make documents with Document(id, text, metadata)"
                )
            count += 1
            if source is not None:
                self.pipeline.positions.add(document.id, source.position)
            yield document

    def _reject(self, rejected: Rejected) -> None:
        """Skip an entry that the source itself could not turn into a document, or rejected."""
        try:
            id = rejected.id or rejected.where
            known = rejected.readable and self.journal.keep(check_id(id))
        except InvalidDocumentError:
            known = False
        self.unnamed += not known
        self.pipeline.rejecter.reject(rejected)


def _grouped(
    items: Iterable[Document | Batch], most_bytes: int
) -> Iterator[list[Document] | Batch]:
    """Yield documents in groups of at most `most_bytes` of text, and batches as they come.

    What was read before an error is yielded before the error is raised.
    """
    documents: list[Document] = []
    size = 0
    try:
        for item in items:
            if isinstance(item, Batch):
                yield item
                continue
            length = len(item.text.encode())
            if documents and (size + length > most_bytes or len(documents) >= BATCH_DOCUMENTS):
                yield documents
                documents, size = [], 0
            documents.append(item)
            size += length
    except Exception:
        if documents:
            yield documents
        raise
    if documents:
        yield documents
