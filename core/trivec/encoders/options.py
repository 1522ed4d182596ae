"""The keyword options of the methods that encode, declared once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict

from trivec.encoders.token_ids import OnTruncate

OnProgress = Callable[[int, int], None]


class EncodingOptions(TypedDict, total=False):
    """The keyword options of `encode_documents`, `encode_queries` and the other methods."""

    dense: bool | None
    """Whether to make dense vectors; by default if the checkpoint can."""
    sparse: bool | None
    """Whether to make lexical weights; by default if the checkpoint can."""
    colbert: bool | None
    """Whether to make token vectors; by default if the checkpoint can."""
    max_length: int | None
    """The most tokens of a text, its instruction included, up to what the model can take; by
    default the encoder's own `max_length`."""
    progress: OnProgress | None
    """Called after each forward pass with the number of texts done and the number of all texts."""
    on_truncate: OnTruncate | None
    """Called before the first forward pass with the texts that are too long, if there are any;
    without it, one warning goes to the log "trivec.encoders.tokenizer"."""
