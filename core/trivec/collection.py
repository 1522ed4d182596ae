"""Values that stores return: the description of a collection, pages, capabilities, reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from trivec.colbert_storage import ColbertStorage
from trivec.document import Document
from trivec.fields import FieldType
from trivec.schema import Schema
from trivec.vectors import Vectors


class Page(NamedTuple):
    """Documents with their vectors.

    Attributes:
        documents: n documents.
        vectors: n rows in the order of the documents; None where they were not asked for.
    """

    documents: list[Document]
    vectors: Vectors | None


@dataclass(frozen=True, slots=True)
class Collection:
    """The description of a collection.

    Args:
        schema: Which vectors it holds.
        fields: The declared metadata, path to type.
        colbert: How it keeps token vectors; None where that is not recorded.
    """

    schema: Schema
    fields: Mapping[str, FieldType] = field(default_factory=dict)
    colbert: ColbertStorage | None = None


@dataclass(frozen=True, slots=True)
class Capability:
    """How a store does something, and why so.

    Args:
        name: What is done, such as "hybrid" or "colbert".
        value: How, such as "native" or "payload".
        reason: Why, such as "2.6.18 is older than 2.6.19".
    """

    name: str
    value: str
    reason: str


@dataclass(frozen=True, slots=True)
class UpsertReport:
    """The report of one `upsert`.

    Args:
        documents: How many documents.
        requests: In how many requests.
        bytes: The bytes of text, metadata and vectors.
        overflowed: The ids whose ColBERT rows were longer than the database can hold.
    """

    documents: int
    requests: int
    bytes: int
    overflowed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OptimizeReport:
    """The report of one `optimize`.

    Args:
        bytes_before: What the collection took on the disk; None where the store has nothing to do.
        bytes_after: What it takes now, or None.
    """

    bytes_before: int | None = None
    bytes_after: int | None = None
