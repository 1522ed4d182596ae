"""A model's device, precision and linear layers, decided once at loading."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trivec.encoders.backbone import Backbone
from trivec.encoders.batching import CPU_BATCH_TOKENS, GPU_BATCH_TOKENS
from trivec.encoders.checkpoint import Checkpoint
from trivec.encoders.cpu import this_processor
from trivec.encoders.linear import BlockwiseLinear, Linear, linear_for, measure_rates
from trivec.encoders.precision import Measurement, Precision, choose_precision
from trivec.errors import InvalidOptionError
from trivec.folders import cache_folder


@dataclass(frozen=True, slots=True)
class Placement:
    """The device and the precision of a model.

    Args:
        device: Where it runs.
        precision: The number format of its matrix products.
        reason: Why this precision was chosen.
    """

    device: torch.device
    precision: Precision
    reason: str

    @property
    def batch_tokens(self) -> int:
        """The default for the most tokens of one forward pass."""
        return CPU_BATCH_TOKENS if self.device.type == "cpu" else GPU_BATCH_TOKENS

    def backbone(self, checkpoint: Checkpoint) -> Backbone:
        """Read the backbone's tensors into the layers that are fastest here."""
        int8 = self.precision is Precision.INT8
        return Backbone(
            checkpoint.architecture,
            checkpoint.read,
            linear=linear_for(self.precision, self.device),
            dtype=torch.float32 if int8 else getattr(torch, self.precision),
            device=self.device,
        )

    def exact_linear(self, weight: Tensor, bias: Tensor) -> Linear:
        """Return a float32 layer, for heads, which take less than 1 % of the time."""
        make = linear_for(Precision.FLOAT32, self.device)
        layer = make(weight.to(self.device), bias.to(self.device))
        # The backbone's results in int8 do not depend on the batch, so the heads' must not either.
        return BlockwiseLinear(layer) if self.precision is Precision.INT8 else layer


def place(device: str, precision: str) -> Placement:
    """Decide where and in which precision a model runs; both may be "auto".

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
    rates = measure_rates([Precision.FLOAT32, Precision.BFLOAT16])
    return rates[Precision.BFLOAT16] / rates[Precision.FLOAT32]
