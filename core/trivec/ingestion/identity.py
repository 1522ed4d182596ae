"""What the rows of a journal are valid for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from trivec.encoders.protocol import TextEncoder
from trivec.schema import Schema
from trivec.stores.store import Store

__all__ = ["Configured", "Maker", "identity"]


@runtime_checkable
class Configured(Protocol):
    """Encoders with options that change the vectors; the journal belongs to these options too.

    Options that say no precision are those of float32.
    """

    options: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Maker:
    """What makes vectors, as far as a journal must tell it from others.

    Args:
        schema: Which vectors it makes, and the model's name.
        options: What else changes them.
    """

    schema: Schema
    options: Mapping[str, str]

    @classmethod
    def of(cls, encoder: TextEncoder) -> Maker:
        """Return what an encoder says of itself."""
        if not isinstance(encoder, Configured):
            return cls(encoder.schema, {})
        return cls(encoder.schema, {"precision": "float32", **encoder.options})


def identity(store: Store, maker: Maker) -> Mapping[str, str]:
    """Return what the rows of a journal are valid for: the store, the model and its options.

    Raises:
        SchemaMismatchError: If the store holds other vectors.
    """
    held = maker.schema.held_by(store.schema)
    return {
        "store": store.address,
        "model": held.model,
        "dense": str(held.dense),
        "sparse": str(held.sparse),
        "colbert": str(held.colbert),
        "colbert_overflow": store.overflow,
        **maker.options,
    }
