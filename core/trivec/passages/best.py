"""The best passages of a stored document, from its stored vectors."""

from __future__ import annotations

from typing import get_args

from trivec.arguments import at_least_one, described, expect, named
from trivec.colbert_storage import Overflow
from trivec.document import Document
from trivec.encoders.protocol import TokenizingEncoder
from trivec.errors import InvalidOptionError, InvalidVectorsError
from trivec.passages.alignment import EDGES, aligned, check_weighted_tokens, read_tokens
from trivec.passages.stored import has_place
from trivec.passages.stored_text import StoredText
from trivec.scored_passage import ScoredPassage
from trivec.scores import Weights
from trivec.vectors import Vector, expect_vector


def best_passages(
    query: str | Vector,
    document: Document | str,
    vector: Vector,
    encoder: TokenizingEncoder,
    tokens: int = 64,
    *,
    k: int = 3,
    weights: Weights = Weights.GENERAL,
    overflow: Overflow = "pool",
) -> list[ScoredPassage]:
    """Return the passages of a stored document that match a query best.

    The document is not encoded again: its stored ColBERT vectors are those of its tokens in their
    context, so the vectors of a passage are a slice of them. The ColBERT score of a passage is the
    mean over the query's tokens, its last special one left out, of the best similarity in the
    passage. Its lexical score is the dot product with the weights of the tokens that occur in it,
    each times `log((n + 1) / w) / log(n + 1)`, if w of the document's n passages have the token: a
    token that all of them have says nothing. A token that occurs several times has its largest
    weight everywhere, as it is stored. The dense score is the same for all passages and left out.
    See the BGE-M3 paper (arXiv 2402.03216, section 3.3) for both scores.

    Passages are of as many whole sentences as fit; longer sentences are cut after clauses and
    words. Sentences at the ends of a passage are left out if its score stays within a hundredth.

    Where there is one vector for each token, the slices are exact. Otherwise these rules hold:

    - Which tokens a pooled or pruned vector stands for is an estimate (see
      `trivec.passages.positions`). So the ColBERT score counts a fifth of its weight, over the
      passage and 32 tokens on both sides of it, unless there are no lexical weights to rank by.
    - If a text has fewer vectors than tokens, it was too long for the database. By `overflow`, they
      are pooled ones, or those of the first tokens. A passage without vectors then counts as one
      whose ColBERT score is higher than those of nine tenths of the others, so that its lexical
      score decides. If a text has no ColBERT vectors at all, all their ColBERT scores are 0.
    - A passage of late chunking, which its metadata tells, has no vector of the last special
      token, and may have up to four tokens more or less than when it is read by itself.

    Args:
        query: The question, or its vectors.
        document: The document, or its text.
        vector: The document's stored vectors, as `store.get([id], with_vectors=True)` returns
            them: sparse {id: weight}, ColBERT (vectors, dimension), or one of them.
        encoder: The encoder that made the vectors. It encodes a question that is given as text.
        tokens: The most tokens of a passage.
        k: How many passages at most.
        weights: The weights of the scores; that of the dense score is not used.
        overflow: How the store shortened texts that were too long for the database, which is
            `store.overflow`. With "error" or "drop", the vectors of a text are never fewer than
            its tokens, so that an error tells a wrong text.

    Returns:
        Passages that do not overlap, best first. Those that score 0 are left out.

    Raises:
        InvalidVectorsError: If the document or the query has none of the vectors that count, or
            the vectors are not those of this text and this encoder, as far as that can be told:
            there are more vectors than tokens, lexical weights of tokens that the text lacks, or
            hardly any lexical weights of its tokens.
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
    if overflow not in get_args(Overflow):
        raise InvalidOptionError(
            f"best_passages: {named('overflow', overflow)}; expected 'pool', 'truncate', 'drop' or "
            "'error', such as store.overflow"
        )
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
    # The first and the last tokens of a passage may be others than in the whole text.
    edges = EDGES if isinstance(document, Document) and has_place(document) else 0
    lead, listed = read_tokens(encoder, text)
    try:
        check_weighted_tokens(listed, vector, lead=lead, foreign=edges)
        rows = aligned(listed, vector, lead=lead, overflow=overflow, edges=edges)
        return StoredText(text, listed, vector, rows, tokens).best(asked, weights, k)
    except InvalidVectorsError as error:
        raise InvalidVectorsError(f"best_passages: {error}") from error


def _check_parts(vector: Vector, weights: Weights, side: str, hint: str) -> None:
    has_sparse = weights.sparse > 0 and bool(vector.sparse)
    has_colbert = weights.colbert > 0 and vector.colbert is not None and len(vector.colbert) > 0
    if not has_sparse and not has_colbert:
        wanted = [part for part in ("sparse", "colbert") if getattr(weights, part) > 0]
        raise InvalidVectorsError(
            f"best_passages: the {side} has no {' or '.join(wanted)} vectors; {hint}"
        )
