"""Encoders: text in, dense, sparse and ColBERT vectors out.

Importing this package imports neither torch, which `Encoder.load` needs, nor an HTTP client.
"""

from typing import TYPE_CHECKING, Any

from trivec.encoders.caching import CachingEncoder, CachingOptions
from trivec.encoders.encoder import Encoder
from trivec.encoders.onnx import OnnxEncoder
from trivec.encoders.options import EncodingOptions
from trivec.encoders.precision import Precision
from trivec.encoders.protocol import TextEncoder, Token, TokenizingEncoder
from trivec.encoders.registry import open_encoder
from trivec.encoders.remote.options import RemoteEncodingOptions, RemoteOptions
from trivec.encoders.token_ids import Truncation
from trivec.encoders.url import EncoderUrl

if TYPE_CHECKING:
    from trivec.encoders.remote.encoder import RemoteEncoder

__all__ = [
    "CachingEncoder",
    "CachingOptions",
    "Encoder",
    "EncoderUrl",
    "EncodingOptions",
    "OnnxEncoder",
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


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any attribute of a module
    """Import what takes long when it is asked for."""
    if name == "RemoteEncoder":
        from trivec.encoders.remote.encoder import RemoteEncoder

        return RemoteEncoder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
