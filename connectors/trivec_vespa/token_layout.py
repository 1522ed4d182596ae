"""How Vespa keeps token vectors: their tensors, the expression of their score, their JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np

from trivec.colbert_storage import ColbertStorage
from trivec.rotation import rotated
from trivec.rows import Float, TokenRows, Tokens
from trivec.schema import Schema
from trivec.token_codes import TokenCodes
from trivec_vespa.hexadecimal import bfloat16_hex, bfloat16_rows, byte_rows, float_hex, float_rows
from trivec_vespa.replies import Fields, finite

ROWS = "colbert_rep"
"""The tensor of token vectors with 32 or 16 bits for each number."""
CODES = "colbert_codes"
"""The tensor of token vectors with 8 or fewer bits for each number, packed into bytes."""
FACTORS = "colbert_factors"
"""The tensor of the factor of each token, beside `CODES`."""

_SIGN = np.uint8(128)  # the bit that changes when 128 is subtracted from a byte


@dataclass(frozen=True, slots=True)
class TokenLayout:
    """How a collection keeps token vectors.

    With 32 or 16 bits, they are a tensor of floats. With fewer bits, they are `TokenCodes`: a
    tensor of bytes, and a factor for each token. With one bit, Vespa unpacks the bytes; else it
    computes with them as numbers, so they are stored less 128, as int8.

    Args:
        bits: The bits of one number.
        dimension: The dimension of the vectors.

    Example:
        >>> layout = TokenLayout(1, 1024)
        >>> layout.profile, layout.tensors
        ('hybrid_1', {'colbert_codes': 'tensor<int8>(dt{}, x[128])', 'colbert_factors': 'tensor<float>(dt{})'})
    """  # noqa: E501

    bits: int
    dimension: int

    @classmethod
    def of(cls, schema: Schema, storage: ColbertStorage | None) -> Self | None:
        """Return the layout of a collection; None if it holds no token vectors.

        Raises:
            InvalidOptionError: If token vectors of this dimension do not fill whole bytes.
        """
        storage = storage or ColbertStorage()
        storage.check_dimension(schema.colbert)
        return None if schema.colbert is None else cls(storage.bits, schema.colbert)

    # --- the schema ----------------------------------------------------------------------------

    @property
    def is_packed(self) -> bool:
        """Whether there are levels and factors in place of floats."""
        return self.bits < 16

    @property
    def profile(self) -> str:
        """The rank profile that adds the ColBERT score in a second phase."""
        return "hybrid" if self.bits == 16 else f"hybrid_{self.bits}"

    @property
    def tensors(self) -> dict[str, str]:
        """The fields, and the type of each."""
        if not self.is_packed:
            number = "float" if self.bits == 32 else "bfloat16"
            return {ROWS: f"tensor<{number}>(dt{{}}, x[{self.dimension}])"}
        size = self.dimension * self.bits // 8
        return {CODES: f"tensor<int8>(dt{{}}, x[{size}])", FACTORS: "tensor<float>(dt{})"}

    @property
    def expression(self) -> str:
        """The ColBERT score.

        Vespa computes it with one fused operation if it multiplies float by float, whatever the
        two tensors are made of. So the factor is part of the document's vectors. For `rows`, see
        `query_rows`.
        """
        if self.bits == 32:
            rows = f"attribute({ROWS})"
        elif self.bits == 16:
            rows = f"cell_cast(attribute({ROWS}), float)"
        elif self.bits == 1:
            rows = f"((unpack_bits(attribute({CODES})) - 0.5) * attribute({FACTORS}))"
        else:
            rows = f"(({self._codes()} + 0.5) * attribute({FACTORS}))"
        return f"sum(reduce(sum(query(q_colbert) * {rows}, x), max, dt), qt) / query(q_len)"

    def _codes(self) -> str:
        """Return the codes of each byte, less their middle and 1/2, from the last to the first."""
        byte = f"cell_cast(attribute({CODES}), float)"
        shifts = range(self.bits, 8, self.bits)
        shifted = [byte, *(f"floor({byte} * {2.0**-shift})" for shift in shifts)]
        size = 2**self.bits
        codes = [f"{low} - {size} * {high} - {size // 2}" for low, high in pairwise(shifted)]
        # The first code has the sign of the byte, so it is a number less its middle already.
        rows, *others = [*codes, shifted[-1]]
        for other in others:
            rows = f"concat({rows}, {other}, x)"
        return rows

    # --- queries -------------------------------------------------------------------------------

    def query(self, tokens: Tokens) -> dict[str, str]:
        """Return the query tensor of token vectors, in hex by token."""
        return {str(i): float_hex(token) for i, token in enumerate(self.query_rows(tokens))}

    def query_rows(self, tokens: Tokens) -> Float:
        """Return what the document's numbers are multiplied by, float32 (tokens, dimension).

        Codes are those of rotated vectors, so the query is rotated. The level of a code c is
        (c - L/2) * 2/L with L = 2**bits - 1, and the document has c - L/2. Where a byte holds
        several codes, it has the last ones of all bytes first, then those before them; with one
        bit, all in their order.
        """
        rows = np.asarray(tokens, np.float32)
        if not self.is_packed:
            return rows
        rows = rotated(rows) * np.float32(2 / (2**self.bits - 1))
        count = 1 if self.bits == 1 else 8 // self.bits
        return np.concatenate([rows[:, i::count] for i in reversed(range(count))], axis=1)

    # --- documents -----------------------------------------------------------------------------

    def feed(self, tokens: Tokens) -> dict[str, object]:
        """Return the fields of a document with at least one token, as Vespa's feed takes them.

        Raises:
            InvalidVectorsError: If a vector is too long for its bits.
        """
        if not self.is_packed:
            digits = float_hex(tokens) if self.bits == 32 else bfloat16_hex(tokens)
            return {ROWS: {"blocks": _blocks(digits, len(tokens))}}
        codes = TokenCodes.encode(TokenRows(np.array([0, len(tokens)]), tokens), self.bits)
        packed = codes.packed ^ _SIGN if self.bits > 1 else codes.packed
        return {
            CODES: {"blocks": _blocks(packed.tobytes().hex(), len(tokens))},
            FACTORS: dict(zip(map(str, range(len(tokens))), codes.factors.tolist(), strict=True)),
        }

    @property
    def token_feed_bytes(self) -> int:
        """The bytes that one token takes in the feed."""
        if not self.is_packed:
            return 2 * self.dimension * self.bits // 8 + 10
        # Hex, and as `"17": 0.036224365234375, `
        return 2 * self.dimension * self.bits // 8 + 10 + 28

    def read(self, fields: Fields) -> Float:
        """Return the token vectors of a stored document, read as `format.tensors=hex`.

        Raises:
            LookupError, TypeError, ValueError: If the fields are not as `feed` writes them.
        """
        if not self.is_packed:
            blocks = fields[ROWS]["blocks"] if ROWS in fields else {}
            rows = float_rows if self.bits == 32 else bfloat16_rows
            return rows([blocks[label] for label in _ordered(blocks)], self.dimension)
        blocks = fields[CODES]["blocks"] if CODES in fields else {}
        cells = fields[FACTORS]["cells"] if FACTORS in fields else {}
        labels = _ordered(blocks)
        if blocks.keys() != cells.keys():
            raise ValueError(f"{len(blocks)} token vectors have {len(cells)} factors")
        packed = byte_rows([blocks[label] for label in labels], self.dimension * self.bits // 8)
        if self.bits > 1:
            packed = packed ^ _SIGN
        numbers = np.array([finite(cells[label]) for label in labels], np.float64)
        with np.errstate(over="ignore"):  # becomes infinity, which is refused below
            factors, given = numbers.astype(np.float16), numbers.astype(np.float32)
        if not np.isfinite(factors).all() or not np.array_equal(factors, given):
            raise ValueError("a factor is no float16")
        codes = TokenCodes(self.bits, np.array([0, len(labels)]), packed, factors)
        return np.asarray(codes.decoded().values, np.float32)


def _blocks(text: str, count: int) -> dict[str, str]:
    width = len(text) // count
    return {str(i): text[i * width : (i + 1) * width] for i in range(count)}


def _ordered(blocks: Mapping[str, Any]) -> list[str]:
    return sorted(blocks, key=int)
