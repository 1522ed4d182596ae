"""A model's device, precision and kind of linear layer, decided once at loading."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trivec.encoding.checkpoint import Checkpoint
from trivec.encoding.linear import Linear, fastest, rates
from trivec.encoding.packed import Backbone
from trivec.encoding.precision import Precision, choose_precision, cpu_flags
from trivec.errors import InvalidOptionError

__all__ = ["Placement", "place"]

# bfloat16 costs accuracy (cosine 0.9999), so "auto" takes it for a clear gain only.
_WORTH_IT = 1.3


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a model runs and with which numbers."""

    device: torch.device
    precision: Precision

    @property
    def on_cpu(self) -> bool:
        """Whether the device is the CPU."""
        return self.device.type == "cpu"

    def backbone(self, checkpoint: Checkpoint) -> Backbone:
        """Read the backbone's tensors into the layers that are fastest here."""
        int8 = self.precision is Precision.INT8
        return Backbone(
            checkpoint.architecture,
            checkpoint.read,
            linear=fastest(self.precision, self.device),
            dtype=torch.float32 if int8 else getattr(torch, self.precision),
            device=self.device,
        )

    def exact_linear(self, weight: Tensor, bias: Tensor) -> Linear:
        """Return a float32 layer, for heads: under 1 % of the work, whatever the precision."""
        maker = fastest(Precision.FLOAT32, self.device)
        return maker(weight.to(self.device), bias.to(self.device))


def place(device: str, precision: str) -> Placement:
    """Decide where a model runs.

    Raises:
        InvalidOptionError: If the device or the precision does not exist here.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        target = torch.device(device)
    except RuntimeError as error:
        raise InvalidOptionError(f"device={device!r} is not a device of PyTorch") from error
    if target.type == "cuda" and not torch.cuda.is_available():
        raise InvalidOptionError(f"device={device!r}, but PyTorch finds no CUDA GPU; use 'cpu'")
    chosen = choose_precision(
        precision,
        device=target.type,
        flags=cpu_flags(),
        bfloat16_is_faster=lambda: _best(Precision.BFLOAT16) > _WORTH_IT * _best(Precision.FLOAT32),
    )
    return Placement(target, chosen)


def _best(precision: Precision) -> float:
    return max(rates(precision).values())
