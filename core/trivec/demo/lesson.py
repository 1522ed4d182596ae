"""Sentences that explain the results of a demo run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from trivec.encoders.protocol import Token
from trivec.hit import Hit
from trivec.insight.explanation import Explanation
from trivec.insight.rendering.style import PART_NAMES
from trivec.scores import Weights
from trivec.search import Mode
from trivec.vectors import Vector

SHOWN = 3  # tokens that a sentence names
DEPTH = 10  # hits that the demo looks at


def representations(vector: Vector, tokens: Sequence[Token]) -> list[str]:
    """Describe the three representations of a text, with their numbers.

    Example:
        >>> from trivec.testing import HashEncoder
        >>> encoder = HashEncoder()
        >>> lines = representations(encoder.encode_query("a whale"), encoder.tokens("a whale"))
        >>> lines[0]
        'dense: one vector of 32 numbers, for the meaning of the whole text'
        >>> lines[2]
        'ColBERT: 3 vectors of 16 numbers, one for each token: a · whale · </s>'
    """
    lines = []
    if vector.dense is not None:
        size = len(vector.dense)
        lines.append(f"dense: one vector of {size} numbers, for the meaning of the whole text")
    if vector.sparse is not None:
        names = {token.id: token.text for token in tokens}
        heaviest = sorted(vector.sparse.items(), key=lambda item: -item[1])[:SHOWN]
        words = ", ".join(f"{names.get(id, f'#{id}')} {weight:.2f}" for id, weight in heaviest)
        lines.append(
            f"sparse: a weight for each of {len(vector.sparse)} tokens, for the exact words; the "
            f"heaviest: {words or 'none'}"
        )
    if vector.colbert is not None:
        count, size = vector.colbert.shape
        texts = " · ".join(token.text for token in tokens)
        lines.append(f"ColBERT: {count} vectors of {size} numbers, one for each token: {texts}")
    return lines


def shares(explanation: Explanation) -> str:
    """Return a score as the sum of its parts' contributions.

    Example:
        >>> from trivec import explain
        >>> from trivec.testing import HashEncoder
        >>> shares(explain("whale", "whale", HashEncoder(), weights=Weights(1, 0, 1)))
        '1.000 = 0.500 dense + 0.500 ColBERT'
    """
    terms = " + ".join(f"{s.value:.3f} {PART_NAMES[s.part]}" for s in explanation.shares)
    return f"{explanation.score:.3f} = {terms}"


def matches(explanation: Explanation) -> list[str]:
    """Name the shared tokens, and the pairs of tokens that met, the most similar first.

    Example:
        >>> from trivec import explain
        >>> from trivec.testing import HashEncoder
        >>> matches(explain("whale song", "a whale", HashEncoder()))[0]
        'shared tokens: whale'
    """
    shared = ", ".join(match.text for match in explanation.lexical[:SHOWN])
    pairs = []
    for alignment in sorted(explanation.alignments, key=lambda a: -a.similarity):
        query, tokens = alignment.query_token, alignment.document_tokens
        if query and tokens and _readable(query) and all(map(_readable, tokens)):
            pairs.append(f"{query.text} → {alignment.document_text} {alignment.similarity:.2f}")
    met = ", ".join(pairs[:SHOWN])
    return [f"shared tokens: {shared or 'none'}", f"tokens that met: {met or 'none'}"]


def _readable(token: Token) -> bool:
    """Return whether a token has visible characters; SentencePiece writes a blank as U+2581."""
    return token.start < token.end and bool(token.text.strip("\u2581 "))


def verdict(
    ranks: Mapping[Mode, int | None],
    hits: Sequence[Hit],
    answers: Collection[str],
    weights: Weights = Weights.GENERAL,
) -> str:
    """Name the modes that missed the answer, and the part that raised or lowered its rank.

    Args:
        ranks: The rank of the answer in the modes dense, sparse and hybrid; None if it is not
            among the first ten.
        hits: The hits of the hybrid search with all three parts, best first.
        answers: The ids of the documents that answer the question.
        weights: The weights that `hits` were ranked by.

    Example:
        >>> from trivec import Document, Scores
        >>> good = Hit(Document("good", ""), 0.48, Scores(0.80, 0.0, 0.30, 0.48))
        >>> other = Hit(Document("other", ""), 0.46, Scores(0.81, 0.0, 0.25, 0.46))
        >>> text = verdict({"dense": 2, "sparse": None, "hybrid": 1}, [good, other], {"good"})
        >>> first, second = text.split(". ", maxsplit=1)
        >>> first
        'The answer is at rank 2 with dense, not in the first 10 with sparse, first with all three'
        >>> second
        'What puts it before the next hit is ColBERT: +0.022 (dense -0.004, sparse +0.000)'
    """
    modes: dict[Mode, str] = {"dense": "dense", "sparse": "sparse", "hybrid": "all three"}
    by_mode = ", ".join(
        f"{_rank_text(ranks.get(mode))} with {name}" for mode, name in modes.items()
    )
    text = f"The answer is {by_mode}"
    other = next((hit for hit in hits if hit.document.id not in answers), None)
    answer = next((hit for hit in hits if hit.document.id in answers), None)
    if other is None or answer is None:
        return text
    if hits[0].document.id in answers:
        return f"{text}. What puts it before the next hit is {_lead(answer, other, weights)}"
    return f"{text}. What puts the first hit before it is {_lead(other, answer, weights)}"


def _rank_text(rank: int | None) -> str:
    if rank is None:
        return f"not in the first {DEPTH}"
    return "first" if rank == 1 else f"at rank {rank}"


def _lead(ahead: Hit, behind: Hit, weights: Weights) -> str:
    """Name the part that puts one hit before another, and say what the other two do."""
    gains = {
        PART_NAMES[part]: getattr(weights, part)
        * ((getattr(ahead.scores, part) or 0.0) - (getattr(behind.scores, part) or 0.0))
        / weights.total
        for part in ("dense", "sparse", "colbert")
    }
    most = max(gains, key=lambda part: gains[part])
    others = ", ".join(f"{part} {gain:+.3f}" for part, gain in gains.items() if part != most)
    return f"{most}: {gains[most]:+.3f} ({others})"
