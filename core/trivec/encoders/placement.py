"""A model's device, precision and kind of linear layer, decided once at loading."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trivec.encoders.backbone import Backbone
from trivec.encoders.checkpoint import Checkpoint
from trivec.encoders.cpu import this_processor
from trivec.encoders.linear import BlockwiseLinear, Linear, kind, rates
from trivec.encoders.measurement import Measurement
from trivec.encoders.precision import Precision, choose_precision
from trivec.errors import InvalidOptionError
from trivec.folders import cache_folder

__all__ = ["Placement", "place"]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a model runs and with which numbers.

    Args:
        device: Where.
        precision: With which numbers.
        reason: Why with these.
    """

    device: torch.device
    precision: Precision
    reason: str

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
            linear=kind(self.precision, self.device),
            dtype=torch.float32 if int8 else getattr(torch, self.precision),
            device=self.device,
        )

    def exact_linear(self, weight: Tensor, bias: Tensor) -> Linear:
        """Return a float32 layer, for heads: under 1 % of the work, whatever the precision."""
        make = kind(Precision.FLOAT32, self.device)
        layer = make(weight.to(self.device), bias.to(self.device))
        # What int8 gives does not depend on the batch, and shall not here.
        return BlockwiseLinear(layer) if self.precision is Precision.INT8 else layer


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
    processor = this_processor()
    measurement = Measurement(cache_folder(), processor, torch.__version__, _bfloat16_ratio)
    choice = choose_precision(
        precision, device=target.type, processor=processor, measured=measurement.choice
    )
    return Placement(target, choice.precision, choice.reason)


def _bfloat16_ratio() -> float:
    measured = rates([Precision.FLOAT32, Precision.BFLOAT16])
    return measured[Precision.BFLOAT16] / measured[Precision.FLOAT32]
