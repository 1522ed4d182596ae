"""The programs beside which trivec's encoder is measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel


class Padded:
    """transformers' model on padded batches, with its own fused attention.

    Args:
        folder: The checkpoint.
        device: Where it computes.
        precision: The number format of its weights.
    """

    def __init__(self, folder: Path, device: torch.device, precision: str) -> None:
        self._device = device
        self._model: Any = AutoModel.from_pretrained(
            folder,
            dtype=getattr(torch, precision),
            add_pooling_layer=False,
            attn_implementation="sdpa",
        ).to(device)
        self._model.train(False)

    def __call__(self, rows: Sequence[NDArray[np.int64]], budget: int) -> None:
        """Encode token ids, longest first, in batches of at most `budget` tokens with padding."""
        order = sorted(rows, key=len, reverse=True)
        start = 0
        with torch.inference_mode():
            while start < len(order):
                batch = order[start : start + max(1, budget // len(order[start]))]
                start += len(batch)
                ids = torch.ones(len(batch), len(batch[0]), dtype=torch.int64)
                for target, row in zip(ids, batch, strict=True):
                    target[: len(row)] = torch.from_numpy(row)
                ids = ids.to(self._device)
                self._model(input_ids=ids, attention_mask=(ids != 1).long())


class FlagEmbedding:
    """FlagEmbedding's `encode`, with its own sizes of batches.

    It encodes the batch with the longest texts twice, the first time to find a size that fits.

    Args:
        folder: The checkpoint.
        device: Where it computes.
        precision: float16; anything else is FlagEmbedding's float32.

    Raises:
        ImportError: If it is not installed.
    """

    def __init__(self, folder: Path, device: torch.device, precision: str) -> None:
        from FlagEmbedding import BGEM3FlagModel  # pyright: ignore[reportMissingImports]

        # With several devices it would start a process for each.
        name = "cuda:0" if str(device) == "cuda" else str(device)
        self._model: Any = BGEM3FlagModel(
            str(folder), use_fp16=precision == "float16", devices=[name]
        )

    def __call__(self, texts: list[str], *, colbert: bool) -> None:
        """Encode texts of any length that the model takes."""
        self._model.encode(
            texts,
            max_length=8192,
            return_dense=True,
            return_sparse=True,
            return_colbert_vecs=colbert,
        )
