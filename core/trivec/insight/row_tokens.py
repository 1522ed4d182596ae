"""Which tokens of a text its ColBERT vectors stand for, as exactly as it is known."""

from __future__ import annotations

import numpy as np

from trivec.colbert_storage import ColbertStorage, Overflow
from trivec.document import Document
from trivec.encoders.protocol import Token, TokenizingEncoder
from trivec.errors import InvalidVectorsError
from trivec.passages.alignment import EDGES, aligned
from trivec.passages.stored import has_place
from trivec.rows import Tokens
from trivec.stores.reduction import reduced, vectors_of
from trivec.vectors import Vector

_AGREEING = 0.8
"""The share of its vectors that must be the nearest ones of a text that is encoded again."""
_EQUAL = 1e-3
"""How much similarities of equal vectors may differ."""


def paired(
    tokens: list[Token], rows: Tokens, side: str, notes: list[str]
) -> list[tuple[Token, ...]]:
    """Return the token of each row, or none for every row if rows were merged or cut."""
    if len(tokens) == len(rows):
        return [(token,) for token in tokens]
    if len(rows):
        notes.append(
            f"the {side} has {len(rows)} ColBERT vectors for {len(tokens)} tokens: they were "
            "merged or cut when it was stored, or made of a longer text, so it is unknown which "
            "token a vector stands for"
        )
    return [()] * len(rows)


def merged(
    tokens: list[Token], stored: Vector, text: str, encoder: TokenizingEncoder
) -> list[tuple[Token, ...]] | None:
    """Return the tokens of each vector of a collection that prunes or pools; None if unknown.

    The text is encoded and reduced again. The result counts if it has the same number of vectors,
    and most of them are nearest to the stored vector in their place.
    """
    storage, rows = stored.storage, stored.colbert
    if storage is None or rows is None or not (storage.prune or storage.pool > 1):
        return None
    encoded = encoder.encode_documents([text]).colbert
    if encoded is None or len(encoded.values) != len(tokens):
        return None
    again = reduced(encoded, storage).values
    if len(again) != len(rows):
        return None
    similarities = rows.astype(np.float32) @ again.astype(np.float32).T
    nearest = similarities.diagonal() > similarities.max(axis=1) - _EQUAL
    if np.mean(nearest) < _AGREEING:
        return None
    found: list[list[Token]] = [[] for _ in rows]
    for token, row in zip(tokens, vectors_of(encoded, storage).tolist(), strict=True):
        if row >= 0:
            found[row].append(token)
    return [tuple(some) for some in found]


def cut(
    tokens: list[Token], stored: Vector, document: Document, overflow: Overflow
) -> list[tuple[Token, ...]] | None:
    """Return the token of each vector of a text without its last tokens; None for other texts.

    A passage of late chunking has no vector of the last special token. A text that was too long for
    the database has the vectors of its first tokens, if `overflow` says so.
    """
    storage, rows = stored.storage or ColbertStorage(), stored.colbert
    if rows is None or len(rows) == len(tokens) or storage.prune or storage.pool > 1:
        return None
    edges = 0
    if has_place(document) and abs(len(tokens) - 1 - len(rows)) <= EDGES:
        edges = EDGES
    elif overflow != "truncate":
        return None
    try:
        row_of_token = aligned(tokens, stored, overflow="truncate", edges=edges)
    except InvalidVectorsError:  # more vectors than tokens
        return None
    found: list[tuple[Token, ...]] = [()] * len(rows)
    for token, row in zip(tokens, row_of_token.tolist(), strict=True):
        if row >= 0:
            found[row] = (token,)
    return found
