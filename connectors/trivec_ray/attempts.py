"""What to do with documents whose encoding ends the process that tries it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from trivec.document import Document
from trivec.errors import CheckpointError, InvalidDocumentError, StoreError

__all__ = ["Attempts", "check_block", "check_load", "check_writing", "deadly", "is_enough"]

DEATHS = 2
"""So often a process may die with a part before the part is halved, and with one document."""
BLOCKS = 100
"""So often it may die with a block, of which each process has perhaps done a part."""
LOADS = 3
"""So often it may die while the model loads."""
WRITES = 3
"""So often it may die while it writes the same documents."""
MAX_DEADLY = 3
"""So many documents one after the other are not at fault themselves."""


class Attempts:
    """How often something was begun and not ended, as when the process died that tried it.

    Ray starts a process that died again and repeats what it did, for ever if it dies each time.
    What it does must be the same in every repetition, except that a part stays halved once it
    was.
    """

    def __init__(self) -> None:
        self._open = Counter[str]()
        self._deadly = set[str]()

    def begin(self, what: str) -> int:
        """Note that something begins, and return how often it has begun without an end."""
        self._open[what] += 1
        return self._open[what] - 1

    def end(self, what: str, *, succeeded: bool = True) -> None:
        """Note that it has been done.

        Args:
            what: What was begun.
            succeeded: Whether it shows that documents can be encoded.
        """
        self._open.pop(what, None)
        if succeeded:
            self._deadly.clear()

    def deadly(self, id: str) -> int:
        """Note a deadly document, and return how many there are one after the other."""
        self._deadly.add(id)
        return len(self._deadly)


def is_enough(deaths: int, documents: Sequence[Document], *, half: bool) -> bool:
    """Return whether documents are not to be tried together once more."""
    return deaths >= (1 if half and len(documents) > 1 else DEATHS)


def check_load(deaths: int) -> None:
    """Raise `CheckpointError` if the process has died too often while it made the encoder."""
    if deaths >= LOADS:
        raise CheckpointError(
            f"the process of an encoder ended {deaths} times while the encoder was made; Ray's "
            "log says why, and memory is the likely reason: give it a machine or a GPU with more, "
            "or fewer encoders (concurrency)"
        )


def check_block(deaths: int, ids: Sequence[str]) -> None:
    """Raise `CheckpointError` if processes have died too often with a block of documents."""
    if deaths >= BLOCKS:
        raise CheckpointError(
            f"the process of an encoder ended {deaths} times with {_named(ids)}; Ray's log says why"
        )


def check_writing(deaths: int, ids: Sequence[str]) -> None:
    """Raise `StoreError` if the process has died too often while it wrote documents."""
    if deaths >= WRITES:
        raise StoreError(
            f"the process of a writer ended {deaths} times while it wrote {_named(ids)}; Ray's log "
            "says why. What was acknowledged stays, and the same call may be made again"
        )


def _named(ids: Sequence[str]) -> str:
    return f"the {len(ids)} documents {ids[0]!r} to {ids[-1]!r}" if ids else "a report"


def deadly(document: Document, in_a_row: int) -> InvalidDocumentError:
    """Return the error of a document that ended its encoder's process.

    Raises:
        CheckpointError: If so many did one after the other that it is not their fault.
    """
    problem = (
        f"document {document.id!r}: the encoder's process ended {DEATHS} times while it encoded "
        f"this document alone, whose text has {len(document.text)} characters"
    )
    if in_a_row >= MAX_DEADLY:
        raise CheckpointError(
            f"{problem}; it is the last of {in_a_row} one after the other, so that the encoder or "
            "its memory is at fault rather than the documents. Ray's log says why"
        )
    return InvalidDocumentError(
        f"{problem}; Ray's log says why, and memory is the likely reason. Shorten the text, or "
        "go on without it (on_error='skip')"
    )
