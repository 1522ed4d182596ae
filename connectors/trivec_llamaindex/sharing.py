"""What copies of LlamaIndex's classes share, and how they are written down."""

from __future__ import annotations

import copy
from typing import Any, Self

from pydantic import (
    BaseModel,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    model_serializer,
)

__all__ = ["Sharing"]


class Sharing(BaseModel):
    """A model whose copies share its encoder and its store, which stay in their process.

    What it dumps are arguments of its constructor, beside the encoder and the store.
    """

    def __init__(self, **fields: Any) -> None:  # noqa: ANN401  # those of the other base
        super().__init__(**fields)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Return a copy with the same encoder and store."""
        return copy.copy(self)

    def __getstate__(self) -> dict[Any, Any]:
        """Refuse to be pickled; LlamaIndex would leave out what cannot be, without an error."""
        raise TypeError(
            f"cannot pickle {type(self).__name__}: encoders and stores stay in their "
            "process; make it anew in the other one"
        )

    @model_serializer(mode="wrap")
    def custom_model_dump(
        self, handler: SerializerFunctionWrapHandler, info: SerializationInfo | None = None
    ) -> dict[str, Any]:
        """Return the fields without the name of the class, which `to_dict` adds."""
        fields: dict[str, Any] = handler(self)
        return fields
