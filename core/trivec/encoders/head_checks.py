"""The files of the sparse and the ColBERT head, and the checks of what is in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import ArrayLike

# FlagEmbedding writes .pt; converted folders have the others.
HEAD_SUFFIXES = (".pt", ".safetensors", ".bin", ".pth")
HEAD_FILES = [
    f"{head}{suffix}" for head in ("sparse_linear", "colbert_linear") for suffix in HEAD_SUFFIXES
]

_MAX_NUMBERS = 2**28  # of a head; 1 GiB of float32


def by_last_part(names: Iterable[str]) -> dict[str, str]:
    """Return names of tensors by what follows the last dot, or by themselves if two share that.

    >>> by_last_part(["head.weight", "head.bias"])
    {'weight': 'head.weight', 'bias': 'head.bias'}
    >>> by_last_part(["a.weight", "b.weight"])
    {'a.weight': 'a.weight', 'b.weight': 'b.weight'}
    """
    names = list(names)
    parts = {name.rpartition(".")[2]: name for name in names}
    return parts if len(parts) == len(names) else {name: name for name in names}


def shape_problem(
    source: str,
    shapes: Mapping[str, tuple[int, ...]],
    *,
    outputs: int | None,
    hidden: int | None,
) -> str | None:
    """Return a sentence if some tensors are not the weight and the bias of a head, else None.

    Args:
        source: Where the tensors are.
        shapes: Their shapes by their names.
        outputs: The number of rows that the weight must have, or None for any.
        hidden: The number of columns that the weight must have, or None for any.

    >>> shape_problem("x.pt", {"weight": (2, 8)}, outputs=1, hidden=None)
    "x.pt holds {'weight': (2, 8)}, expected weight (1, hidden) and bias (1,)"
    """
    weight = shapes.get("weight", ())
    rows = outputs or next(iter(weight), 0)
    columns = hidden or next(iter(weight[1:]), 0)
    expected = {"weight": (rows, columns), "bias": (rows,)}
    if 1 <= rows * columns <= _MAX_NUMBERS and shapes == expected:
        return None
    first = outputs or "dimension"
    return (
        f"{source} holds {shapes}, expected weight ({first}, {hidden or 'hidden'}) "
        f"and bias ({first},)"
    )


def difference_problem(heads: Mapping[str, tuple[ArrayLike, ArrayLike]]) -> str | None:
    """Return a sentence if a head is not the same in all places, else None.

    Args:
        heads: The weight and the bias, by where they are.
    """
    layers = list(heads.values())
    same = all(
        np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=2**-7)  # bfloat16 has 8 bits
        for other in layers[1:]
        for a, b in zip(layers[0], other, strict=True)
    )
    return None if same else f"{' and '.join(heads)} hold different heads; keep only the right one"
