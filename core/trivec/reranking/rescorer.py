"""Scoring a few documents again, by their vectors or by a cross-encoder."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from trivec.collection import Page
from trivec.encoders.caching import CachingEncoder
from trivec.encoders.protocol import TextEncoder
from trivec.errors import InvalidOptionError, InvalidVectorsError
from trivec.scores import Weights, score_many
from trivec.stores.store import Store
from trivec.twins import Twin, arun, either, run
from trivec.vectors import Vector, Vectors

RerankMode = Literal["dense", "sparse", "colbert", "hybrid"]
"""The score that a `Rescorer` computes."""


@runtime_checkable
class CrossEncoder(Protocol):
    """A model that reads two texts together, such as LangChain's `BaseCrossEncoder`.

    If it has `ascore` too, asynchronous calls await that; else they call `score` in a thread.
    """

    def score(self, text_pairs: list[tuple[str, str]], /) -> Sequence[float]:
        """Return one score per pair of a question and a text; higher is better."""
        ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """A document to be scored.

    Args:
        text: The text to encode.
        id: The id under which a store may hold its vectors.
        stored_text: The text that the stored document must have for its vectors to be used; if it
            differs, `text` is encoded.
    """

    text: str
    id: str | None = None
    stored_text: str = ""


class Rescorer:
    """Scores documents for a question, with stored vectors if a store has them.

    Args:
        encoder: Encodes the question, and the texts that the store does not hold.
        store: A store that may hold the documents and their vectors.
        mode: The score; "hybrid" is the weighted mean of all three.
        weights: The weights of "hybrid".
        cross_encoder: Scores the texts instead of the encoder.

    Raises:
        InvalidOptionError: If not exactly one of encoder and cross-encoder is given, or the mode
            is unknown.

    Example:
        >>> from trivec.testing import HashEncoder
        >>> reranker = Rescorer(HashEncoder())
        >>> near, far = reranker.scores("blue whale", [Candidate("a whale"), Candidate("a fox")])
        >>> near > far
        True
    """

    def __init__(
        self,
        encoder: TextEncoder | None = None,
        *,
        store: Store | None = None,
        mode: RerankMode = "colbert",
        weights: Weights = Weights.GENERAL,
        cross_encoder: CrossEncoder | None = None,
    ) -> None:
        if (encoder is None) == (cross_encoder is None):
            raise InvalidOptionError("a reranker takes either an encoder or a cross_encoder")
        if mode not in get_args(RerankMode):
            raise InvalidOptionError(f"mode={mode!r}; expected one of {get_args(RerankMode)}")

        self._encoder = None if encoder is None else CachingEncoder.sharing(encoder)
        self._store: Store | None = None
        if store is not None and encoder is not None:
            self._store = store.view(creates=True, model=encoder.schema.model)
        single = {
            "dense": Weights(1, 0, 0),
            "sparse": Weights(0, 1, 0),
            "colbert": Weights(0, 0, 1),
        }
        self._weights = weights if mode == "hybrid" else single[mode]
        self._cross_encoder = cross_encoder

    def scores(self, query: str, candidates: Sequence[Candidate]) -> list[float]:
        """Return the score of each candidate, in their order."""
        return run(self._scores(query, candidates))

    async def ascores(self, query: str, candidates: Sequence[Candidate]) -> list[float]:
        """Return the score of each candidate, in their order."""
        return await arun(self._scores(query, candidates))

    def _scores(self, query: str, candidates: Sequence[Candidate]) -> Twin[list[float]]:
        if not candidates:
            return []
        encoder, store = self._encoder, self._store
        if encoder is None:
            assert self._cross_encoder is not None
            pairs = [(query, candidate.text) for candidate in candidates]
            scores = yield from _cross_encoded(self._cross_encoder, pairs)
            return [float(score) for score in scores]
        vector = yield from either(encoder.encode_query, encoder.aencode_query, query)
        stored = None
        if store is not None:
            ids = [candidate.id for candidate in candidates if candidate.id is not None]
            stored = yield from either(store.get, store.aget, ids, with_vectors=True)
        split = _Split(candidates, stored, self._needed(vector))
        fresh = None
        if split.texts:
            fresh = yield from either(
                encoder.encode_documents, encoder.aencode_documents, split.texts
            )
        return split.scores(vector, fresh, self._weights)

    def _needed(self, query: Vector) -> list[str]:
        """Return the parts that the score needs; the encoder must make each of them."""
        needed = [p for p in ("dense", "sparse", "colbert") if getattr(self._weights, p) > 0]
        for part in needed:
            if getattr(query, part) is None:
                raise InvalidVectorsError(f"the score needs {part} vectors, the encoder has none")
        return needed


def _cross_encoded(
    cross_encoder: CrossEncoder, pairs: list[tuple[str, str]]
) -> Twin[Sequence[float]]:
    ascore: Callable[..., Awaitable[Sequence[float]]] | None
    ascore = getattr(cross_encoder, "ascore", None)
    if ascore is None:
        return cross_encoder.score(pairs)  # in a thread, where the caller is asynchronous
    return (yield from either(cross_encoder.score, ascore, pairs))


class _Split:
    """Candidates, divided into those with stored vectors and those that must be encoded."""

    def __init__(
        self, candidates: Sequence[Candidate], stored: Page | None, needed: Sequence[str]
    ) -> None:
        self._stored = None if stored is None else stored.vectors
        rows: dict[tuple[str | None, str], int] = {}
        if (
            stored is not None
            and stored.vectors is not None
            and all(getattr(stored.vectors, part) is not None for part in needed)
        ):
            rows = {(d.id, d.text): row for row, d in enumerate(stored.documents)}
        self._rows = [rows.get((c.id, c.stored_text)) for c in candidates]
        self.texts = [c.text for c, row in zip(candidates, self._rows, strict=True) if row is None]

    def scores(self, query: Vector, fresh: Vectors | None, weights: Weights) -> list[float]:
        """Return one score per candidate."""
        result: NDArray[np.float64] = np.zeros(len(self._rows))
        stored = [i for i, row in enumerate(self._rows) if row is not None]
        encoded = [i for i, row in enumerate(self._rows) if row is None]
        if self._stored is not None and stored:
            vectors = self._stored.take([row for row in self._rows if row is not None])
            result[stored] = score_many(query, vectors, weights).hybrid(weights)
        if fresh is not None:
            result[encoded] = score_many(query, fresh, weights).hybrid(weights)
        values: list[float] = result.tolist()
        return values


def best_rows(scores: Sequence[float], n: int | None = None) -> list[int]:
    """Return the rows of the best scores, best first; equal ones in the order given.

    Args:
        scores: Any number.
        n: How many rows at most; all without it.

    >>> best_rows([1, 3, 3, 2], 3)
    [1, 2, 3]
    """
    return sorted(range(len(scores)), key=lambda row: -scores[row])[:n]
