"""Documents whose encoding ends the process, and when a run gives up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from trivec.document import Document
from trivec.errors import CheckpointError, InvalidDocumentError, StoreError

DEATHS = 2
"""Deaths of an encoder's process with one batch before the batch is halved, or one document left
out."""
BLOCKS = 100
"""Deaths with one block before the run ends; each process may have encoded some of the block."""
LOADS = 3
"""Deaths while the model loads before the run ends."""
WRITES = 3
"""Deaths of a writer's process with the same documents before the run ends."""
MAX_DEADLY = 3
"""Deadly documents in a row before the run ends: then the documents are hardly at fault."""


class Attempts:
    """How often each task was begun without an end, since its process died.

    Ray restarts a process that died and repeats its task, forever if it dies each time. The task
    must do the same in every repetition, except that a batch stays halved.
    """

    def __init__(self) -> None:
        self._open = Counter[str]()
        self._deadly = set[str]()

    def begin(self, task: str) -> int:
        """Record that a task begins, and return how often it has begun without an end."""
        self._open[task] += 1
        return self._open[task] - 1

    def end(self, task: str, *, succeeded: bool = True) -> None:
        """Record that a task has ended; a success shows that documents can be encoded."""
        self._open.pop(task, None)
        if succeeded:
            self._deadly.clear()

    def deadly(self, id: str) -> int:
        """Record a deadly document, and return how many there are in a row."""
        self._deadly.add(id)
        return len(self._deadly)


def is_enough(deaths: int, documents: Sequence[Document], *, half: bool) -> bool:
    """Return whether a batch, or half of such a batch, has ended its process too often."""
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
            "says why. The acknowledged documents stay, and the same call may be made again"
        )


def _named(ids: Sequence[str]) -> str:
    return f"the {len(ids)} documents {ids[0]!r} to {ids[-1]!r}" if ids else "a report"


def deadly(document: Document, in_a_row: int) -> InvalidDocumentError:
    """Return the error of a document that ended its encoder's process.

    Raises:
        CheckpointError: If there are too many in a row for the documents to be at fault.
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
