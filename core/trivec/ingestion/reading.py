"""What is read from a source, as parts of what is new."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from trivec.arguments import described
from trivec.document import Document, check_id
from trivec.errors import InvalidDocumentError
from trivec.ingestion.journal import Journal
from trivec.ingestion.pipeline import Part, Pipeline
from trivec.ingestion.report import IngestReport, Rejected, Tally
from trivec.stores.store import Store

__all__ = ["PART_BYTES", "PART_DOCUMENTS", "Reading", "with_stored_vectors"]

# A token is about 4 bytes of text and becomes 4 KiB of ColBERT vectors at 1,024 dimensions, so
# this much text becomes about 64 MiB.
PART_BYTES = 64 * 1024
PART_DOCUMENTS = 1024


class Reading:
    """Makes parts of what is new, in a thread of its own.

    Args:
        documents: The source.
        store: Where they go.
        journal: Says what is new.
        tally: Where what needs no writing is added up.
        pipeline: Takes what cannot be read.
        part_bytes: The most bytes of text in one part.

    Attributes:
        unnamed (int): How many things of the source may be any document: lines that could not be
            read, and what was rejected without an id that the journal knows.
    """

    def __init__(
        self,
        documents: Iterable[Document | Rejected],
        store: Store,
        journal: Journal,
        tally: Tally,
        pipeline: Pipeline,
        part_bytes: int,
    ) -> None:
        self.unnamed = 0
        self._documents = documents
        self._store = store
        self._journal = journal
        self._tally = tally
        self._pipeline = pipeline
        self._part_bytes = part_bytes

    def parts(self) -> Iterator[Part]:
        """Yield documents of different ids, at most so much text, and what is only rewritten."""
        part: dict[str, Document] = {}
        size = 0
        try:
            for plan in self._journal.plans(self._chunks()):
                touched, gone = with_stored_vectors(self._store, plan.touch)
                self._tally.add(
                    IngestReport(
                        touched=len(touched.documents),
                        unchanged=plan.unchanged,
                        replaced=plan.replaced,
                    )
                )
                if touched.documents:
                    yield touched
                for document in [*plan.encode, *gone]:
                    length = len(document.text.encode())
                    if part and (size + length > self._part_bytes or len(part) >= PART_DOCUMENTS):
                        yield Part(list(part.values()))
                        part, size = {}, 0
                    part[document.id] = document
                    size += length
        except Exception:
            if part:  # what was read before the error is written
                yield Part(list(part.values()))
            raise
        if part:
            yield Part(list(part.values()))

    def _chunks(self) -> Iterator[list[Document]]:
        """Yield documents as they come, in lists of at most so much text."""
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
                if chunk and (size + length > self._part_bytes or len(chunk) >= PART_DOCUMENTS):
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
        """Leave out what the source itself could not make a document of, or did not want to."""
        if not (
            rejected.readable and _is_id(rejected.where) and self._journal.keep(rejected.where)
        ):
            self.unnamed += 1
        message = f"{rejected.where}: {rejected.problem}"
        self._pipeline.reject(rejected, InvalidDocumentError(message))


def with_stored_vectors(store: Store, documents: Sequence[Document]) -> tuple[Part, list[Document]]:
    """Return documents with the vectors that the store has for their texts, and the others."""
    if not documents:
        return Part([]), []
    page = store.get([document.id for document in documents], with_vectors=True)
    row = {document.id: i for i, document in enumerate(page.documents)}
    texts = {document.id: document.text for document in page.documents}
    there, gone = list[Document](), list[Document]()
    for document in documents:
        held = texts.get(document.id) == store.as_stored(document).text
        (there if held else gone).append(document)
    vectors = None if page.vectors is None else page.vectors.take([row[d.id] for d in there])
    return Part(there, vectors), gone


def _is_id(text: str) -> bool:
    try:
        check_id(text)
    except InvalidDocumentError:
        return False
    return True
