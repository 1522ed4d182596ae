"""The evidence in hits: the best passages of each, from its stored vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trivec.colbert_storage import ColbertStorage, Overflow
from trivec.document import Document
from trivec.encoders.protocol import Token, TokenizingEncoder
from trivec.errors import InvalidVectorsError
from trivec.hit import Hit
from trivec.passages.alignment import EDGES, aligned, read_tokens
from trivec.passages.stored_text import StoredText
from trivec.scored_passage import ScoredPassage
from trivec.scores import Weights
from trivec.vectors import Vector

TOKENS = 64
"""The most tokens of a passage."""

Evidence = tuple[ScoredPassage, ...]

_SHARED = 0.5
"""The share of tokens with lexical weights that must be tokens of the text, or the other way."""


def evidence_of(
    document: Document,
    vector: Vector,
    queries: Sequence[tuple[Vector, Weights]],
    encoder: TokenizingEncoder,
    *,
    k: int,
    overflow: Overflow = "pool",
    limit: int | None = None,
    encoded: str | None = None,
) -> list[Evidence]:
    """Return the best passages of a stored document for each of some queries.

    Nothing is encoded. It is more lenient than `best_passages`, since the text is the one that
    the store has beside the vectors: if the text was read with another `max_length` than the
    encoder's, the passages are of the part that both have read.

    Args:
        document: The document.
        vector: Its stored vectors.
        queries: The vectors of each question, and the weights of the lexical and ColBERT scores.
        encoder: An encoder of the model that made the vectors.
        k: How many passages at most.
        overflow: What the store does with texts that are too long for the database.
        limit: The most ColBERT vectors of a document in the database; None for any number.
        encoded: The text that the vectors were made of, if that is more than the document's own
            text; there is no evidence unless it holds that text.

    Raises:
        InvalidVectorsError: If the encoder's tokens are not those of the vectors.

    Example:
        >>> from trivec.testing import HashEncoder
        >>> encoder, text = HashEncoder(), "The fox is red. A whale sings."
        >>> query, stored = encoder.encode_query("whale"), encoder.encode_documents([text])[0]
        >>> [[best]] = evidence_of(
        ...     Document("a", text), stored, [(query, Weights.GENERAL)], encoder, k=1
        ... )
        >>> best.text
        'A whale sings.'
    """
    text = document.text if encoded is None else encoded
    lead, tokens = read_tokens(encoder, text)
    place = _place(document.text, text)
    if not any(place.start < token.end and token.start < place.stop for token in tokens):
        return [()] * len(queries)
    name = f"evidence: document {document.id!r}"
    if _are_foreign([*lead, *tokens], vector):
        raise InvalidVectorsError(
            f"{name}: its lexical weights are not of the tokens that {encoder!r} makes of its "
            "text; keep an encoder open that makes the same vectors as the collection's"
        )
    if text != document.text:
        tokens = _as_many(tokens, place.start, len(lead), vector)
    tokens = _read(text, lead, tokens, vector, encoder, overflow, limit)
    try:
        rows = aligned(tokens, vector, lead=lead, overflow=overflow, edges=EDGES)
        if text != document.text:
            tokens, rows = _own_tokens(document.text, place, tokens, rows)
        stored = StoredText(document.text, tokens, vector, rows, TOKENS)
        return [
            tuple(stored.best(query, weights if _counts(weights, vector) else Weights.GENERAL, k))
            for query, weights in queries
        ]
    except InvalidVectorsError as error:
        raise InvalidVectorsError(f"{name}: {error} ({encoder!r} made the tokens)") from error


def with_evidence(
    answers: Sequence[Sequence[Hit]], evidence: Mapping[tuple[int, str], Evidence]
) -> list[list[Hit]]:
    """Return hits with their evidence, which is given by the query's number and the hit's id."""
    return [
        [replace(hit, evidence=evidence.get((number, hit.document.id), ())) for hit in hits]
        for number, hits in enumerate(answers)
    ]


def _place(text: str, encoded: str) -> slice:
    """Return where a text, without the blanks around it, is in the longer one that was encoded.

    What else is encoded usually comes before it, so its last occurrence counts.
    """
    core = text.strip()
    start = encoded.rfind(core) if core else -1
    return slice(start, start + len(core)) if start >= 0 else slice(len(encoded), len(encoded))


def _as_many(tokens: list[Token], start: int, lead: int, vector: Vector) -> list[Token]:
    """Return as many tokens as were encoded, where those before the text are others now.

    A database may return metadata in another form, such as a date as text, which makes a few
    tokens more or less of it.

    Args:
        tokens: The tokens.
        start: The first character of the text.
        lead: How many tokens are before all of them.
        vector: The stored vectors.
    """
    storage = vector.storage or ColbertStorage()
    rows = 0 if vector.colbert is None else len(vector.colbert)
    before = sum(token.end <= start for token in tokens[:-1])
    for more in sorted(range(-before, before + 1), key=abs) if rows else ():
        if storage.kept(lead + len(tokens) + more) == rows:
            unknown = [Token(-1 - i, "", 0, 0) for i in range(more)]
            return [*unknown, *tokens[max(0, -more) :]]
    return tokens


def _own_tokens(
    text: str, place: slice, tokens: Sequence[Token], rows: NDArray[np.int64]
) -> tuple[list[Token], NDArray[np.int64]]:
    """Return the tokens of a text within a longer one that was encoded, and their vectors.

    Args:
        text: The text.
        place: Where it is in the longer text.
        tokens: The tokens of the longer text.
        rows: int64 (tokens,), which ColBERT vector each of them went into.
    """
    moved = len(text) - len(text.lstrip()) - place.start
    own = [i for i, t in enumerate(tokens) if max(t.start, place.start) < min(t.end, place.stop)]
    return [
        replace(t, start=max(t.start, place.start) + moved, end=min(t.end, place.stop) + moved)
        for t in (tokens[i] for i in own)
    ], rows[own]


def _read(
    text: str,
    lead: Sequence[Token],
    tokens: list[Token],
    vector: Vector,
    encoder: TokenizingEncoder,
    overflow: Overflow,
    limit: int | None,
) -> list[Token]:
    """Return the tokens of a text as far as they were read when it was stored.

    If more were read than the encoder reads, and it cannot list them, tokens without characters
    stand for them.
    """
    storage = vector.storage or ColbertStorage()
    rows = 0 if vector.colbert is None else len(vector.colbert)
    if not rows:
        return tokens
    if rows > storage.kept(len(lead) + len(tokens)):
        whole: Callable[[str], list[Token]] | None = getattr(encoder, "whole_tokens", None)
        tokens = tokens if whole is None else whole(text)
        end = max((token.end for token in tokens[:-1]), default=0)
        is_cut = any(character.isalnum() for character in text[end:])
        if is_cut and rows > storage.kept(len(lead) + len(tokens)):
            count = _length(storage, rows) - len(lead) - len(tokens)
            unread = [Token(-1 - i, "", len(text), len(text)) for i in range(count)]
            return [*tokens[:-1], *unread, tokens[-1]]
    if rows < storage.kept(len(lead) + len(tokens) - EDGES):
        count = max(1, _length(storage, rows) - len(lead))
        first = [*tokens[: count - 1], tokens[-1]]
        weighted = (vector.sparse or {}).keys()
        is_cut = weighted <= {token.id for token in (*lead, *first)} if weighted else bool(limit)
        if rows != limit and (is_cut or overflow in ("error", "drop")):
            return first
    return tokens


def _length(storage: ColbertStorage, rows: int) -> int:
    """Return the most tokens of a text of which a collection keeps this many vectors."""
    low, high = rows, (rows + 1) * (storage.MAX_POOL + 1) * 200
    while low < high:
        middle = (low + high + 1) // 2
        if storage.kept(middle) > rows:
            high = middle - 1
        else:
            low = middle
    return low


def _are_foreign(tokens: Sequence[Token], vector: Vector) -> bool:
    """Return whether the lexical weights are of other tokens; some may differ if texts are cut."""
    weighted = set(vector.sparse or {})
    ids = {token.id for token in tokens}
    return len(weighted & ids) < _SHARED * min(len(weighted), len(ids))


def _counts(weights: Weights, vector: Vector) -> bool:
    """Return whether a stored vector has a part with a weight."""
    has_colbert = vector.colbert is not None and len(vector.colbert) > 0
    return (weights.sparse > 0 and bool(vector.sparse)) or (weights.colbert > 0 and has_colbert)
