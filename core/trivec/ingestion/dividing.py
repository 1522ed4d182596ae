"""The encoders whose tokens divide texts into passages, and all tokens of a text."""

from __future__ import annotations

from collections.abc import Callable

import regex

from trivec.arguments import described
from trivec.checks import tokenizing
from trivec.document import Document
from trivec.encoders.protocol import TextEncoder, Token, TokenizingEncoder
from trivec.errors import InvalidDocumentError, InvalidOptionError
from trivec.passages.options import Passages

_SPECIAL_TOKENS = 2  # before and after a text
_WORD = regex.compile(r"\w")


def passage_encoder(encoder: TextEncoder, options: Passages) -> TokenizingEncoder:
    """Return the encoder of passages, whose tokens divide texts.

    Args:
        encoder: Any encoder.
        options: How texts are split.

    Raises:
        InvalidOptionError: If it returns no tokens, reads fewer tokens than a passage may have, or
            cannot encode passages in their context, as late chunking needs.
    """
    divides = tokenizing(encoder, "ingest: passages")
    most = getattr(encoder, "max_length", None)
    if isinstance(most, int) and options.tokens + _SPECIAL_TOKENS > most:
        raise InvalidOptionError(
            f"passages: tokens={options.tokens} are more than the encoder reads at once, "
            f"{most - _SPECIAL_TOKENS} without special tokens; make passages shorter"
        )
    if options.late and not callable(getattr(encoder, "encode_passages", None)):
        raise InvalidOptionError(
            f"passages: late=True needs an encoder whose model is in this process, got "
            f"{described(encoder)}, which has no method `encode_passages`"
        )
    return divides


def whole_tokens(encoder: TokenizingEncoder, document: Document) -> list[Token]:
    """Return all tokens of a document's text.

    Raises:
        InvalidDocumentError: If the encoder returns only those that the model reads at once, and
            the text has more.
    """
    text = document.text
    whole: Callable[[str], list[Token]] | None = getattr(encoder, "whole_tokens", None)
    if callable(whole):
        return whole(text)
    tokens = encoder.tokens(text)
    spans = [(token.start, token.end) for token in tokens if token.start < token.end]
    before, after = (text[: spans[0][0]], text[spans[-1][1] :]) if spans else (text, "")
    if _WORD.search(before) or _WORD.search(after):
        raise InvalidDocumentError(
            f"document {document.id!r} has more tokens than {described(encoder)} returns of one "
            "text; split it with an encoder whose model is in this process, or make it shorter"
        )
    return tokens
