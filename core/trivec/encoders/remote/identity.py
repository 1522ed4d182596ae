"""The identity of an encoder on a server: what its vectors depend on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trivec.encoders.remote.members import json_object, member
from trivec.errors import InvalidInputError, InvalidOptionError
from trivec.schema import Schema

IDENTITY_HEADER = "Trivec-Encoder"
"""The header of each answer, with the identity as compact JSON."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What the vectors of a server depend on.

    Args:
        model: The model's name, as in the schema; "" if it is unknown.
        dense: The dense dimension, or None.
        sparse: Whether there are lexical weights.
        colbert: The dimension of a token vector, or None.
        revision: The model's commit on the hub; "" if it is unknown.
        precision: The number format of the matrix products; "" if it is unknown.
        max_length: The most tokens of a text that are read, or None if that is unknown.
        options: Other settings that change the vectors, such as an instruction.
    """

    model: str
    dense: int | None
    sparse: bool
    colbert: int | None
    revision: str = ""
    precision: str = ""
    max_length: int | None = None
    options: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def of(cls, encoder: Any, *, revision: str = "") -> Identity:  # noqa: ANN401 - any encoder
        """Return the identity of an encoder that is served.

        Args:
            encoder: A `TextEncoder`; `precision`, `max_length` and `options` are read if it has
                them.
            revision: The model's commit on the hub, if it is known.
        """
        schema: Schema = encoder.schema
        options: Mapping[str, str] = getattr(encoder, "options", {})
        precision = getattr(encoder, "precision", None) or options.get("precision", "")
        return cls(
            model=schema.model,
            dense=schema.dense,
            sparse=schema.sparse,
            colbert=schema.colbert,
            revision=revision,
            precision=str(precision),
            max_length=getattr(encoder, "max_length", None),
            options={name: text for name, text in options.items() if name != "precision"},
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> Identity:
        """Read an identity; members that are not known are ignored.

        Raises:
            InvalidInputError: If it is malformed.
        """
        value = json_object(text, "the encoder's identity")
        try:
            identity = cls(
                model=member(value, "model", str, ""),
                dense=member(value, "dense", int, None),
                sparse=member(value, "sparse", bool, False),
                colbert=member(value, "colbert", int, None),
                revision=member(value, "revision", str, ""),
                precision=member(value, "precision", str, ""),
                max_length=member(value, "max_length", int, None),
                options={
                    str(name): str(text)
                    for name, text in member(value, "options", dict, {}).items()
                },
            )
            identity.schema()
        except InvalidOptionError as error:
            raise InvalidInputError(f"the encoder's identity: {error}") from error
        return identity

    def members(self) -> dict[str, Any]:
        """Return the members of the JSON object, for `/health` too."""
        members: dict[str, Any] = {
            "model": self.model,
            "revision": self.revision,
            "precision": self.precision,
            "dense": self.dense,
            "sparse": self.sparse,
            "colbert": self.colbert,
            "max_length": self.max_length,
        }
        return {**members, **({"options": dict(self.options)} if self.options else {})}

    def to_json(self) -> str:
        """Return compact JSON of ASCII characters: the value of the header."""
        return json.dumps(self.members(), separators=(",", ":"))

    def schema(self, name: str | None = None) -> Schema:
        """Return the vectors that the server makes, under another model's name if one is given."""
        return Schema(
            dense=self.dense, sparse=self.sparse, colbert=self.colbert, model=name or self.model
        )

    def settings(self) -> dict[str, str]:
        """Return what changes the vectors besides the schema, as `Encoder.options` has it."""
        settings = dict(self.options)
        if self.precision not in ("", "float32"):  # which journals imply
            settings["precision"] = self.precision
        if self.revision:
            settings["revision"] = self.revision
        return settings
