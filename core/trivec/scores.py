"""BGE-M3's three scores and their weighted mean, in numpy: the definition for every store.

They equal those of FlagEmbedding (`BGEM3FlagModel.compute_score`, key `colbert+sparse+dense`),
except that padding never counts, so that negative similarities stay negative.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from trivec.arguments import expect, named, shown
from trivec.errors import InvalidOptionError, InvalidVectorsError
from trivec.rows import Float, SparseRows, TokenRows, Tokens
from trivec.vectors import Vector, Vectors, expect_vector

# Similarities and numbers of token vectors at once in `maxsim`: 64 and 256 MiB of float32.
_MAX_SIMILARITIES = 16 * 1024 * 1024
_MAX_NUMBERS = 64 * 1024 * 1024
_PAIRS = 512  # pairs of token vectors multiplied at once in `_best`; they fit in a cache
_NAMES = ("dense", "sparse", "colbert")
_MAX_WEIGHT = 1e30  # sums of weighted scores stay finite in the float32 of databases


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights of the three parts in the hybrid score.

    Args:
        dense: Weight of the dense score, at least 0.
        sparse: Weight of the lexical score, at least 0.
        colbert: Weight of the ColBERT score, at least 0.

    Raises:
        InvalidOptionError: If a weight is negative or above 1e30, or all are 0.

    Example:
        >>> Weights.GENERAL
        Weights(dense=1.0, sparse=0.3, colbert=1.0)
        >>> Weights(1, 0, 0).total
        1.0
    """

    GENERAL: ClassVar[Weights]
    """FlagEmbedding's training and its examples: 1 / 0.3 / 1."""
    MODEL_CARD: ClassVar[Weights]
    """The model card of BAAI/bge-m3: 0.4 / 0.2 / 0.4."""
    LONG_DOCUMENTS: ClassVar[Weights]
    """FlagEmbedding's evaluation on MLDR: 0.15 / 0.5 / 0.35."""

    dense: float
    sparse: float
    colbert: float

    def __post_init__(self) -> None:
        for name in ("dense", "sparse", "colbert"):
            given = getattr(self, name)
            expect(given, Real, f"weight {name}", "a number of at least 0, such as 0.3")
            if not 0 <= given <= _MAX_WEIGHT:  # before the conversion to float, which may overflow
                what = named(f"weight {name}", given)
                raise InvalidOptionError(f"{what} must be at least 0 and at most {_MAX_WEIGHT:g}")
            object.__setattr__(self, name, float(given))
        if self.total == 0:
            raise InvalidOptionError("at least one weight must be above 0")

    @property
    def total(self) -> float:
        """The sum of the three weights, which the hybrid score is divided by."""
        return self.dense + self.sparse + self.colbert


AnyWeights = Weights | Mapping[str, float]
"""Weights, or a dict of them in which a missing one is 0."""


def as_weights(value: AnyWeights) -> Weights:
    """Return Weights from Weights, or from a dict in which a missing weight is 0.

    >>> as_weights({"dense": 1, "colbert": 0.5})
    Weights(dense=1.0, sparse=0.0, colbert=0.5)
    """
    if isinstance(value, Weights):
        return value
    if not isinstance(value, Mapping):
        raise InvalidOptionError(f"weights={shown(value)} must be Weights, or a dict of them")
    unknown = sorted(map(shown, set(value) - set(_NAMES)))
    if unknown:
        raise InvalidOptionError(
            f"unknown weights {', '.join(unknown)}; known are {', '.join(_NAMES)}"
        )
    given = [value.get(name, 0) for name in _NAMES]
    for name, weight in zip(_NAMES, given, strict=True):
        if isinstance(weight, bool) or not isinstance(weight, int | float | np.number):
            raise InvalidOptionError(f"{named(f'weight {name}', weight)} must be a number")
    return Weights(*given)


Weights.GENERAL = Weights(1, 0.3, 1)
Weights.MODEL_CARD = Weights(0.4, 0.2, 0.4)
Weights.LONG_DOCUMENTS = Weights(0.15, 0.5, 0.35)


class TokenColumns(Protocol):
    """Token vectors of n texts in any number of bits: `TokenRows` or `TokenCodes`."""

    @property
    def indptr(self) -> NDArray[np.int64]:
        """Where the tokens of each text start, int64 (n + 1,)."""
        ...

    @property
    def dim(self) -> int:
        """The dimension of one token vector."""
        ...

    def turned(self, query: Float) -> Float:
        """Return token vectors of a query in the space of `products` and `vectors`."""
        ...

    def products(self, tokens: slice, columns: Float) -> Float:
        """Return the dot products of a run of tokens with turned float32 (dimension, queries)."""
        ...

    def vectors(self, tokens: NDArray[np.int64]) -> Float:
        """Return the vectors of the tokens at these positions, float32 (tokens, dimension)."""
        ...


@dataclass(frozen=True, slots=True)
class Scores:
    """The parts of one score; None means that a part was not computed.

    Args:
        dense: Dot product of the two unit vectors, -1 to 1.
        sparse: Dot product of the lexical weights, 0 or more without an upper bound.
        colbert: Mean over the query's tokens of the best dot product with a token of the document,
            -1 to 1.
        hybrid: The weighted mean of the three.
    """

    dense: float | None = None
    sparse: float | None = None
    colbert: float | None = None
    hybrid: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PartScores:
    """The scores of one query for n documents, as columns; None means not computed.

    Args:
        dense: float64 (n,), dot products of the unit vectors.
        sparse: float64 (n,), dot products of the lexical weights.
        colbert: float64 (n,), means over the query's tokens of the best dot product.
    """

    dense: NDArray[np.float64] | None = None
    sparse: NDArray[np.float64] | None = None
    colbert: NDArray[np.float64] | None = None

    def hybrid(self, weights: Weights) -> NDArray[np.float64]:
        """Return the weighted mean, float64 (n,).

        Raises:
            InvalidOptionError: If a part with a weight above 0 was not computed.
        """
        parts = ((weights.dense, self.dense), (weights.sparse, self.sparse))
        total: NDArray[np.float64] | float = 0.0
        for weight, part in (*parts, (weights.colbert, self.colbert)):
            if weight > 0:
                if part is None:
                    raise InvalidOptionError(f"a part with the weight {weight} was not computed")
                total = total + weight * part
        return np.asarray(total / weights.total, np.float64)

    def row(self, index: int, *, hybrid: float | None = None) -> Scores:
        """Return document `index` as `Scores`."""
        return Scores(
            dense=None if self.dense is None else float(self.dense[index]),
            sparse=None if self.sparse is None else float(self.sparse[index]),
            colbert=None if self.colbert is None else float(self.colbert[index]),
            hybrid=hybrid,
        )


def score(query: Vector, document: Vector, weights: Weights = Weights.GENERAL) -> Scores:
    """Score one document for one query.

    Args:
        query: The encoded question.
        document: The encoded document.
        weights: The weights of the hybrid score; a part with weight 0 is not computed.

    Returns:
        The parts and the hybrid score. A part that either side lacks scores 0.

    Raises:
        InvalidVectorsError: If the dimensions differ, or an argument is not a `Vector`.

    Example:
        >>> import numpy as np
        >>> query = Vector(dense=np.array([0.6, 0.8]), sparse={7: 0.5})
        >>> document = Vector(dense=np.array([1.0, 0.0]), sparse={7: 0.5, 9: 0.1})
        >>> round(score(query, document, Weights(1, 1, 0)).hybrid, 3)
        0.425
    """
    expect_vector(query, "query")
    expect_vector(document, "document")
    batch = Vectors(
        # A document without dense vector gets an empty one, so that it can score 0.
        dense=np.zeros((1, 0), np.float32) if document.dense is None else document.dense[None],
        sparse=SparseRows.from_dicts([document.sparse or {}]),
        colbert=None if document.colbert is None else TokenRows.from_arrays([document.colbert]),
    )
    if document.dense is None:
        query = Vector(sparse=query.sparse, colbert=query.colbert)
    parts = score_many(query, batch, weights)
    return parts.row(0, hybrid=float(parts.hybrid(weights)[0]))


def score_many(query: Vector, documents: Vectors, weights: Weights = Weights.GENERAL) -> PartScores:
    """Score many documents for one query.

    Args:
        query: The encoded question.
        documents: The encoded documents.
        weights: Parts with weight 0 are not computed.

    Returns:
        Each part as float64 (n,), computed in float32 products; 0 where either side lacks it.

    Raises:
        InvalidVectorsError: If the dimensions differ.
    """
    expect_vector(query, "query")
    expect(documents, Vectors, "documents", "Vectors", error=InvalidVectorsError)
    expect(weights, Weights, "weights", "Weights, such as Weights(1, 0.3, 1)")
    none = np.zeros(len(documents))
    dense = sparse = colbert = none
    if weights.dense > 0 and query.dense is not None and documents.dense is not None:
        dense = _dense(query.dense, documents.dense)
    if weights.sparse > 0 and query.sparse and documents.sparse is not None:
        sparse = _sparse(query.sparse, documents.sparse)
    if weights.colbert > 0 and query.colbert is not None and documents.colbert is not None:
        colbert = maxsim(query.colbert, documents.colbert)
    return PartScores(
        dense=dense if weights.dense > 0 else None,
        sparse=sparse if weights.sparse > 0 else None,
        colbert=colbert if weights.colbert > 0 else None,
    )


def _dense(query: Float, documents: Float) -> NDArray[np.float64]:
    if documents.shape[1] != query.shape[0]:
        raise InvalidVectorsError(
            f"the query has {query.shape[0]} dense dimensions, the documents {documents.shape[1]}"
        )
    # Each row by itself, since the last bits of a matrix product depend on a row's position.
    return np.asarray(np.einsum("ij,j->i", documents, query), np.float64)


def _sparse(query: Mapping[int, float], documents: SparseRows) -> NDArray[np.float64]:
    ids = np.fromiter(sorted(query), np.uint32, len(query))
    weights = np.fromiter((query[i] for i in ids.tolist()), np.float64, len(query))
    nearest = np.minimum(np.searchsorted(ids, documents.indices), len(ids) - 1)
    shared = ids[nearest] == documents.indices
    products = np.where(shared, weights[nearest] * documents.values, 0.0)
    # Each row is summed by itself: equal rows get equal scores, and without a shared token it is 0.
    scores = np.zeros(len(documents))
    rows = np.flatnonzero(np.diff(documents.indptr))  # reduceat cannot take empty rows
    if len(rows):
        scores[rows] = np.add.reduceat(products, documents.indptr[rows])
    return scores


def maxsim(query: Tokens, documents: TokenColumns) -> NDArray[np.float64]:
    """Return the ColBERT score of each document for one query, float64 (n,).

    Args:
        query: The query's token vectors, (tokens, dimension).
        documents: The token vectors of n documents; one without any scores 0.

    Raises:
        InvalidVectorsError: If the dimensions differ.
    """
    scores = np.zeros(len(documents.indptr) - 1)
    if not len(query):
        return scores
    if documents.dim != query.shape[1]:
        raise InvalidVectorsError(
            f"the query has {query.shape[1]} ColBERT dimensions, the documents {documents.dim}"
        )
    asked = documents.turned(np.ascontiguousarray(query, np.float32))
    columns: Float = np.ascontiguousarray(asked.T)
    rows = np.flatnonzero(np.diff(documents.indptr))  # reduceat cannot take empty rows
    step = max(1, min(_MAX_SIMILARITIES // len(query), _MAX_NUMBERS // documents.dim))
    while len(rows):
        first = documents.indptr[rows[0]]
        fit = np.searchsorted(documents.indptr[rows + 1], first + step, side="right")
        chunk, rows = rows[: max(1, fit)], rows[max(1, fit) :]
        tokens = slice(int(first), int(documents.indptr[chunk[-1] + 1]))
        similarities = np.asarray(documents.products(tokens, columns), np.float32)
        starts = documents.indptr[chunk] - first
        best = _best(similarities, starts, documents, tokens.start, asked)
        scores[chunk] = best.mean(axis=1, dtype=np.float64)
    return scores


def _best(
    similarities: NDArray[np.float32],
    starts: NDArray[np.int64],
    documents: TokenColumns,
    first: int,
    query: Float,
) -> NDArray[np.float32]:
    """Return the best similarity of each query token with each document, float32 (n, query).

    The last bits of a matrix product depend on the position of a row, so equal documents would get
    different scores. Therefore each best similarity is computed again by itself.
    """
    best = np.maximum.reduceat(similarities, starts, axis=0)
    lengths = np.diff(starts, append=len(similarities))
    row, token = np.divmod(
        np.flatnonzero(similarities == np.repeat(best, lengths, axis=0)), best.shape[1]
    )
    owner = np.repeat(np.arange(len(starts)), lengths)[row]
    for start in range(0, len(row), _PAIRS):
        some = slice(start, start + _PAIRS)
        pairs = documents.vectors(first + row[some]), query[token[some]]
        best[owner[some], token[some]] = np.einsum("ij,ij->i", *pairs)
    return best
