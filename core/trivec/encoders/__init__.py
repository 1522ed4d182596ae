"""Encoders: text in, dense, sparse and ColBERT vectors out.

Importing this package imports neither torch, which `Encoder.load` needs, nor an HTTP client.
"""

from typing import TYPE_CHECKING

from trivec.encoders.options import EncodingOptions
from trivec.encoders.protocol import PassageEncoder, TextEncoder, Token, TokenizingEncoder
from trivec.encoders.registry import open_encoder
from trivec.encoders.remote.options import RemoteEncodingOptions, RemoteOptions
from trivec.encoders.url import EncoderUrl
from trivec.lazy import imported_on_use

if TYPE_CHECKING:
    from trivec.encoders.caching import CachingEncoder, CachingOptions
    from trivec.encoders.encoder import Encoder
    from trivec.encoders.onnx import OnnxEncoder
    from trivec.encoders.precision import Precision
    from trivec.encoders.remote.encoder import RemoteEncoder
    from trivec.encoders.token_ids import Truncation
else:
    __getattr__, __dir__ = imported_on_use(
        __name__,
        {
            "trivec.encoders.caching": ("CachingEncoder", "CachingOptions"),
            "trivec.encoders.encoder": ("Encoder",),
            "trivec.encoders.onnx": ("OnnxEncoder",),
            "trivec.encoders.precision": ("Precision",),
            "trivec.encoders.remote.encoder": ("RemoteEncoder",),
            "trivec.encoders.token_ids": ("Truncation",),
        },
    )

__all__ = [
    "CachingEncoder",
    "CachingOptions",
    "Encoder",
    "EncoderUrl",
    "EncodingOptions",
    "OnnxEncoder",
    "PassageEncoder",
    "Precision",
    "RemoteEncoder",
    "RemoteEncodingOptions",
    "RemoteOptions",
    "TextEncoder",
    "Token",
    "TokenizingEncoder",
    "Truncation",
    "open_encoder",
]
