"""Checks of arguments that many functions take: stores, encoders, documents, journals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from trivec.arguments import described, expect
from trivec.document import Document
from trivec.errors import InvalidDocumentError, InvalidOptionError
from trivec.schema import Schema
from trivec.stores.store import Store

if TYPE_CHECKING:
    from trivec.encoders.protocol import TextEncoder, TokenizingEncoder


def check_store(value: object, what: str) -> None:
    """Raise `InvalidOptionError` unless a value is an open store."""
    if isinstance(value, Store):
        return
    hint = ""
    if isinstance(value, str | Path):
        hint = f"; open it with open_store({str(value)!r})"
    elif _is_encoder(value):
        hint = "; the encoder and the store are swapped"
    raise InvalidOptionError(f"{what}: expected an open store, got {described(value)}{hint}")


def check_encoder(value: object, what: str, *, tokens: bool = False) -> None:
    """Raise `InvalidOptionError` unless a value is an encoder, with `tokens` if asked for."""
    hint = ""
    if isinstance(value, Store):
        hint = "; the encoder and the store are swapped"
    elif isinstance(value, str | Path):
        hint = f"; open it with open_encoder({str(value)!r})"
    if not _is_encoder(value):
        raise InvalidOptionError(
            f"{what}: expected an encoder, which has a schema and encode_documents, "
            f"got {described(value)}{hint}"
        )
    if tokens and not callable(getattr(value, "tokens", None)):
        raise InvalidOptionError(
            f"{what}: expected an encoder that returns the tokens of a text, got "
            f"{described(value)}, which has no method `tokens`"
        )


def tokenizing(encoder: TextEncoder, what: str) -> TokenizingEncoder:
    """Return an encoder that also returns the tokens of a text.

    Raises:
        InvalidOptionError: If it does not, such as a server of dense vectors.
    """
    check_encoder(encoder, what, tokens=True)
    return cast("TokenizingEncoder", encoder)


def check_documents(value: object, what: str) -> None:
    """Raise `InvalidDocumentError` unless a value can be an iterable of documents."""
    hint = ""
    if isinstance(value, Document):
        hint = "; put it into a list"
    elif isinstance(value, str | Path):
        hint = f"; read a file with trivec.ingestion.sources.Source({str(value)!r})"
    elif isinstance(value, Store):
        hint = "; give its pages to `copy`, which keeps the vectors"
    if hint or isinstance(value, Mapping | bytes) or not isinstance(value, Iterable):
        raise InvalidDocumentError(
            f"{what}: expected an iterable of documents, got {described(value)}{hint}"
        )


def check_journal(value: object) -> None:
    """Raise `InvalidOptionError` unless a value is None or the path of a journal."""
    if value is not None:
        expect(value, (str, Path), "journal", "the path of a file, or None for no journal")


def check_callback(value: object, what: str) -> None:
    """Raise `InvalidOptionError` unless a value is a function or None."""
    if value is not None and not callable(value):
        raise InvalidOptionError(f"{what}: expected a function, got {described(value)}")


def _is_encoder(value: object) -> bool:
    """Return whether a value is an encoder, and not the class of an encoder."""
    return (
        not isinstance(value, type | Store)  # a store's schema would cost a request
        and isinstance(getattr(value, "schema", None), Schema)
        and callable(getattr(value, "encode_documents", None))
    )
