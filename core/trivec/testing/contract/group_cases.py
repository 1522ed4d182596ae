"""Documents in groups, and the definition of searches with groups in plain Python."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivec.document import Document
from trivec.filters.instants import parse_datetime
from trivec.hit import Hit
from trivec.rows import SparseRows, TokenRows
from trivec.scores import Weights
from trivec.search import Mode
from trivec.vectors import Vector, Vectors

WEIGHTS = Weights(1, 0.5, 0.5)
"""Their sum is a power of two, and so are the factors of scores: nothing is rounded."""

COUNT = 320
CROWD = 200
"""How many of the documents are passages of "p0", which are nearer to the first queries."""

GROUPED_BY = ("parent", "lang", "year", "price", "flag", "when", "nested.kind")
"""The fields of single values in the contract's collections, and one that is not declared."""

_INSTANTS = [
    *("2020-01-31T12:00:00Z", "2020-01-31T13:00:00+01:00", "20200131T120000"),
    *("2020-01-31", "2020-01-31T00:00", "2021-06-01T10:00:00.25Z"),
]
_PARENTS: list[Any] = [
    *("p1", "p2", "p3", "p4", "1", "true", ""),
    *(1, 1.0, True, False, 0, -0.0, None, ["p1"], ["p1", "p2"], [], {"id": "p1"}),
    *(2**53, 2**53 + 1, 2.5, "2020-01-31", "2020-01-31T00:00:00Z"),
]


# --- the documents --------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def documents() -> list[Document]:
    """Return documents in groups of all sizes, by each of `GROUPED_BY`; some are in none."""
    rng = np.random.default_rng(11)
    order = rng.permutation(COUNT)

    def metadata(i: int) -> dict[str, Any]:
        values: dict[str, Any] = {
            "parent": "p0" if i < CROWD else _PARENTS[int(rng.integers(len(_PARENTS)))],
            "lang": ["en", "de", "En", "it's", ""][min(4, int(rng.geometric(0.5)) - 1)],
            "year": int(rng.integers(2015, 2045)),
            "price": [1, 1.0, 2.5, -0.0, 0, 1e300, 0.3, 0.1 + 0.2][int(rng.integers(8))],
            "flag": bool(rng.integers(2)),
            "when": _INSTANTS[int(rng.integers(len(_INSTANTS)))],
            "nested": {"kind": f"k{int(rng.integers(80))}"},
        }
        for path in list(values)[1:]:
            if rng.random() < 0.06:
                values[path] = None
            if rng.random() < 0.06:
                del values[path]
        return values

    return [Document(f"g{order[i]:03d}", f"text {i}", metadata(i)) for i in range(COUNT)]


@lru_cache(maxsize=1)
def vectors() -> Vectors:
    """Return vectors of multiples of 1/8, whose scores no number format rounds.

    The first documents have those of the first query, but for a few signs.
    """
    rng = np.random.default_rng(12)
    first = queries()[0]
    assert first.dense is not None
    assert first.colbert is not None
    near = np.arange(COUNT) < CROWD
    dense = _signs(rng, COUNT, 32)
    dense[:, 16:] = 0
    flips = np.where(rng.random((CROWD, 16)) < 0.15, -1, 1)
    dense[near, :16] = first.dense[:16] * flips
    dense[~near, :16] = _signs(rng, COUNT - CROWD, 16) * 1.0
    dense[~near, 1] = -first.dense[1]
    dense[~near, 2:7] = -first.dense[2:7]
    tokens: list[NDArray[np.float32]] = []
    sparse: list[dict[int, float]] = []
    for row in range(COUNT):
        rows = _signs(rng, 0 if row % 9 == 8 else int(rng.integers(1, 5)), 16)
        terms = {int(i): float(rng.integers(1, 3)) / 8 for i in rng.choice(30, 4, replace=False)}
        if near[row]:
            rows = np.concatenate([rows, first.colbert[:1]]) if len(rows) else rows
            terms |= dict.fromkeys(list(first.sparse or {})[:6], 0.5)
        tokens.append(rows)
        sparse.append({} if row % 7 == 6 else terms)
    dense[5::11] = 0
    return Vectors(
        dense=dense,
        sparse=SparseRows.from_dicts(sparse),
        colbert=TokenRows.from_arrays(tokens, dim=16),
    )


@lru_cache(maxsize=1)
def queries() -> list[Vector]:
    """Return queries of 2 or 4 token vectors, so that their mean is not rounded."""
    rng = np.random.default_rng(13)
    made: list[Vector] = []
    for i in range(6):
        dense = _signs(rng, 1, 32)[0]
        dense[16:] = 0
        terms = rng.choice(np.arange(30 if i > 2 else 10), 8, replace=False)
        weights = {int(term): float(rng.integers(1, 5)) / 8 for term in terms}
        made.append(Vector(dense=dense, sparse=weights, colbert=_signs(rng, 2 + 2 * (i % 2), 16)))
    return made


def _signs(rng: np.random.Generator, n: int, dim: int) -> NDArray[np.float32]:
    """Return rows of 1/4 and -1/4; 16 of them are a unit vector."""
    return np.where(rng.random((n, dim)) < 0.5, -0.25, 0.25).astype(np.float32)


# --- the definition -------------------------------------------------------------------------------


def shown(hits: Sequence[Hit]) -> list[tuple[str, str]]:
    """Return the ids of hits with their groups; the text tells 1 from True."""
    return [(hit.document.id, repr(hit.group)) for hit in hits]


@lru_cache(maxsize=16)
def _parts(row: int) -> list[dict[str, float]]:
    """Return the scores of each document for a query, without those of the parts that it lacks."""
    query, stored = queries()[row], vectors()
    assert query.dense is not None
    assert query.colbert is not None
    table: list[dict[str, float]] = []
    for i in range(COUNT):
        vector, scores = stored[i], dict[str, float]()
        if vector.dense is not None and vector.dense.any():
            scores["dense"] = float(np.dot(query.dense, vector.dense))
        weights, lexical = query.sparse or {}, vector.sparse or {}
        if weights.keys() & lexical.keys():
            scores["sparse"] = sum(w * lexical.get(term, 0.0) for term, w in weights.items())
        if vector.colbert is not None and len(vector.colbert):
            best = [max(float(np.dot(q, d)) for d in vector.colbert) for q in query.colbert]
            scores["colbert"] = sum(best) / len(best)
        table.append(scores)
    return table


def defined(row: int, options: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what a search for a query gives by the definition of groups."""
    k, path, condition = options.get("k", 10), options["group_by"], options.get("filter")
    most = candidates = max(k, options.get("candidates", 100))
    most *= 64
    allowed = [
        i
        for i, document in enumerate(documents())
        if condition is None or condition.matches(document.metadata)
    ]
    while True:
        ranking = _ranking(row, options["mode"], candidates, allowed)
        groups: dict[Hashable, list[tuple[str, str]]] = {}
        for i in ranking:
            key, shown = _group(documents()[i], path)
            groups.setdefault(key, []).append((documents()[i].id, shown))
        if len(groups) >= k or candidates >= max(len(allowed), 1) or candidates >= most:
            break
        candidates = min(4 * candidates, most)
    best = [members[: options.get("per_group", 1)] for members in list(groups.values())[:k]]
    return [(id, members[0][1]) for members in best for id, _ in members]


def _ranking(row: int, mode: Mode, candidates: int, allowed: Sequence[int]) -> list[int]:
    """Return the documents that are candidates, best first."""
    parts, ids = _parts(row), [document.id for document in documents()]

    def source(part: str) -> dict[int, int]:
        having = (i for i in allowed if part in parts[i])
        best = sorted(having, key=lambda i: (-parts[i][part], ids[i]))[:candidates]
        return {i: rank for rank, i in enumerate(best, start=1)}

    sources = (mode,) if mode in ("dense", "sparse") else ("dense", "sparse")
    ranks = [source(part) for part in sources]
    union = {i for of_source in ranks for i in of_source}
    if mode == "colbert":
        union = {i for i in union if "colbert" in parts[i]}

    def score(i: int) -> float:
        if mode == "rrf":
            return sum(1 / (60 + of_source[i]) for of_source in ranks if i in of_source)
        if mode == "hybrid":
            shares = (("dense", 0.5), ("sparse", 0.25), ("colbert", 0.25))
            return sum(share * parts[i].get(part, 0.0) for part, share in shares)
        return parts[i][mode]

    return sorted(union, key=lambda i: (-score(i), ids[i]))


def _group(document: Document, path: str) -> tuple[Hashable, str]:
    """Return what the documents of a group share, and the value that their hits show."""
    value: Any = document.metadata
    for segment in path.split("."):
        value = (value or {}).get(segment)
    if isinstance(value, bool):
        return ("bool", value), repr(value)
    if isinstance(value, int | float):
        return ("number", value), repr(value)
    if isinstance(value, str):
        return (path, parse_datetime(value) if path == "when" else value), repr(value)
    return ("alone", document.id), "None"
