"""Why a document was found: the score taken apart down to tokens, from stored vectors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from trivec.arguments import expect
from trivec.checks import check_encoder
from trivec.document import Document
from trivec.encoders.protocol import Token, TokenizingEncoder
from trivec.errors import InvalidOptionError
from trivec.hit import Hit
from trivec.rows import Tokens
from trivec.scores import Scores, Weights, score
from trivec.search import Part
from trivec.vectors import Vector

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Alignment", "Explanation", "LexicalMatch", "Share", "Span", "explain"]


class Span(NamedTuple):
    """A place in a text, in characters; `end` is exclusive."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Share:
    """What one part gives to the hybrid score.

    Args:
        part: "dense", "sparse" or "colbert".
        score: The part's own score.
        weight: Its weight.
        value: `weight * score` divided by the sum of the three weights.
    """

    part: Part
    score: float
    weight: float
    value: float


@dataclass(frozen=True, slots=True)
class LexicalMatch:
    """A token that the query and the document share.

    Args:
        token_id: Its vocabulary id.
        text: Its characters, as the query or else the document has them.
        query_weight: Its lexical weight in the query.
        document_weight: Its lexical weight in the document.
        product: The product of the two; the sparse score is the sum of the products.
        query_spans: Every place of the token in the query. A stored weight is the largest of
            its places, and which of them that was is not stored.
        document_spans: Every place of the token in the document.
    """

    token_id: int
    text: str
    query_weight: float
    document_weight: float
    product: float
    query_spans: tuple[Span, ...]
    document_spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Alignment:
    """The document token that a query token met in ColBERT's late interaction.

    Args:
        query_row: The query's ColBERT vector, from 0.
        document_row: The document's vector with the highest similarity; the first of equals.
        similarity: Their dot product; the ColBERT score is the mean over the query's vectors.
        query_token: The token of `query_row`, or None where vectors and tokens do not pair.
        document_token: The same for `document_row`.
    """

    query_row: int
    document_row: int
    similarity: float
    query_token: Token | None
    document_token: Token | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """The score of one document for one query, taken apart.

    Prints in colours with rich, and shows itself in a notebook.

    Args:
        query: The question.
        document: The document.
        weights: The weights of the hybrid score.
        shares: What each part with a weight above 0 gives; their values sum to `score`.
        lexical: The shared tokens, the largest product first.
        alignments: One for each of the query's ColBERT vectors, in their order.
        notes: What could not be explained, and why.
    """

    query: str
    document: Document
    weights: Weights
    shares: tuple[Share, ...]
    lexical: tuple[LexicalMatch, ...]
    alignments: tuple[Alignment, ...]
    notes: tuple[str, ...] = ()

    @property
    def score(self) -> float:
        """The hybrid score: the sum of the shares' values."""
        return sum(share.value for share in self.shares)

    @property
    def scores(self) -> Scores:
        """The parts as a hit carries them."""
        found = {share.part: share.score for share in self.shares}
        return Scores(
            found.get("dense"), found.get("sparse"), found.get("colbert"), hybrid=self.score
        )

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
) -> Explanation:
    """Take the score of a document apart.

    With both vectors nothing is encoded: the tokenizer alone says what they stand for.

    Args:
        query: The question.
        document: The document, or only its text.
        encoder: The encoder that made the vectors.
        query_vector: The encoded question; encoded here if None.
        document_vector: The stored vectors, as `store.get([id], with_vectors=True)` returns them;
            the text is encoded here if None.
        weights: The weights of the hybrid score; a part with weight 0 is left out.

    Raises:
        InvalidVectorsError: If the dimensions of query and document differ.
        InvalidOptionError: If something else than a question, a document, an encoder that knows
            its tokens and vectors is given.

    Example:
        >>> from trivec.testing import HashEncoder
        >>> found = explain("whale song", "The blue whale", HashEncoder())
        >>> [(match.text, match.document_spans) for match in found.lexical]
        [('whale', (Span(start=9, end=14),))]
        >>> found.alignments[0].document_token.text
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
    if isinstance(document, str):
        document = Document("document", document)
    query_vector = query_vector or encoder.encode_query(query)
    document_vector = document_vector or encoder.encode_documents([document.text])[0]
    # The definition checks the dimensions, and gives the one part that has no parts itself.
    defined = score(query_vector, document_vector, weights)
    query_tokens = encoder.tokens(query)
    document_tokens = encoder.tokens(document.text)
    notes: list[str] = []
    lexical: tuple[LexicalMatch, ...] = ()
    alignments: tuple[Alignment, ...] = ()
    scores: dict[Part, float] = {}
    if weights.dense > 0:
        scores["dense"] = defined.dense or 0.0
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
                _paired(query_tokens, query_vector.colbert, "query", notes),
                _paired(document_tokens, document_vector.colbert, "document", notes),
            )
        total = math.fsum(alignment.similarity for alignment in alignments)
        scores["colbert"] = total / max(1, len(alignments))
    shares = tuple(
        Share(part, value, weight := getattr(weights, part), weight * value / weights.total)
        for part, value in scores.items()
    )
    return Explanation(query, document, weights, shares, lexical, alignments, tuple(notes))


def _absences(part: Part, query: Vector, document: Vector) -> list[str]:
    """Say which side lacks a part."""
    sides = (("query", query), ("document", document))
    return [
        f"the {side} has no {part} vector, so that part is 0"
        for side, vector in sides
        if not _present(vector, part)
    ]


def _present(vector: Vector, part: Part) -> bool:
    if part == "dense":  # a row of zeros is how a batch says that there is none
        return vector.dense is not None and bool(vector.dense.any())
    rows = vector.sparse if part == "sparse" else vector.colbert
    return rows is not None and len(rows) > 0


def _lexical(
    query: Vector, document: Vector, query_tokens: list[Token], document_tokens: list[Token]
) -> tuple[LexicalMatch, ...]:
    ours, theirs = query.sparse or {}, document.sparse or {}
    shared = ours.keys() & theirs.keys()
    query_places = _places(query_tokens, shared)
    document_places = _places(document_tokens, shared)
    matches = []
    for one in shared:
        tokens = [*query_places[one], *document_places[one]]
        matches.append(
            LexicalMatch(
                token_id=one,
                # Vectors of another text than the one at hand may hold tokens it lacks.
                text=tokens[0].text if tokens else f"#{one}",
                query_weight=ours[one],
                document_weight=theirs[one],
                product=ours[one] * theirs[one],
                query_spans=tuple(Span(t.start, t.end) for t in query_places[one]),
                document_spans=tuple(Span(t.start, t.end) for t in document_places[one]),
            )
        )
    return tuple(sorted(matches, key=lambda match: (-match.product, match.token_id)))


def _places(tokens: list[Token], wanted: set[int]) -> dict[int, list[Token]]:
    places: dict[int, list[Token]] = {one: [] for one in wanted}
    for token in tokens:
        if token.id in places:
            places[token.id].append(token)
    return places


def _paired(
    tokens: list[Token], rows: Tokens, side: str, notes: list[str]
) -> list[Token] | list[None]:
    """Return the token of each row, or None for each where merged or cut rows hide them."""
    if len(tokens) == len(rows):
        return tokens
    if len(rows):
        notes.append(
            f"the {side} has {len(rows)} ColBERT vectors for {len(tokens)} tokens: they were "
            "merged or cut when it was stored, or made of a longer text, so which token a vector "
            "stands for is unknown"
        )
    return [None] * len(rows)


def _alignments(
    query: Tokens,
    document: Tokens,
    query_tokens: list[Token] | list[None],
    document_tokens: list[Token] | list[None],
) -> tuple[Alignment, ...]:
    if not len(query) or not len(document):
        return ()
    similarities = query.astype(np.float32) @ document.astype(np.float32).T
    best = similarities.argmax(axis=1)
    return tuple(
        Alignment(row, there, float(similarities[row, there]), token, document_tokens[there])
        for row, (token, there) in enumerate(zip(query_tokens, best.tolist(), strict=True))
    )
