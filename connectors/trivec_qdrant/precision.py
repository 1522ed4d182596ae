"""Token vectors with few bits: what each version of Qdrant keeps, and how exact it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from trivec.colbert_storage import ColbertStorage
from trivec.collection import Capability, Collection
from trivec.errors import InvalidOptionError
from trivec.rows import TokenRows
from trivec.stores import reduction
from trivec.stores.limits import Limits
from trivec.vectors import Vectors
from trivec_qdrant.schema import DATATYPES

ERRORS: Mapping[int, str] = {32: "2e-7", 16: "5e-5", 8: "1e-3", 4: "1e-2"}
"""The largest relative error of a ColBERT score by bits, for vectors of 1,024 dimensions."""

_APART: Mapping[int, str] = {8: "2e-3", 4: "3e-2"}
"""The largest difference of a ColBERT score from that of `TokenCodes`, for the demo model."""

_SINCE: Mapping[int, tuple[int, int]] = {8: (1, 20), 4: (1, 19)}
_METADATA_SINCE = (1, 16)
_MOST = 0.15  # by which the lengths that turbo4 returns are wrong, in any dimension


def check_version(storage: ColbertStorage, version: tuple[int, int]) -> None:
    """Check that a server of a version can keep token vectors so.

    Raises:
        InvalidOptionError: If it cannot; the message names the nearest that it can.

    Example:
        >>> check_version(ColbertStorage(bits=4, pool=2), (1, 19))
    """
    name = ".".join(map(str, version))
    offered = tuple(bits for bits in DATATYPES if version >= _SINCE.get(bits, version))
    Limits(database=f"Qdrant {name}", colbert_bits=offered).check_colbert(storage)
    if version < _METADATA_SINCE and (storage.pool > 1 or storage.prune):
        raise InvalidOptionError(
            f"Qdrant {name} cannot record with a collection that its token vectors are kept as "
            f"{storage}; version 1.16 and newer can"
        )


def rounded(vectors: Vectors, storage: ColbertStorage | None) -> Vectors:
    """Round token vectors as `TokenCodes` does, for an engine that keeps every number whole."""
    tokens = vectors.colbert
    if tokens is None or storage is None:
        return vectors
    return replace(vectors, colbert=reduction.rounded(tokens, storage))


def with_lengths(vectors: Vectors, storage: ColbertStorage | None) -> Vectors:
    """Set the lengths of token vectors right that turbo4 returned.

    Qdrant scores by the direction of the levels and the length of the vector that was written, but
    returns the levels times this length, which are about 1/√dimension longer or shorter. A vector
    within that of length 1 was one of length 1, as those of models and their means are. Written
    again, it becomes the same levels and the same length; without this, the length would change
    with each copy.
    """
    tokens = vectors.colbert
    if tokens is None or storage is None or storage.bits != 4:
        return vectors
    return replace(vectors, colbert=_of_length_one(tokens))


def _of_length_one(tokens: TokenRows) -> TokenRows:
    values = np.asarray(tokens.values, np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", values, values))
    is_near = np.abs(lengths - 1) <= min(_MOST, tokens.dim**-0.5)
    return replace(tokens, values=values / np.where(is_near, lengths, 1)[:, None])


def capability(collection: Collection, *, rounds: bool) -> Capability | None:
    """Return how a collection keeps token vectors; None if it has none, or other ones.

    Args:
        collection: The collection.
        rounds: Whether the database rounds them to the bits of the collection.
    """
    storage = collection.colbert
    if collection.schema.colbert is None or storage is None:
        return None
    if not rounds:
        bits = "levels" if storage.bits < 16 else "numbers"
        reason = f"kept as {storage}; this engine takes 32 bits for each of its {bits}"
        return Capability("colbert", "float32", reason)
    reason = f"kept as {storage}; scores are within {ERRORS[storage.bits]} at 1,024 dimensions"
    if storage.bits < 16:
        reason += (
            f"; memory: has other codes, and its scores differ by up to {_APART[storage.bits]}"
        )
    if storage.bits == 4:
        reason += "; Qdrant has fewer bits only beside a full copy"
    return Capability("colbert", DATATYPES[storage.bits], reason)
