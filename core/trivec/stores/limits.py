"""How much of one document a database holds."""

from __future__ import annotations

from dataclasses import dataclass

from trivec.document import Document, metadata_json, public_metadata
from trivec.errors import InvalidDocumentError

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of one document a database holds; None where it sets no limit of its own.

    What programs over a store keep with a document, such as the rest of a LlamaIndex node, is
    none of its user's metadata and does not count.

    Args:
        database: The name of the database, which errors begin with.
        text_bytes: The most bytes of a text in UTF-8.
        metadata_bytes: The most bytes of the metadata as compact JSON in UTF-8.

    Example:
        >>> from trivec import open_store
        >>> with open_store("memory:/limits-example") as store:
        ...     store.limits.metadata_bytes is None
        True
    """

    database: str = ""
    text_bytes: int | None = None
    metadata_bytes: int | None = None

    def check(self, document: Document) -> None:
        """Check that a document is not too large.

        Raises:
            InvalidDocumentError: If it is; the message names it, the database and the limit.
        """
        if self.text_bytes is not None:
            self._check(document, "text", len(document.text.encode()), self.text_bytes)
        if self.metadata_bytes is not None:
            size = len(metadata_json(public_metadata(document)).encode())
            self._check(document, "metadata", size, self.metadata_bytes)

    def _check(self, document: Document, part: str, size: int, limit: int) -> None:
        if size > limit:
            raise InvalidDocumentError(
                f"document {document.id!r}: its {part} takes {size:,} bytes, and {self.database} "
                f"holds at most {limit:,} bytes of {part} in one document; store less of it, split "
                "the document, or use a database without this limit"
            )
