"""A score taken apart down to tokens: the values that an explanation holds and renderers show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from trivec.document import Document
from trivec.encoders.protocol import Token
from trivec.scored_passage import ScoredPassage
from trivec.scores import Scores, Weights
from trivec.search import Part

LONG_TEXT = 4_000
"""A text with more characters is long, even if the encoder reads few tokens of it."""


class Span(NamedTuple):
    """A range of characters in a text; `end` is exclusive."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Share:
    """The contribution of one part to the hybrid score.

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
        text: Its characters, as they stand in the query, or else in the document.
        query_weight: Its lexical weight in the query.
        document_weight: Its lexical weight in the document.
        product: The product of the two; the sparse score is the sum of the products.
        query_spans: Every occurrence of the token in the query. The weight of a token is the
            largest weight of its occurrences; which occurrence has it is not stored.
        document_spans: Every occurrence of the token in the document.
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
        document_tokens: The tokens that `document_row` stands for, in the order of the text:
            several where the collection pools, none where it is unknown.
    """

    query_row: int
    document_row: int
    similarity: float
    query_token: Token | None
    document_tokens: tuple[Token, ...]

    @property
    def document_token(self) -> Token | None:
        """The first of the tokens that `document_row` stands for, or None."""
        return self.document_tokens[0] if self.document_tokens else None

    @property
    def document_text(self) -> str:
        """The characters of those tokens, such as "whale + whales"; "" where it is unknown."""
        return " + ".join(token.text for token in self.document_tokens)


@dataclass(frozen=True, slots=True)
class Breakdown:
    """The score of one document for one query, taken apart.

    Args:
        query: The question.
        document: The document.
        weights: The weights of the hybrid score.
        shares: What each part with a weight above 0 contributes; their values sum to `score`.
        lexical: The shared tokens, the largest product first.
        alignments: One for each of the query's ColBERT vectors, in their order.
        notes: What could not be explained, and why.
        passages: The best passages of a long document, best first; none of a short one.
    """

    query: str
    document: Document
    weights: Weights
    shares: tuple[Share, ...]
    lexical: tuple[LexicalMatch, ...]
    alignments: tuple[Alignment, ...]
    notes: tuple[str, ...] = ()
    passages: tuple[ScoredPassage, ...] = ()

    @property
    def score(self) -> float:
        """The hybrid score: the sum of the shares' values."""
        return sum(share.value for share in self.shares)

    @property
    def scores(self) -> Scores:
        """The parts as a hit carries them."""
        by_part = {share.part: share.score for share in self.shares}
        return Scores(
            by_part.get("dense"), by_part.get("sparse"), by_part.get("colbert"), hybrid=self.score
        )
