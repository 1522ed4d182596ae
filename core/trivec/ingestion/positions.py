"""The positions in a source of the documents that are on their way to the store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

MOST = 100_000
"""The most positions that are kept; documents may wait on the disk, so there may be more."""

_AGAIN = " (or a later row with this id)"


class Positions:
    """Positions such as "a.jsonl, line 7" by the ids of documents.

    Example:
        >>> positions = Positions()
        >>> positions.add("x", "a.jsonl, line 7")
        >>> positions.find("x")
        'a.jsonl, line 7'
        >>> positions.add("x", "a.jsonl, line 9")
        >>> positions.find("x")
        'a.jsonl, line 7 (or a later row with this id)'
        >>> positions.forget(["x"])
        >>> positions.find("x")
        ''
    """

    def __init__(self) -> None:
        self._known: dict[str, str] = {}  # used by the reading and by the writing thread

    def __len__(self) -> int:
        """Return the number of positions that are kept."""
        return len(self._known)

    def add(self, id: str, where: str) -> None:
        """Record the position of a document; of too many, the oldest ones are forgotten."""
        known = self._known
        if (earlier := known.get(id)) is not None:
            known[id] = earlier if earlier.endswith(_AGAIN) else earlier + _AGAIN
            return
        known[id] = where
        if len(known) > MOST:
            oldest: Iterator[str] = iter(tuple(known))
            for _ in range(MOST // 10):
                known.pop(next(oldest), None)

    def find(self, id: str) -> str:
        """Return the position of a document, or ""."""
        return self._known.get(id, "")

    def forget(self, ids: Iterable[str]) -> None:
        """Forget the positions of documents that were written, or need not be."""
        for id in ids:
            self._known.pop(id, None)
