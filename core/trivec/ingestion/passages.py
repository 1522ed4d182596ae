"""Documents that are stored as passages.

The journal knows the documents of the source. A document is recorded as unfinished before its first
passage is written, and acknowledged when all of them are written and those of an earlier, longer
text are deleted. If the process dies in between, the next run writes all of its passages again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self, TypeAlias

from typing_extensions import override

from trivec.collection import UpsertReport
from trivec.document import MAX_ID_BYTES, Document
from trivec.encoders.protocol import TextEncoder
from trivec.errors import (
    InvalidDocumentError,
    InvalidInputError,
    InvalidOptionError,
    InvalidVectorsError,
    StoreError,
)
from trivec.ingestion.batches import Batch, Encode, Written
from trivec.ingestion.dividing import passage_encoder, whole_tokens
from trivec.ingestion.form import Refuse
from trivec.ingestion.journal import Journal
from trivec.ingestion.options import BATCH_DOCUMENTS
from trivec.passages.options import Passages
from trivec.passages.splitting import split
from trivec.passages.stored import (
    AHEAD,
    SPAN,
    count_of,
    is_passage_of,
    look_up,
    parent_id_of,
    passage_documents,
    passage_id,
)
from trivec.stores.store import Store
from trivec.twins import drive
from trivec.vectors import Vectors

EncodePassages: TypeAlias = Callable[[str, Sequence[slice]], Vectors]

LATE_TOKENS = 32_768
"""The most tokens of a text that are encoded at once by late chunking: 128 MiB of ColBERT vectors
at 1,024 dimensions. Passages of the next tokens are encoded in a pass of their own."""

_PARENTS = 64  # documents whose passages are looked up at once


@dataclass(slots=True, eq=False)
class Parent:
    """A document of the source on its way to the store.

    Args:
        document: The document.
        passages: What is stored for it.
        tokens: The range of tokens of each passage; none for a text without tokens.

    Attributes:
        surplus: The numbers of stored passages that the text no longer has.
        is_begun: Whether the store was asked what it has under the ids of the passages.
        is_changed: Whether passages may have been written.
        is_refused: Whether the document was refused, so that no more is written of it.
    """

    document: Document
    passages: list[Document]
    tokens: list[slice]
    surplus: list[int] = field(default_factory=list[int])
    is_begun: bool = False
    is_changed: bool = False
    is_refused: bool = False


@dataclass(frozen=True, slots=True)
class Share:
    """Consecutive passages of one parent.

    Args:
        parent: The parent.
        first: The number of the first passage.
        stop: The number after the last one.
    """

    parent: Parent
    first: int
    stop: int

    @property
    def passages(self) -> list[Document]:
        """The passages as documents."""
        return self.parent.passages[self.first : self.stop]

    @property
    def is_last(self) -> bool:
        """Whether no passages of the parent follow."""
        return self.stop == len(self.parent.passages)


@dataclass(frozen=True, slots=True)
class PassageBatch(Batch):
    """Passages that are written together; `documents` are their parents.

    Args:
        form: How passages are encoded and written.
        shares: The passages of each parent.
    """

    form: PassageForm = field(kw_only=True)
    shares: list[Share] = field(kw_only=True)

    @classmethod
    def of(
        cls, form: PassageForm, shares: Sequence[Share], vectors: Vectors | None = None
    ) -> PassageBatch:
        """Return a batch of these passages."""
        parents = [share.parent.document for share in shares]
        return cls(parents, vectors, form=form, shares=list(shares))

    @property
    def passages(self) -> list[Document]:
        """What is written."""
        return [passage for share in self.shares for passage in share.passages]

    @override
    def encoded(self, encode: Encode) -> Self:
        return replace(self, vectors=self.form.encoded(self.shares, encode))

    @override
    def halves(self) -> tuple[Batch, Batch]:
        """Return two batches of half of the parents each; a parent is refused as a whole."""
        half = len(self.shares) // 2
        rows = sum(share.stop - share.first for share in self.shares[:half])
        first = second = None
        if self.vectors is not None:
            first = self.vectors.slice(0, rows)
            second = self.vectors.slice(rows, len(self.vectors))
        return (
            PassageBatch.of(self.form, self.shares[:half], first),
            PassageBatch.of(self.form, self.shares[half:], second),
        )

    @override
    def write(self, store: Store) -> Written:
        """Write passages, and complete the parents whose last ones they are."""
        assert self.vectors is not None
        kept = [not share.parent.is_refused for share in self.shares for _ in share.passages]
        if not any(kept):
            return Written([], UpsertReport(0, 0, 0, ()))
        if not all(kept):
            shares = [share for share in self.shares if not share.parent.is_refused]
            rows = [row for row, is_kept in enumerate(kept) if is_kept]
            return PassageBatch.of(self.form, shares, self.vectors.take(rows)).write(store)
        parents = [share.parent for share in self.shares]
        self.form.begin([parent for parent in parents if not parent.is_begun])
        try:
            report = store.upsert(self.passages, self.vectors)
        except InvalidInputError:
            raise  # nothing was written
        except StoreError:
            _note_changed(parents)
            raise
        _note_changed(parents)
        completed = [share.parent for share in self.shares if share.is_last]
        for parent in completed:
            self.form.delete_passages(parent.document.id, parent.surplus)
        count = sum(len(parent.passages) for parent in completed)
        return Written([parent.document for parent in completed], report, count)

    @override
    def discard(self, store: Store) -> None:
        """Delete the passages of a refused parent, unless none was written."""
        (share,) = self.shares
        share.parent.is_refused = True
        if share.parent.is_changed:
            self.form.delete([share.parent.document.id])


class PassageForm:
    """Documents are stored as passages.

    Args:
        encoder: Its tokens divide the texts; with late chunking, it encodes passages.
        store: The collection.
        journal: Records the documents whose passages are about to be written.
        options: How texts are split.
        batch_bytes: The most bytes of text that are encoded at once.

    Raises:
        InvalidOptionError: If the encoder cannot do what the options ask for.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        store: Store,
        journal: Journal,
        options: Passages,
        batch_bytes: int,
    ) -> None:
        self._encoder = passage_encoder(encoder, options)
        self._encode_passages: EncodePassages | None = None
        if options.late:
            self._encode_passages = getattr(encoder, "encode_passages", None)
        self._held = encoder.schema.held_by(store.schema)
        self._store = store
        self._journal = journal
        self._options = options
        self._batch_bytes = batch_bytes

    def batches(self, documents: list[Document], refuse: Refuse) -> Iterator[Batch]:
        """Yield passages to encode."""
        parents: list[Parent] = []
        try:
            for document in documents:
                try:
                    parents.append(self._split(document))
                except (InvalidOptionError, InvalidVectorsError):
                    raise
                except InvalidInputError as error:
                    refuse(document, error)
        except Exception:  # what came before the document that ends the run is kept
            yield from self._batches(parents)
            raise
        yield from self._batches(parents)

    def with_stored_vectors(
        self, documents: Sequence[Document]
    ) -> tuple[int, Iterable[Batch], list[Document]]:
        """Return the documents of which the store has exactly the passages, and the others."""
        same, changed = list[Parent](), list[Document]()
        for start in range(0, len(documents), _PARENTS):
            parents: list[Parent] = []
            for document in documents[start : start + _PARENTS]:
                try:
                    parents.append(self._split(document))
                except InvalidInputError:
                    changed.append(document)  # it is refused when it is split again
            existing = self._look_up({p.document.id: len(p.passages) for p in parents})
            for parent in parents:
                if self._is_stored(parent, existing[parent.document.id]):
                    same.append(parent)
                else:
                    changed.append(parent.document)
        return len(same), self._with_vectors(same), changed

    def missing(self, ids: Sequence[str]) -> list[str]:
        """Return the ids of documents whose passages are not all stored, or not only these.

        The first and the last one must be stored, and none after them: a database that failed may
        have lost its last deletions, too.
        """
        firsts = {passage_id(id, 0): id for id in ids}
        counts = {
            firsts[passage.id]: count_of(passage)
            for passage in self._store.get(firsts).documents
            if is_passage_of(passage, firsts[passage.id])
        }
        ends = {id: (passage_id(id, n - 1), passage_id(id, n)) for id, n in counts.items()}
        wanted = [id for pair in ends.values() for id in pair if len(id.encode()) <= MAX_ID_BYTES]
        existing = {
            passage.id
            for passage in self._store.get(wanted).documents
            if parent_id_of(passage) is not None
        }
        return [
            id
            for id in ids
            if id not in ends or ends[id][0] not in existing or ends[id][1] in existing
        ]

    def delete(self, ids: Sequence[str]) -> None:
        """Delete the passages of documents."""
        for start in range(0, len(ids), _PARENTS):
            # 1, since a run that was killed may have left passages without the first one.
            existing = self._look_up(dict.fromkeys(ids[start : start + _PARENTS], 1))
            for id, numbered in existing.items():
                passages = [n for n, each in numbered.items() if is_passage_of(each, id)]
                self.delete_passages(id, passages)

    def delete_passages(self, parent_id: str, numbers: Iterable[int]) -> None:
        """Delete passages of a parent from the last one on, so that those before lead to them."""
        ids = [passage_id(parent_id, n) for n in sorted(numbers, reverse=True)]
        for start in range(0, len(ids), AHEAD):
            self._store.delete(ids[start : start + AHEAD], passages=False)

    def begin(self, parents: Sequence[Parent]) -> None:
        """Record that passages of parents will be written, and note those that will be in surplus.

        Raises:
            InvalidDocumentError: If another document has the id of a passage.
        """
        if not parents:
            return
        existing = self._look_up({p.document.id: len(p.passages) for p in parents})
        for parent in parents:
            id, count = parent.document.id, len(parent.passages)
            numbered = existing[id]
            for n, document in numbered.items():
                if n < count and not is_passage_of(document, id):
                    raise InvalidDocumentError(
                        f"document {id!r}: its passage {n} would overwrite the document "
                        f"{document.id!r}, which is none of its passages; give one of the two "
                        "another id"
                    )
            parent.surplus = [
                n for n, each in numbered.items() if n >= count and is_passage_of(each, id)
            ]
        self._journal.begin([parent.document for parent in parents])
        for parent in parents:
            parent.is_begun = True

    def encoded(self, shares: Sequence[Share], encode: Encode) -> Vectors:
        """Return the vectors of passages, each read alone or in its text."""
        if self._encode_passages is None:
            return encode([passage.text for share in shares for passage in share.passages])
        parts: list[Vectors] = []
        for share in shares:
            tokens = share.parent.tokens[share.first : share.stop]
            text = share.parent.document.text
            vectors = self._encode_passages(text, tokens) if tokens else encode([text])
            parts.append(vectors.only(self._held))
        return Vectors.concatenate(parts)

    def _split(self, document: Document) -> Parent:
        passages = split(document.text, whole_tokens(self._encoder, document), self._options)
        tokens = [passage.tokens for passage in passages]
        return Parent(document, passage_documents(document, passages), tokens)

    def _batches(self, parents: Sequence[Parent]) -> Iterator[PassageBatch]:
        """Yield passages in batches of about equal size, of at most `batch_bytes` if possible."""
        units = [unit for parent in parents for unit in self._units(parent)]
        sizes = [sum(len(passage.text.encode()) for passage in unit.passages) for unit in units]
        total = sum(sizes)
        enough = total / max(1, math.ceil(total / self._batch_bytes))
        shares: list[Share] = []
        size = count = 0
        for unit, length in zip(units, sizes, strict=True):
            if unit.parent.is_refused:  # while this generator waited
                continue
            follows = bool(shares) and shares[-1].parent is unit.parent
            if shares and (
                size >= enough > 0
                or (follows and self._encode_passages is not None)
                or size + length > self._batch_bytes
                or count + unit.stop - unit.first > BATCH_DOCUMENTS
            ):
                yield PassageBatch.of(self, shares)
                shares, size, count = [], 0, 0
            size, count = size + length, count + unit.stop - unit.first
            if shares and follows:
                unit = replace(shares.pop(), stop=unit.stop)
            shares.append(unit)
        if shares:
            yield PassageBatch.of(self, shares)

    def _units(self, parent: Parent) -> Iterator[Share]:
        """Yield passages that must be encoded together: one, or those that share a context."""
        count, first = len(parent.passages), 0
        for n in range(1, count):
            if (
                self._encode_passages is None
                or parent.tokens[n].stop - parent.tokens[first].start > LATE_TOKENS
            ):
                yield Share(parent, first, n)
                first = n
        yield Share(parent, first, count)

    def _is_stored(self, parent: Parent, numbered: Mapping[int, Document]) -> bool:
        """Return whether the store has the passages of a parent, whatever their metadata."""
        if numbered.keys() != set(range(len(parent.passages))):
            return False
        return all(
            is_passage_of(numbered[n], parent.document.id)
            and numbered[n].text == self._store.as_stored(passage).text
            and numbered[n].metadata[SPAN] == passage.metadata[SPAN]
            for n, passage in enumerate(parent.passages)
        )

    def _with_vectors(self, parents: Sequence[Parent]) -> Iterator[Batch]:
        """Yield passages with the vectors of the store."""
        for batch in self._batches(parents):
            ids = [passage.id for passage in batch.passages]
            page = self._store.get(ids, with_vectors=True)
            is_complete = [document.id for document in page.documents] == ids
            yield replace(batch, vectors=page.vectors) if is_complete else batch

    def _look_up(self, expected: Mapping[str, int]) -> dict[str, dict[int, Document]]:
        return drive(look_up(expected), lambda ids: self._store.get(ids).documents)


def _note_changed(parents: Iterable[Parent]) -> None:
    for parent in parents:
        parent.is_changed = True
