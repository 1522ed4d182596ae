"""The collections that the tests of one contract share."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

from trivec.stores.store import Store

Handles = tuple[Store, Store]
"""Two stores of one collection, or one store and what it is compared with."""


class Library:
    """Collections by their contents: made on first use, dropped at the end.

    Args:
        folder: Where embedded databases keep their files.
        single: Whether the database has room for one collection only; then each takes the place
            of the one before.

    Attributes:
        shared: The collections, each with the same in memory.
    """

    def __init__(self, folder: Path, *, single: bool) -> None:
        self.folder = folder
        self.shared: dict[str, Handles] = {}
        self._single = single

    def name(self, contents: str) -> str:
        """Return the name of a new collection, for which there is room."""
        if self._single:
            self.close()
        return f"{contents}_{uuid4().hex[:12]}"

    def close(self) -> None:
        """Drop all collections."""
        while self.shared:
            _, stores = self.shared.popitem()
            for store in stores:
                store.drop()
                store.close()
