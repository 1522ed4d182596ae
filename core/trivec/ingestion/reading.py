"""Reading a source: batches of the documents that are new or have changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from trivec.arguments import described
from trivec.document import Document, check_id
from trivec.errors import InvalidDocumentError
from trivec.ingestion.journal import Journal
from trivec.ingestion.options import BATCH_DOCUMENTS
from trivec.ingestion.pipeline import Batch, Pipeline
from trivec.ingestion.report import IngestReport, Rejected, Tally
from trivec.stores.store import Store


class Reading:
    """Makes batches of the documents that need work, in a thread of its own.

    Args:
        documents: The source.
        store: The collection that the documents are written to.
        journal: Decides which documents need work.
        tally: Sums up what needs no writing.
        pipeline: Takes what cannot be read.
        batch_bytes: The maximum bytes of text in one batch.

    Attributes:
        unnamed (int): How many entries of the source could be any document: lines that could not
            be read, and rejects without an id that the journal knows.
    """

    def __init__(
        self,
        documents: Iterable[Document | Rejected],
        store: Store,
        journal: Journal,
        tally: Tally,
        pipeline: Pipeline,
        batch_bytes: int,
    ) -> None:
        self.unnamed = 0
        self._documents = documents
        self._store = store
        self._journal = journal
        self._tally = tally
        self._pipeline = pipeline
        self._batch_bytes = batch_bytes

    def batches(self) -> Iterator[Batch]:
        """Yield batches to encode, at most `batch_bytes` of text each, and batches with vectors.

        The ids in a batch are distinct.
        """
        batch: dict[str, Document] = {}
        size = 0
        try:
            for work in self._journal.worklists(self._chunks()):
                touched, changed = with_stored_vectors(self._store, work.touch)
                self._tally.add(
                    IngestReport(
                        touched=len(touched.documents),
                        unchanged=work.unchanged,
                        replaced=work.replaced,
                    )
                )
                if touched.documents:
                    yield touched
                for document in [*work.encode, *changed]:
                    length = len(document.text.encode())
                    full = size + length > self._batch_bytes or len(batch) >= BATCH_DOCUMENTS
                    if batch and full:
                        yield Batch(list(batch.values()))
                        batch, size = {}, 0
                    batch[document.id] = document
                    size += length
        except Exception:
            if batch:  # what was read before the error is written
                yield Batch(list(batch.values()))
            raise
        if batch:
            yield Batch(list(batch.values()))

    def _chunks(self) -> Iterator[list[Document]]:
        """Yield documents in the order of the source, in lists of at most `batch_bytes` of text."""
        chunk: list[Document] = []
        size = count = 0
        try:
            for document in self._documents:
                if isinstance(document, Rejected):
                    self._reject(document)
                    continue
                if not isinstance(document, Document):
                    raise InvalidDocumentError(
                        f"ingest takes documents, got {described(document)} after {count} others; "
                        "make documents with Document(id, text, metadata)"
                    )
                count += 1
                length = len(document.text.encode())
                if chunk and (size + length > self._batch_bytes or len(chunk) >= BATCH_DOCUMENTS):
                    yield chunk
                    chunk, size = [], 0
                chunk.append(document)
                size += length
        except Exception:
            if chunk:  # what was read before the error is written
                yield chunk
            raise
        if chunk:
            yield chunk

    def _reject(self, rejected: Rejected) -> None:
        """Skip an entry that the source itself could not turn into a document, or rejected."""
        if not (
            rejected.readable and _is_id(rejected.where) and self._journal.keep(rejected.where)
        ):
            self.unnamed += 1
        message = f"{rejected.where}: {rejected.problem}"
        self._pipeline.reject(rejected, InvalidDocumentError(message))


def with_stored_vectors(
    store: Store, documents: Sequence[Document]
) -> tuple[Batch, list[Document]]:
    """Return the documents whose texts the store has, with their vectors, and the other documents.

    Args:
        store: The collection.
        documents: Documents with distinct ids.
    """
    if not documents:
        return Batch([]), []
    page = store.get([document.id for document in documents], with_vectors=True)
    row = {document.id: i for i, document in enumerate(page.documents)}
    texts = {document.id: document.text for document in page.documents}
    same, changed = list[Document](), list[Document]()
    for document in documents:
        is_same = texts.get(document.id) == store.as_stored(document).text
        (same if is_same else changed).append(document)
    vectors = None if page.vectors is None else page.vectors.take([row[d.id] for d in same])
    return Batch(same, vectors), changed


def _is_id(text: str) -> bool:
    try:
        check_id(text)
    except InvalidDocumentError:
        return False
    return True
