"""The keyword options of the methods that encode, declared once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict

from trivec.encoders.tokenizer import OnTruncate

OnProgress = Callable[[int, int], None]


class EncodingOptions(TypedDict, total=False):
    """What `encode_documents`, `encode_queries` and the others take besides texts.

    Attributes:
        dense: Whether to make dense vectors; None: if the checkpoint can.
        sparse: Whether to make lexical weights; None: if the checkpoint can.
        colbert: Whether to make token vectors; None: if the checkpoint can.
        max_length: The most tokens of a text, its instruction included, up to what the model can
            take; None: the encoder's own `max_length`.
        progress: Called after each forward pass with the number of texts done and of all texts.
        on_truncate: Called before the first forward pass with the texts that are too long, if
            there are any; without it, one warning goes to the log "trivec.encoders.tokenizer".
    """

    dense: bool | None
    sparse: bool | None
    colbert: bool | None
    max_length: int | None
    progress: OnProgress | None
    on_truncate: OnTruncate | None
