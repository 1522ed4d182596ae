"""The identity of a journal: the store, the model and the options that its rows are valid for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from trivec.encoders.protocol import TextEncoder
from trivec.passages.options import Passages
from trivec.schema import Schema
from trivec.stores.store import Store


@runtime_checkable
class Configured(Protocol):
    """An encoder with options that change its vectors; they are part of the journal's identity.

    Options without a precision mean float32.
    """

    options: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class EncoderIdentity:
    """The properties of an encoder that determine its vectors."""

    schema: Schema
    options: Mapping[str, str]

    @classmethod
    def from_encoder(cls, encoder: TextEncoder) -> EncoderIdentity:
        """Return the identity of an encoder."""
        if not isinstance(encoder, Configured):
            return cls(encoder.schema, {})
        return cls(encoder.schema, {"precision": "float32", **encoder.options})


def identity(
    store: Store, encoder: EncoderIdentity, passages: Passages | None = None
) -> Mapping[str, str]:
    """Return the identity of a journal.

    Args:
        store: The collection.
        encoder: What determines the vectors.
        passages: How texts are split; None for documents that are stored whole.

    Raises:
        SchemaMismatchError: If the store does not match the encoder.
    """
    collection = store.describe()
    held = encoder.schema.held_by(collection.schema)
    storage = None if held.colbert is None else collection.colbert
    return {
        "store": store.address,
        "model": held.model,
        "dense": str(held.dense),
        "sparse": str(held.sparse),
        "colbert": str(held.colbert),
        "colbert_overflow": store.overflow,
        **({} if storage is None else {"colbert_storage": str(storage)}),
        **({} if passages is None else {"passages": str(passages)}),
        **encoder.options,
    }
