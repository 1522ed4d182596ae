"""Explain a hit: take its score apart down to tokens, from the stored vectors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trivec.arguments import expect
from trivec.checks import check_encoder
from trivec.colbert_storage import Overflow
from trivec.document import Document
from trivec.encoders.protocol import Token, TokenizingEncoder
from trivec.errors import InvalidOptionError, InvalidVectorsError
from trivec.hit import Hit
from trivec.insight.breakdown import (
    LONG_TEXT,
    Alignment,
    Breakdown,
    LexicalMatch,
    Share,
    Span,
)
from trivec.insight.row_tokens import cut, merged, paired
from trivec.passages.best import best_passages
from trivec.passages.options import Passages
from trivec.rows import Tokens
from trivec.scored_passage import ScoredPassage
from trivec.scores import Weights, score
from trivec.search import PARTS, Part
from trivec.stores.overflow import check_overflow
from trivec.vectors import Vector

if TYPE_CHECKING:
    from rich.console import RenderableType


_LONG_TOKENS = Passages().tokens
"""A text with more tokens, without special ones, would not be one passage, and is long."""
_MOST_PASSAGES = 3
_UNMARKED = "no passages of this long text are marked"


@dataclass(frozen=True, slots=True)
class Explanation(Breakdown):
    """The score of one document for one query, taken apart.

    It prints in colours with rich, and displays as HTML in a notebook. The fields and properties
    are those of `Breakdown`.
    """

    def __rich__(self) -> RenderableType:
        from trivec.insight.rendering.explanation_text import explanation_text

        return explanation_text(self)

    def _repr_html_(self) -> str:
        from trivec.insight.rendering.explanation_html import explanation_html

        return explanation_html(self)


def explain(
    query: str,
    document: Document | str,
    encoder: TokenizingEncoder,
    *,
    query_vector: Vector | None = None,
    document_vector: Vector | None = None,
    weights: Weights = Weights.GENERAL,
    overflow: Overflow = "pool",
) -> Explanation:
    """Take the score of a document apart.

    With both vectors nothing is encoded: the tokenizer alone tells which tokens they stand for.
    Only where a collection prunes or pools is the document encoded again, to find the tokens that
    went into each of its vectors.

    A document is long if it has more than 256 tokens or 4,000 characters. Its best passages are
    found as `best_passages` does; if the weights leave only the dense score, by `Weights.GENERAL`.

    Args:
        query: The question.
        document: The document, or only its text.
        encoder: The encoder that made the vectors.
        query_vector: The encoded question; encoded here if None.
        document_vector: The stored vectors, as `store.get([id], with_vectors=True)` returns them;
            the text is encoded here if None.
        weights: The weights of the hybrid score; a part with weight 0 is left out.
        overflow: How the store shortened texts that were too long for the database, which is
            `store.overflow`.

    Raises:
        InvalidVectorsError: If the dimensions of query and document differ.
        InvalidOptionError: If an argument has the wrong type, or the encoder cannot list the
            tokens of a text.

    Example:
        >>> from trivec.testing import HashEncoder
        >>> explanation = explain("whale song", "The blue whale", HashEncoder())
        >>> [(match.text, match.document_spans) for match in explanation.lexical]
        [('whale', (Span(start=9, end=14),))]
        >>> explanation.alignments[0].document_token.text
        'whale'
    """
    expect(query, str, "explain: query", "the text of the question")
    if isinstance(document, Hit):
        raise InvalidOptionError("explain: document: expected a Document, got a hit: hit.document")
    expect(document, (Document, str), "explain: document", "a Document or its text")
    check_encoder(encoder, "explain: encoder", tokens=True)
    for what, vector in (("query_vector", query_vector), ("document_vector", document_vector)):
        if vector is not None:
            expect(vector, Vector, what, "one Vector, such as the row vectors[0] of a batch")
    expect(weights, Weights, "weights", "Weights")
    check_overflow(overflow)
    if isinstance(document, str):
        document = Document("document", document)
    query_vector = query_vector or encoder.encode_query(query)
    document_vector = document_vector or encoder.encode_documents([document.text])[0]
    # `score` checks the dimensions. Its dense score cannot be taken apart any further.
    scored = score(query_vector, document_vector, weights)
    query_tokens = encoder.tokens(query)
    document_tokens = encoder.tokens(document.text)
    notes: list[str] = []
    lexical: tuple[LexicalMatch, ...] = ()
    alignments: tuple[Alignment, ...] = ()
    scores: dict[Part, float] = {}
    if weights.dense > 0:
        scores["dense"] = scored.dense or 0.0
        notes += _absences("dense", query_vector, document_vector)
    if weights.sparse > 0:
        lexical = _lexical(query_vector, document_vector, query_tokens, document_tokens)
        scores["sparse"] = math.fsum(match.product for match in lexical)
        notes += _absences("sparse", query_vector, document_vector)
    if weights.colbert > 0:
        notes += _absences("colbert", query_vector, document_vector)
        if query_vector.colbert is not None and document_vector.colbert is not None:
            alignments = _alignments(
                query_vector.colbert,
                document_vector.colbert,
                paired(query_tokens, query_vector.colbert, "query", notes),
                merged(document_tokens, document_vector, document.text, encoder)
                or cut(document_tokens, document_vector, document, overflow)
                or paired(document_tokens, document_vector.colbert, "document", notes),
            )
        total = math.fsum(alignment.similarity for alignment in alignments)
        scores["colbert"] = total / max(1, len(alignments))
    shares = tuple(
        Share(part, value, weight := getattr(weights, part), weight * value / weights.total)
        for part, value in scores.items()
    )
    passages: tuple[ScoredPassage, ...] = ()
    read = sum(token.start < token.end for token in document_tokens)
    if read > _LONG_TOKENS or len(document.text) > LONG_TEXT:
        notes += _unread(document_tokens, document.text)
        passages = _passages(
            query_vector, document, document_vector, encoder, weights, overflow, notes
        )
    return Explanation(
        query, document, weights, shares, lexical, alignments, tuple(notes), passages
    )


def _unread(tokens: list[Token], text: str) -> list[str]:
    """Return a sentence that says which part of a text has tokens, if it is not the whole text."""
    spans = [(token.start, token.end) for token in tokens if token.start < token.end]
    first, last = (spans[0][0], spans[-1][1]) if spans else (0, 0)
    if not any(character.isalnum() for character in text[:first] + text[last:]):
        return []
    return [
        f"the encoder reads characters {first:,} to {last:,} of the document's {len(text):,}; "
        "the others are not explained"
    ]


def _passages(
    query: Vector,
    document: Document,
    stored: Vector,
    encoder: TokenizingEncoder,
    weights: Weights,
    overflow: Overflow,
    notes: list[str],
) -> tuple[ScoredPassage, ...]:
    """Return the best passages of a long document; none, and a note, if they cannot be told."""
    if weights.sparse + weights.colbert == 0:
        weights = Weights.GENERAL
    counted: list[Part] = [p for p in PARTS if p != "dense" and getattr(weights, p) > 0]
    if not any(_present(query, part) and _present(stored, part) for part in counted):
        names = " or ".join(counted)
        notes.append(f"{_UNMARKED}: the query and the document do not both have {names} vectors")
        return ()
    try:
        found = best_passages(
            query, document, stored, encoder, k=_MOST_PASSAGES, weights=weights, overflow=overflow
        )
    except InvalidVectorsError as error:
        notes.append(f"{_UNMARKED}: {str(error).removeprefix('best_passages: ')}")
        return ()
    return tuple(found)


def _absences(part: Part, query: Vector, document: Vector) -> list[str]:
    """Return one sentence for each side that lacks a part."""
    sides = (("query", query), ("document", document))
    return [
        f"the {side} has no {part} vector, so that part is 0"
        for side, vector in sides
        if not _present(vector, part)
    ]


def _present(vector: Vector, part: Part) -> bool:
    if part == "dense":  # a batch holds a row of zeros where a text has no dense vector
        return vector.dense is not None and bool(vector.dense.any())
    rows = vector.sparse if part == "sparse" else vector.colbert
    return rows is not None and len(rows) > 0


def _lexical(
    query: Vector, document: Vector, query_tokens: list[Token], document_tokens: list[Token]
) -> tuple[LexicalMatch, ...]:
    query_weights, document_weights = query.sparse or {}, document.sparse or {}
    shared = query_weights.keys() & document_weights.keys()
    in_query = _occurrences(query_tokens, shared)
    in_document = _occurrences(document_tokens, shared)
    matches = []
    for token_id in shared:
        tokens = [*in_query[token_id], *in_document[token_id]]
        matches.append(
            LexicalMatch(
                token_id=token_id,
                # The vectors may belong to another text, with tokens that this text lacks.
                text=tokens[0].text if tokens else f"#{token_id}",
                query_weight=query_weights[token_id],
                document_weight=document_weights[token_id],
                product=query_weights[token_id] * document_weights[token_id],
                query_spans=tuple(Span(t.start, t.end) for t in in_query[token_id]),
                document_spans=tuple(Span(t.start, t.end) for t in in_document[token_id]),
            )
        )
    return tuple(sorted(matches, key=lambda match: (-match.product, match.token_id)))


def _occurrences(tokens: list[Token], wanted: set[int]) -> dict[int, list[Token]]:
    """Return all tokens with a wanted id, by id."""
    by_id: dict[int, list[Token]] = {token_id: [] for token_id in wanted}
    for token in tokens:
        if token.id in by_id:
            by_id[token.id].append(token)
    return by_id


def _alignments(
    query: Tokens,
    document: Tokens,
    query_tokens: list[tuple[Token, ...]],
    document_tokens: list[tuple[Token, ...]],
) -> tuple[Alignment, ...]:
    if not len(query) or not len(document):
        return ()
    similarities = query.astype(np.float32) @ document.astype(np.float32).T
    best = similarities.argmax(axis=1)
    return tuple(
        Alignment(
            row,
            match,
            float(similarities[row, match]),
            tokens[0] if tokens else None,
            document_tokens[match],
        )
        for row, (tokens, match) in enumerate(zip(query_tokens, best.tolist(), strict=True))
    )
