"""The work that documents need: to be encoded, to be touched, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from trivec.document import Document
from trivec.ingestion.contents import HASH_BYTES

Action = Literal["encode", "touch", "unchanged", "later"]


@dataclass(frozen=True, slots=True)
class Worklist:
    """Some documents, sorted by the work that they need.

    Args:
        encode: Documents to encode and write: new ones, those with a changed text, those that
            failed before, and those that follow another document with the same id.
        touch: Documents of which only the metadata has changed.
        unchanged: The number of documents that are written already.
        replaced: The number of documents whose id came more than once.
    """

    encode: list[Document]
    touch: list[Document]
    unchanged: int
    replaced: int

    @classmethod
    def from_actions(
        cls, documents: Mapping[str, Document], actions: Mapping[str, Action], replaced: int
    ) -> Worklist:
        """Sort documents by their actions; those with "later", or without one, are left out."""

        def with_action(wanted: Action) -> list[Document]:
            return [documents[id] for id, action in actions.items() if action == wanted]

        unchanged = len(with_action("unchanged"))
        return cls(with_action("encode"), with_action("touch"), unchanged, replaced)


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The entry of one id in a journal.

    Args:
        text: The hash of its text.
        metadata: The hash of its metadata.
        problem: Why the store refused the document; None if it acknowledged it.
    """

    text: bytes
    metadata: bytes
    problem: str | None

    @property
    def content(self) -> bytes:
        """The hashes, as `content_of` joins them."""
        return self.text + self.metadata


def action_for(content: bytes, row: Acknowledged | None) -> Action:
    """Compare a document's content with what the journal has of its id."""
    if row is None or row.problem is not None or row.text != content[:HASH_BYTES]:
        return "encode"
    return "unchanged" if row.metadata == content[HASH_BYTES:] else "touch"
