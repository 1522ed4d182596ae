"""Ways to store vectors, and the bytes that they take."""

from __future__ import annotations

from dataclasses import dataclass

from trivec.search import Part


@dataclass(frozen=True, slots=True)
class StorageChoice:
    """One way to store one part in one database.

    Args:
        database: The name of the database.
        part: The part.
        storage: What it is called there.
        formula: The bytes of one document, with d dimensions, t ColBERT vectors, s lexical terms.
        document_bytes: The formula's value.
        default: Whether the connector stores it so unless told otherwise.
    """

    database: str
    part: Part
    storage: str
    formula: str
    document_bytes: float
    default: bool

    @property
    def bytes_per_thousand(self) -> int:
        """Bytes of 1,000 documents."""
        return round(1000 * self.document_bytes)
