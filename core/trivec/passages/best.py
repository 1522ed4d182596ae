"""The best passages of a stored document, from its stored vectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trivec.arguments import at_least_one, described, expect
from trivec.document import Document
from trivec.encoders.protocol import Token, TokenizingEncoder
from trivec.errors import InvalidOptionError, InvalidVectorsError
from trivec.passages.positions import stored_vectors
from trivec.passages.splitting import Cuts
from trivec.passages.windows import Positions, best_apart, window_maxima
from trivec.scored_passage import ScoredPassage
from trivec.scores import Weights
from trivec.vectors import Vector, expect_vector

_COLUMNS = 64
"""The tokens of the query that are compared at once: 2 MiB for each 8,192 tokens of a document."""


def best_passages(
    query: str | Vector,
    document: Document | str,
    vector: Vector,
    encoder: TokenizingEncoder,
    tokens: int = 64,
    *,
    k: int = 3,
    weights: Weights = Weights.GENERAL,
) -> list[ScoredPassage]:
    """Return the passages of a stored document that match a query best.

    The document is not encoded again: its stored ColBERT vectors are those of its tokens in their
    context, so the vectors of a passage are a slice of them. The ColBERT score of a passage is the
    mean over the query's tokens of the best similarity in it, and its lexical score is the dot
    product with the weights of the tokens that occur in it; a token that occurs several times has
    its largest weight everywhere, as it is stored. The dense score is the same for all passages
    and left out. See the BGE-M3 paper (arXiv 2402.03216, section 3.3) for both scores.

    Every sentence begins a passage, which goes on for as many whole sentences as fit. Longer
    sentences are cut after clauses and words.

    Where a collection prunes or pools token vectors, it is estimated which tokens a vector stands
    for (see `trivec.passages.positions`).

    Args:
        query: The question, or its vectors.
        document: The document, or its text.
        vector: The document's stored vectors, as `store.get([id], with_vectors=True)` returns
            them: sparse {id: weight}, ColBERT (vectors, dimension), or one of them.
        encoder: The encoder that made the vectors. It encodes a question that is given as text.
        tokens: The most tokens of a passage.
        k: How many passages at most.
        weights: The weights of the scores; that of the dense score is not used.

    Returns:
        Passages that do not overlap, best first. Those that score 0 are left out.

    Raises:
        InvalidVectorsError: If the document or the query has none of the vectors that count, or
            the vectors are not those of this text and this encoder.
        InvalidOptionError: If an argument has the wrong type or is out of range.

    Example:
        >>> from trivec.testing import HashEncoder
        >>> encoder = HashEncoder()
        >>> text = "The fox is red. The blue whale sings at night. The owl is awake."
        >>> stored = encoder.encode_documents([text])[0]
        >>> best = best_passages("whale song", text, stored, encoder, tokens=8, k=1)
        >>> [passage.text for passage in best]
        ['The blue whale sings at night.']
    """
    expect(query, (str, Vector), "best_passages: query", "the text of the question, or its Vector")
    expect(document, (Document, str), "best_passages: document", "a Document or its text")
    expect_vector(vector, "best_passages: vector")
    tokens = at_least_one(tokens, "best_passages: tokens")
    k = at_least_one(k, "best_passages: k")
    expect(weights, Weights, "best_passages: weights", "Weights, such as Weights(0, 0.3, 1)")
    if not callable(getattr(encoder, "tokens", None)):
        raise InvalidOptionError(
            "best_passages: encoder: expected an encoder that returns the tokens of a text, got "
            f"{described(encoder)}"
        )
    if weights.sparse + weights.colbert == 0:
        raise InvalidOptionError(f"best_passages: {weights} leaves neither sparse nor colbert")
    _check_parts(vector, weights, "document", "store.get([id], with_vectors=True) returns vectors")
    asked = encoder.encode_query(query) if isinstance(query, str) else query
    _check_parts(asked, weights, "query", "encode it with all vectors of the collection")

    text = document if isinstance(document, str) else document.text
    listed = encoder.tokens(text)
    cuts = Cuts(text, listed)
    borders = np.array(cuts.pieces(tokens), np.int64)
    starts = borders[:-1]
    ends = borders[np.searchsorted(borders, starts + tokens, side="right") - 1]
    sparse = colbert = np.zeros(len(starts))
    if weights.sparse > 0 and vector.sparse:
        sparse = _sparse(asked, vector, listed, starts, ends)
    if weights.colbert > 0 and vector.colbert is not None and len(vector.colbert):
        colbert = _colbert(asked, vector, listed, starts, ends)
    scores = weights.sparse * sparse + weights.colbert * colbert
    scores /= weights.sparse + weights.colbert

    passages: list[ScoredPassage] = []
    for best in best_apart(scores, starts, ends):
        if len(passages) == k or scores[best] <= 0:
            break
        passage = cuts.passage(int(starts[best]), int(ends[best]))
        passages.append(
            ScoredPassage(
                passage.start,
                passage.end,
                text[passage.start : passage.end],
                float(scores[best]),
                float(sparse[best]) if weights.sparse > 0 else None,
                float(colbert[best]) if weights.colbert > 0 else None,
            )
        )
    return passages


def _check_parts(vector: Vector, weights: Weights, side: str, hint: str) -> None:
    has_sparse = weights.sparse > 0 and bool(vector.sparse)
    has_colbert = weights.colbert > 0 and vector.colbert is not None and len(vector.colbert) > 0
    if not has_sparse and not has_colbert:
        wanted = [part for part in ("sparse", "colbert") if getattr(weights, part) > 0]
        raise InvalidVectorsError(
            f"best_passages: the {side} has no {' or '.join(wanted)} vectors; {hint}"
        )


def _sparse(
    query: Vector, document: Vector, tokens: list[Token], starts: Positions, ends: Positions
) -> NDArray[np.float64]:
    """Return the lexical score of each window of tokens, float64 (windows,)."""
    asked, stored = query.sparse or {}, document.sparse or {}
    ids = np.fromiter((token.id for token in tokens), np.int64, len(tokens))
    missing = len(stored.keys() - set(ids.tolist()))
    if missing:
        raise InvalidVectorsError(
            f"best_passages: {missing} of {len(stored)} lexical weights of the document are of "
            "tokens that its text does not have; give the text that was stored, and the encoder "
            "that made the vectors"
        )
    shared = np.array(sorted(asked.keys() & stored.keys()), np.int64)
    scores = np.zeros(len(starts))
    for first in range(0, len(shared), _COLUMNS):
        some = shared[first : first + _COLUMNS]
        occurs = window_maxima((ids[:, None] == some).astype(np.float32), starts, ends)
        scores += occurs @ np.array([asked[i] * stored[i] for i in some.tolist()])
    return scores


def _colbert(
    query: Vector, document: Vector, tokens: list[Token], starts: Positions, ends: Positions
) -> NDArray[np.float64]:
    """Return the ColBERT score of each window of tokens, float64 (windows,)."""
    scores = np.zeros(len(starts))
    if query.colbert is None or document.colbert is None or not len(query.colbert):
        return scores
    if query.colbert.shape[1] != document.colbert.shape[1]:
        raise InvalidVectorsError(
            f"best_passages: the query has {query.colbert.shape[1]} ColBERT dimensions, the "
            f"document {document.colbert.shape[1]}"
        )
    row_of_token = stored_vectors(tokens, document.storage, document.sparse or {})
    expected = int(row_of_token.max(initial=-1)) + 1
    if expected != len(document.colbert):
        kept = f" kept as {document.storage}" if document.storage else ""
        raise InvalidVectorsError(
            f"best_passages: the document has {len(document.colbert)} ColBERT vectors, and its "
            f"{len(tokens)} tokens{kept} would have {expected}. Give the text that was stored, and "
            "the encoder that made the vectors, with the same max_length. If the collection "
            "shortened a text that is too long for it (colbert_overflow), use weights with "
            "colbert=0"
        )
    rows = document.colbert.astype(np.float32, copy=False)
    dropped = row_of_token < 0
    for first in range(0, len(query.colbert), _COLUMNS):
        some = query.colbert[first : first + _COLUMNS].astype(np.float32, copy=False)
        similarities = (rows @ some.T)[row_of_token]
        similarities[dropped] = -np.inf
        maxima = window_maxima(similarities, starts, ends)
        scores += np.where(np.isfinite(maxima), maxima, 0.0).sum(axis=1, dtype=np.float64)
    return scores / len(query.colbert)
