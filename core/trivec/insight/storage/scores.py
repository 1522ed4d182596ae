"""ColBERT scores of many questions, each for its own candidates, with many storages at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from trivec.colbert_storage import ColbertStorage
from trivec.rotation import rotated
from trivec.rows import Float, TokenRows, spans
from trivec.scores import TokenColumns
from trivec.stores.reduction import reduced
from trivec.token_codes import TokenCodes

_MAX_SIMILARITIES = 4 * 1024 * 1024  # similarities at once: 16 MiB of float32

# The last bits of a matrix product depend on the position of a row; rounded, the scores of equal
# documents are equal.
_DECIMALS = 6

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of a question and one of its candidates, the pairs of a document side by side.

    Args:
        questions: int64 (pairs,), the number of the question.
        starts: int64 (documents + 1,), where the pairs of each document start.
        places: For each question the positions of its pairs, in the order of its candidates.
    """

    questions: Rows
    starts: Rows
    places: tuple[Rows, ...]

    @classmethod
    def from_candidates(cls, candidates: Sequence[Rows], documents: int) -> Pairs:
        """Return the pairs of some questions.

        Args:
            candidates: For each question the rows of its candidates.
            documents: The number of documents.
        """
        lengths = np.array([len(rows) for rows in candidates], np.int64)
        rows = np.concatenate([np.zeros(0, np.int64), *candidates])
        question = np.repeat(np.arange(len(candidates)), lengths)
        order = np.argsort(rows, kind="stable")
        place = np.empty(len(rows), np.int64)
        place[order] = np.arange(len(rows))
        starts = np.searchsorted(rows[order], np.arange(documents + 1))
        places = np.split(place, np.cumsum(lengths)[:-1])
        return cls(question[order], starts, tuple(places[: len(candidates)]))

    def __len__(self) -> int:
        return len(self.questions)


@dataclass(frozen=True, slots=True)
class Asked:
    """The token vectors of all questions.

    Args:
        indptr: int64 (questions + 1,), where the tokens of each start.
        values: float32 (tokens, dimension).
        turned: The same, rotated as token codes are.
    """

    indptr: Rows
    values: Float
    turned: Float

    @classmethod
    def of(cls, questions: TokenRows) -> Asked:
        """Rotate the token vectors of questions once for all storages."""
        values: Float = np.asarray(questions.values, np.float32)
        return cls(questions.indptr, values, rotated(values))

    def columns(self, tokens: Rows) -> tuple[Float, Float]:
        """Return some of them as columns for a product, as they are and rotated."""
        values, turned = self.values[tokens], self.turned[tokens]
        return np.ascontiguousarray(values.T), np.ascontiguousarray(turned.T)


def add_scores(
    scores: NDArray[np.float64],
    pairs: Pairs,
    first: int,
    documents: TokenRows,
    questions: Asked,
    storages: Sequence[ColbertStorage],
) -> None:
    """Write the ColBERT scores of a block of documents, as `trivec.scores.maxsim` defines them.

    Each document is reduced and multiplied once for each storage, whatever the number of questions
    that it is a candidate of.

    Args:
        scores: float64 (storages, pairs), written where the pairs are of this block.
        pairs: The pairs of all documents.
        first: The row of the block's first document.
        documents: The full token vectors of the block.
        questions: The token vectors of all questions.
        storages: How the token vectors are kept.
    """
    columns = as_kept(documents, storages)
    lengths = np.diff(questions.indptr)
    for row in range(len(documents)):
        span = slice(int(pairs.starts[first + row]), int(pairs.starts[first + row + 1]))
        places = np.arange(span.start, span.stop)
        places = places[lengths[pairs.questions[places]] > 0]
        tokens = int(np.diff(documents.indptr)[row])
        if not len(places) or not tokens:
            continue
        sizes = lengths[pairs.questions[places]]
        for start, stop in spans(sizes, max(1, _MAX_SIMILARITIES // tokens)):
            some = pairs.questions[places[start:stop]]
            begins = np.concatenate([[0], np.cumsum(lengths[some])])
            flat = np.arange(begins[-1]) + np.repeat(
                questions.indptr[some] - begins[:-1], lengths[some]
            )
            plain, turned = questions.columns(flat)
            for i, kept in enumerate(columns):
                query = turned if isinstance(kept, TokenCodes) else plain
                tokens_kept = slice(int(kept.indptr[row]), int(kept.indptr[row + 1]))
                best = kept.products(tokens_kept, query).max(axis=0)
                sums = np.add.reduceat(best, begins[:-1], dtype=np.float64)
                scores[i, places[start:stop]] = np.round(sums / lengths[some], _DECIMALS)


def as_kept(rows: TokenRows, storages: Sequence[ColbertStorage]) -> list[TokenColumns]:
    """Return full token vectors as collections keep them, to compute with."""
    fewer: dict[tuple[int, float], TokenRows] = {}
    kept: list[TokenColumns] = []
    for storage in storages:
        shape = (storage.pool, storage.prune)
        if shape not in fewer:  # pooling takes longest, and the bits do not matter to it
            fewer[shape] = reduced(rows, replace(storage, bits=16))
        small = fewer[shape]
        if storage.bits < 16:
            kept.append(TokenCodes.encode(small, storage.bits))
            continue
        number = np.float16 if storage.bits == 16 else np.float32
        values = small.values.astype(number, copy=False).astype(np.float32, copy=False)
        kept.append(TokenRows(small.indptr, values))
    return kept
