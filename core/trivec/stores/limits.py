"""How much a database holds and returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from trivec.colbert_storage import ColbertStorage
from trivec.document import Document, metadata_json, public_metadata
from trivec.errors import InvalidDocumentError, InvalidOptionError
from trivec.search import MAX_COUNT, Search


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a database holds and returns; None where it sets no limit of its own.

    Metadata that frameworks keep with a document, such as the rest of a LlamaIndex node, is not
    the user's and does not count.

    Args:
        database: The name of the database, which errors begin with.
        id_bytes: The most bytes of an id in UTF-8; ids of more than 512 are no ids of trivec's.
        text_bytes: The most bytes of a text in UTF-8.
        metadata_bytes: The most bytes of the metadata as compact JSON in UTF-8.
        colbert_rows: The most token vectors of one document.
        colbert_values: The most numbers in all token vectors of one document.
        colbert_bits: The bits that one number of a token vector can take; see `ColbertStorage`.
        codec_cosines: For those of `colbert_bits` that the database encodes in a way of its own
            instead of as `TokenCodes`: the lowest cosine of a token vector and what it returns.
        hits: The most hits of one search, and candidates of all sources together.
        declared_fields_only: Whether filters can use declared fields only.
        connections: How many requests of one step are sent at the same time. Where a backend has
            no `asend`, also how many calls of asynchronous methods wait for answers at once, but
            at least four.

    Example:
        >>> Limits(colbert_values=2**20 - 1).max_colbert_rows(1024)
        1023
    """

    database: str = ""
    id_bytes: int | None = None
    text_bytes: int | None = None
    metadata_bytes: int | None = None
    colbert_rows: int | None = None
    colbert_values: int | None = None
    colbert_bits: tuple[int, ...] = (16,)
    codec_cosines: Mapping[int, float] = field(default_factory=dict)
    hits: int | None = None
    declared_fields_only: bool = False
    connections: int = 1

    def max_colbert_rows(self, dimension: int | None) -> int | None:
        """Return the most token vectors of one document; None for any number."""
        limits = [] if self.colbert_rows is None else [self.colbert_rows]
        if self.colbert_values is not None and dimension:
            limits.append(self.colbert_values // dimension)
        return min(limits, default=None)

    def check(self, document: Document) -> None:
        """Check that a document is not too large.

        Raises:
            InvalidDocumentError: If it is; the message names it, the database and the limit.
        """
        if self.id_bytes is not None:
            self._check(document, "id", len(document.id.encode()), self.id_bytes)
        if self.text_bytes is not None:
            self._check(document, "text", len(document.text.encode()), self.text_bytes)
        if self.metadata_bytes is not None:
            size = len(metadata_json(public_metadata(document)).encode())
            self._check(document, "metadata", size, self.metadata_bytes)

    def check_search(self, search: Search) -> None:
        """Check that a search asks for no more hits and candidates than the database returns.

        Raises:
            InvalidOptionError: If it asks for more.
        """
        if self.hits is None or search.candidate_limit <= self.hits:
            return
        what = f"k={search.k} and candidates={search.candidates} of two sources are too many"
        if search.group_by is not None:
            what = (
                f"candidates={search.candidates}, which is k or more, can be at most "
                f"{self.max_candidates(search)} with group_by in mode {search.mode!r}"
            )
        raise InvalidOptionError(
            f"{self.database} returns at most {self.hits} hits at once: {what}"
        )

    def max_candidates(self, search: Search) -> int:
        """Return the most candidates that a search with groups can ask each of its sources for."""
        if self.hits is None:
            return MAX_COUNT
        return self.hits * search.candidates // search.candidate_limit

    def check_colbert(self, colbert: ColbertStorage) -> None:
        """Check that the database can keep token vectors so.

        Raises:
            InvalidOptionError: If it cannot.
        """
        if colbert.bits not in self.colbert_bits:
            offered = ", ".join(map(str, sorted(self.colbert_bits, reverse=True)))
            nearest = min(self.colbert_bits, key=lambda bits: abs(bits - colbert.bits))
            raise InvalidOptionError(
                f"{self.database or 'this store'} keeps token vectors with {offered} bits for each "
                f"number, got bits={colbert.bits}; the nearest is "
                f"'{replace(colbert, bits=nearest)}'{self._smaller(colbert)}"
            )

    def _smaller(self, colbert: ColbertStorage) -> str:
        """Return how pooling saves the bytes that fewer bits than the least would have saved."""
        least = min(self.colbert_bits)
        if colbert.bits >= least or colbert.pool > 1:
            return ""
        told = [
            f"'{ColbertStorage(bits=least, pool=pool)}' takes 1/{32 // least * pool}"
            for pool in (2, 3)
        ]
        return f"; of the bytes in float32, {' and '.join(told)}"

    def _check(self, document: Document, what: str, size: int, limit: int) -> None:
        if size > limit:
            raise InvalidDocumentError(
                f"document {document.id!r}: its {what} takes {size:,} bytes, and {self.database} "
                f"holds at most {limit:,} bytes of {what} in one document; store less of it, split "
                "the document, or use a database without this limit"
            )
