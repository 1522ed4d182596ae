"""Encoders: text in, dense, sparse and ColBERT vectors out.

Importing this package does not import torch; `Encoder.load` does.
"""

from trivec.encoders.caching import CachingEncoder, CachingOptions
from trivec.encoders.encoder import Encoder
from trivec.encoders.onnx import OnnxEncoder
from trivec.encoders.options import EncodingOptions
from trivec.encoders.precision import Precision
from trivec.encoders.protocol import TextEncoder, Token, TokenizingEncoder
from trivec.encoders.tokenizer import Truncation

__all__ = [
    "CachingEncoder",
    "CachingOptions",
    "Encoder",
    "EncodingOptions",
    "OnnxEncoder",
    "Precision",
    "TextEncoder",
    "Token",
    "TokenizingEncoder",
    "Truncation",
]
