"""The stored vectors of a text beside its tokens, also where they are fewer or more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from trivec.colbert_storage import ColbertStorage, Overflow
from trivec.encoders.protocol import Token, TokenizingEncoder
from trivec.errors import InvalidVectorsError
from trivec.passages.positions import stored_vectors
from trivec.vectors import Vector

EDGES = 4
"""How many tokens a passage may have more, or less, when it is read by itself: its first and last
tokens may be cut otherwise than in the whole text."""

_WEIGHTED = 0.1
"""The share of a text's different tokens that have lexical weights, at least."""

_HINT = "give the text that was stored, and the encoder that made the vectors"


def read_tokens(encoder: TokenizingEncoder, text: str) -> tuple[list[Token], list[Token]]:
    """Return the tokens of an encoder's instruction, and those of a text to be stored after it.

    The instruction before texts has ColBERT vectors too; most models have none.

    Args:
        encoder: The encoder; `options` tells its instruction, and `max_length` where texts are cut.
        text: The text.
    """
    tokens = encoder.tokens(text)
    options: Mapping[str, str] = getattr(encoder, "options", {})
    instruction = options.get("document_instruction", "")
    if not instruction:
        return [], tokens
    lead = encoder.tokens(instruction)[:-1]
    limit = getattr(encoder, "max_length", None)
    over = 0 if limit is None else len(lead) + len(tokens) + 1 - limit  # and the first token
    if over > 0:
        tokens = [*tokens[: max(0, len(tokens) - 1 - over)], tokens[-1]]
    return lead, tokens


def check_weighted_tokens(
    tokens: Sequence[Token], vector: Vector, *, lead: Sequence[Token] = (), foreign: int = 0
) -> None:
    """Check that the lexical weights of a text are those of its tokens.

    Args:
        tokens: The text's tokens.
        vector: Its stored vectors.
        lead: The tokens of the instruction before the text.
        foreign: How many weights may be of other tokens.

    Raises:
        InvalidVectorsError: If more are.
    """
    weighted = set(vector.sparse or {})
    missing = len(weighted - {token.id for token in (*tokens, *lead)})
    if missing > foreign or (missing and missing == len(weighted)):
        raise InvalidVectorsError(
            f"{missing} of {len(weighted)} lexical weights of the document are of tokens that its "
            f"text does not have; {_HINT}"
        )


def aligned(
    tokens: Sequence[Token],
    vector: Vector,
    *,
    lead: Sequence[Token] = (),
    overflow: Overflow = "pool",
    edges: int = 0,
) -> NDArray[np.int64]:
    """Return which stored ColBERT vector each token of a text went into.

    A text has one vector for each token, of which the collection keeps as many as its
    `ColbertStorage` says. There may be fewer vectors, since the text was too long for the database:
    then `overflow` says what became of them. A passage of late chunking has no vector of the
    last special token, and its first tokens may be others than those of the passage by itself.

    Args:
        tokens: The text's t tokens.
        vector: Its stored vectors.
        lead: The tokens of the instruction before the text.
        overflow: What happened to a text that was too long for the database.
        edges: How many tokens the text may have more, or less, than when it was encoded.

    Returns:
        int64 (t,); -1 for a token without a vector.

    Raises:
        InvalidVectorsError: If there are more vectors than tokens, fewer although no text was
            shortened, or pooled ones of a text of which hardly any token has a lexical weight.

    Example:
        >>> tokens = [Token(5, "a", 0, 1), Token(7, "fox", 2, 5), Token(2, "</s>", 5, 5)]
        >>> aligned(tokens, Vector(colbert=np.eye(3)))
        array([0, 1, 2])
        >>> aligned(tokens, Vector(colbert=np.eye(3)[:2]), edges=1)
        array([ 0,  1, -1])
        >>> aligned(tokens, Vector(colbert=np.eye(3)[:1]), overflow="truncate")
        array([ 0, -1, -1])
    """
    storage, weights = vector.storage or ColbertStorage(), vector.sparse or {}
    rows = 0 if vector.colbert is None else len(vector.colbert)
    if not rows:
        return np.full(len(tokens), -1, np.int64)
    framed = [*lead, *tokens]
    expected = storage.kept(len(framed))
    if rows != expected and edges:
        inner = list(tokens[:-1])
        for more in sorted(range(-edges, edges + 1), key=abs):
            if len(inner) + more > 0 and storage.kept(len(inner) + more) == rows:
                # The tokens that differ are taken for the first ones.
                shifted = [*inner[:1] * more, *inner[max(0, -more) :]]
                vectors = stored_vectors(shifted, storage, weights)
                unknown = np.full(max(0, -more), -1, np.int64)
                return np.concatenate([unknown, vectors[max(0, more) :], [-1]])
    if rows > expected or (rows < expected and overflow not in ("pool", "truncate")):
        kept = f" kept as {vector.storage}" if vector.storage else ""
        raise InvalidVectorsError(
            f"the document has {rows} ColBERT vectors, and its {len(framed)} tokens{kept} would "
            f"have {expected}; {_HINT}, with the same max_length"
        )
    is_pooled = rows < expected and overflow == "pool"
    ids = {token.id for token in framed}
    if is_pooled and weights and len(ids & weights.keys()) < _WEIGHTED * len(ids):
        raise InvalidVectorsError(
            f"the document has lexical weights of {len(weights)} tokens, and its text has "
            f"{len(ids)} different ones; {_HINT}"
        )
    vectors = stored_vectors(framed, storage, weights, count=rows if is_pooled else None)
    vectors[vectors >= rows] = -1
    return vectors[len(lead) :]
