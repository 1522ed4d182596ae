"""Passages as they are stored: documents that know their parent and their place in its text."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeGuard

from trivec.document import MAX_ID_BYTES, PRIVATE_KEY, Document, private_metadata
from trivec.errors import InvalidDocumentError
from trivec.passages.splitting import Passage
from trivec.plain import Json

PARENT = "parent"
"""The metadata key under which a passage has the id of its parent."""

SPAN = "span"
"""The metadata key under which a passage has its range of characters in the parent's text."""

AHEAD = 8
"""How many ids after the last known passage are read to see whether more passages exist. Passages
that are no longer needed are deleted from the last one on, so many at a time."""

_NUMBER, _COUNT, _BEFORE, _AFTER = "passage", "passages", "before", "after"
_OWN_KEYS = (_NUMBER, _COUNT, _BEFORE, _AFTER)
_PAGE = 256  # ids that are read at once
_MOST = 4096  # ids after an existing passage that are read because it was one of so many


def passage_id(parent_id: str, n: int) -> str:
    """Return the id of a passage, counted from 0.

    >>> passage_id("report", 3)
    'report#3'
    """
    return f"{parent_id}#{n}"


def passage_documents(parent: Document, passages: Sequence[Passage]) -> list[Document]:
    """Return the passages of a document as documents, from which `parent_of` makes it again.

    Args:
        parent: The document.
        passages: The passages of its text, as `split` returns them. A text without passages is
            stored as one.

    Raises:
        InvalidDocumentError: If an id would be too long, or the parent's metadata has a key that
            passages need.

    Example:
        >>> parent = Document("a", " One. Two.", {"year": 2026})
        >>> first, second = passage_documents(parent, [Passage(1, 5, 0, 1), Passage(6, 10, 1, 2)])
        >>> second.id, second.text, second.metadata["parent"], second.metadata["span"]
        ('a#1', 'Two.', 'a', [6, 10])
    """
    spans = [(passage.start, passage.end) for passage in passages] or [(0, len(parent.text))]
    _check_id(parent.id, len(spans))
    public, private = _own_metadata(parent)
    documents: list[Document] = []
    reached = 0
    for n, (start, end) in enumerate(spans):
        place: dict[str, Json] = {_NUMBER: n, _COUNT: len(spans)}
        if start > reached:
            place[_BEFORE] = parent.text[reached:start]
        reached = max(reached, end)
        if n == len(spans) - 1 and reached < len(parent.text):
            place[_AFTER] = parent.text[reached:]
        metadata = {**public, PARENT: parent.id, SPAN: [start, end]}
        metadata[PRIVATE_KEY] = {**private, **place}
        documents.append(Document(passage_id(parent.id, n), parent.text[start:end], metadata))
    return documents


def number_of(document: Document, parent_id: str) -> int | None:
    """Return the number of a passage of this parent; None for any other document."""
    place = private_metadata(document)
    n, count, span = place.get(_NUMBER), place.get(_COUNT), document.metadata.get(SPAN)
    if document.metadata.get(PARENT) != parent_id or not (_is_count(n) and _is_count(count)):
        return None
    if not isinstance(span, list) or len(span) != 2 or not all(map(_is_count, span)):
        return None
    return n if n < count and document.id == passage_id(parent_id, n) else None


def is_passage_of(document: Document, parent_id: str) -> bool:
    """Return whether a stored document is a passage of this parent."""
    return number_of(document, parent_id) is not None


def has_place(document: Document) -> bool:
    """Return whether a document says that it is a passage, whatever its id is now."""
    return _NUMBER in private_metadata(document)


def parent_id_of(document: Document) -> str | None:
    """Return the id of the parent of a stored passage; None for any other document."""
    parent_id = document.metadata.get(PARENT)
    is_passage = isinstance(parent_id, str) and is_passage_of(document, parent_id)
    return parent_id if is_passage else None


def count_of(passage: Document) -> int:
    """Return how many passages its parent had when a passage was written."""
    count = private_metadata(passage)[_COUNT]
    assert isinstance(count, int)
    return count


def parent_of(passages: Sequence[Document]) -> Document:
    """Put a document together from its passages.

    Args:
        passages: All passages of one document, in any order.

    Raises:
        InvalidDocumentError: If they are not exactly the passages of one text.

    Example:
        >>> parent = Document("a", " One. Two.", {"year": 2026})
        >>> passages = [Passage(1, 5, 0, 1), Passage(6, 10, 1, 2)]
        >>> parent_of(passage_documents(parent, passages)) == parent
        True
    """
    parent_id = passages[0].metadata.get(PARENT) if passages else None
    if not isinstance(parent_id, str):
        raise InvalidDocumentError("there is no passage to put a document together from")
    numbered = {number_of(passage, parent_id): passage for passage in passages}
    counts = {count_of(passage) for n, passage in numbered.items() if n is not None}
    if counts != {len(passages)} or numbered.keys() != set(range(len(passages))):
        raise InvalidDocumentError(
            f"document {parent_id!r} cannot be put together: {len(passages)} passages are not all "
            "of one text; ingest it again"
        )
    text = ""
    for n in range(len(passages)):
        passage, place = numbered[n], private_metadata(numbered[n])
        text += _text(place.get(_BEFORE))
        start, end = passage.metadata[SPAN]
        if start > len(text) or end - start != len(passage.text):
            raise InvalidDocumentError(
                f"document {parent_id!r} cannot be put together: passage {n} is from {start} to "
                f"{end} and has {len(passage.text)} characters; ingest it again"
            )
        text += passage.text[len(text) - start :]
        text += _text(place.get(_AFTER))
    return Document(parent_id, text, _parents_metadata(numbered[0]))


Lookup: TypeAlias = Generator[list[str], Iterable[Document], dict[str, dict[int, Document]]]
"""Yields ids to read, receives the documents of those that exist, and returns them by parent and
number."""


def look_up(expected: Mapping[str, int]) -> Lookup:
    """Find the documents that have the ids of passages, those of other documents included.

    Args:
        expected: The ids of parents, each with the number of passages that are about to be
            written. With 0 nothing is read but the first passage, unless it exists.

    >>> search = look_up({"a": 0, "b": 0})
    >>> next(search)
    ['a#0', 'b#0']
    """
    existing: dict[str, dict[int, Document]] = {id: {} for id in expected}
    extents = {id: _Extent(stop=count + AHEAD if count else 1) for id, count in expected.items()}
    while extents:
        for page in _pages(extents):
            for document in (yield list(page)):
                if document.id in page:
                    parent_id, n = page[document.id]
                    existing[parent_id][n] = document
                    if is_passage_of(document, parent_id):
                        extents[parent_id].note(n, count_of(document))
        extents = {id: extent.following() for id, extent in extents.items() if extent.grows}
    return existing


@dataclass(slots=True)
class _Extent:
    """The numbers of the passages of one parent that are read next, and how far others may be."""

    stop: int
    start: int = 0
    known: int = field(default=0)

    def note(self, n: int, count: int) -> None:
        """Note that a passage exists, which was one of so many."""
        self.known = max(self.known, max(n + 1, min(count, n + _MOST)) + AHEAD)

    @property
    def grows(self) -> bool:
        """Whether passages may exist that were not read."""
        return self.known > self.stop

    def following(self) -> _Extent:
        """Return what is read after this."""
        return _Extent(self.known, self.stop, self.known)


def _pages(extents: Mapping[str, _Extent]) -> Iterator[dict[str, tuple[str, int]]]:
    """Yield ids to read, each with its parent and number; ids that no document can have are not."""
    page: dict[str, tuple[str, int]] = {}
    for parent_id, extent in extents.items():
        for n in range(extent.start, extent.stop):
            id = passage_id(parent_id, n)
            if len(id.encode()) > MAX_ID_BYTES:
                break
            page[id] = (parent_id, n)
            if len(page) == _PAGE:
                yield page
                page = {}
    if page:
        yield page


def _check_id(parent_id: str, count: int) -> None:
    longest = passage_id(parent_id, count - 1)
    if len(longest.encode()) > MAX_ID_BYTES:
        raise InvalidDocumentError(
            f"document {parent_id[:80]!r}: the id of its passage {count - 1} takes "
            f"{len(longest.encode())} bytes of UTF-8, and an id has at most {MAX_ID_BYTES}; give "
            "the document a shorter id"
        )


def _own_metadata(parent: Document) -> tuple[dict[str, Json], Mapping[str, Json]]:
    """Return the parent's metadata, the user's and that of programs, if passages can be added."""
    private = parent.metadata.get(PRIVATE_KEY, {})
    for key in (PARENT, SPAN):
        if key in parent.metadata:
            raise InvalidDocumentError(
                f"document {parent.id!r}: its metadata has the key {key!r}, which its passages "
                f"need; rename the field at ingestion, such as {key}=document_{key}"
            )
    if not isinstance(private, Mapping) or any(key in private for key in _OWN_KEYS):
        raise InvalidDocumentError(
            f"document {parent.id!r}: its metadata has data of passages under {PRIVATE_KEY!r}; "
            "it may be a passage already, so write it without splitting, or remove the key"
        )
    return {k: v for k, v in parent.metadata.items() if k != PRIVATE_KEY}, private


def _parents_metadata(passage: Document) -> dict[str, Json]:
    own = (PARENT, SPAN, PRIVATE_KEY)
    metadata: dict[str, Json] = {k: v for k, v in passage.metadata.items() if k not in own}
    private = {k: v for k, v in private_metadata(passage).items() if k not in _OWN_KEYS}
    return {**metadata, PRIVATE_KEY: private} if private else metadata


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
