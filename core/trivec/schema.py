"""Which vectors a collection holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trivec.arguments import at_least_one, expect
from trivec.errors import InvalidOptionError, SchemaMismatchError


@dataclass(frozen=True, slots=True)
class Schema:
    """Which vectors a collection holds.

    Args:
        dense: The dense dimension, or None for no dense vectors.
        sparse: Whether there are lexical weights.
        colbert: The dimension of a token vector, or None for no ColBERT vectors.
        model: The name of the model that makes the vectors; "" when unknown.

    Raises:
        InvalidOptionError: If a dimension is no integer of at least 1, `sparse` is neither True
            nor False, or there is no part at all.

    Example:
        >>> Schema(dense=1024, sparse=True, colbert=1024, model="BAAI/bge-m3").parts
        ('dense', 'sparse', 'colbert')
    """

    dense: int | None
    sparse: bool
    colbert: int | None
    model: str = ""

    def __post_init__(self) -> None:
        for name in ("dense", "colbert"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, at_least_one(value, f"schema: {name}"))
        expect(self.sparse, (bool, np.bool_), "schema: sparse", "True or False")
        object.__setattr__(self, "sparse", bool(self.sparse))
        expect(self.model, str, "schema: model", 'the name of a model, or ""')
        if not self.parts:
            raise InvalidOptionError("schema: give at least one of dense, sparse and colbert")

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the parts that are there."""
        present = (self.dense is not None, self.sparse, self.colbert is not None)
        return tuple(
            n for n, there in zip(("dense", "sparse", "colbert"), present, strict=True) if there
        )

    def held_by(self, collection: Schema) -> Schema:
        """Return which of these vectors a collection holds; the others are not stored there.

        Raises:
            SchemaMismatchError: If it holds none of them, or those of other dimensions or of
                another model.

        Example:
            >>> made = Schema(dense=1024, sparse=True, colbert=1024, model="BAAI/bge-m3")
            >>> made.held_by(Schema(dense=1024, sparse=True, colbert=None)).parts
            ('dense', 'sparse')
        """
        expect(collection, Schema, "collection", "a Schema, such as store.schema")
        if not set(self.parts) & set(collection.parts):
            raise SchemaMismatchError(
                f"the collection holds {', '.join(collection.parts)} vectors only, "
                f"the documents come with {', '.join(self.parts)}"
            )
        held = Schema(
            dense=None if collection.dense is None else self.dense,
            sparse=self.sparse and collection.sparse,
            colbert=None if collection.colbert is None else self.colbert,
            model=collection.model or self.model,
        )
        problems = [
            f"{name} vectors have {made} numbers, the collection's {kept}"
            for name, made, kept in (
                ("dense", held.dense, collection.dense),
                ("ColBERT", held.colbert, collection.colbert),
            )
            if made is not None and made != kept
        ]
        if not same_model(self.model, collection.model):
            problems.append(f"they are of {self.model!r}, the collection's of {collection.model!r}")
        if problems:
            raise SchemaMismatchError(
                f"the documents' vectors do not fit the collection: {'; '.join(problems)}; use "
                "another collection, or drop it and ingest again"
            )
        return held

    def check_model(self, model: str) -> None:
        """Check that what a model makes can be compared with what this collection holds.

        Args:
            model: The model's name; "" when unknown, which fits every collection.

        Raises:
            SchemaMismatchError: If the collection holds the vectors of another model; see
                `same_model`.

        Example:
            >>> Schema(dense=8, sparse=False, colbert=None, model="BAAI/bge-m3").check_model("")
        """
        if not same_model(self.model, model):
            raise SchemaMismatchError(
                f"the collection holds the vectors of {self.model!r}, and {model!r} makes others, "
                f"so their scores would mean nothing; use {self.model!r}, or another collection. "
                "If the two are one model, load it under the collection's name: name= of "
                "Encoder.load, --model-name on the command line"
            )

    def differences(self, other: Schema) -> list[str]:
        """Return one sentence for each thing in which `other` differs; an unknown model fits."""
        expect(other, Schema, "other", "a Schema, such as encoder.schema")
        found = [
            f"{name} is {getattr(other, name)}, expected {getattr(self, name)}"
            for name in ("dense", "sparse", "colbert")
            if getattr(self, name) != getattr(other, name)
        ]
        if not same_model(self.model, other.model):
            found.append(f"the model is {other.model!r}, expected {self.model!r}")
        return found


def same_model(one: str, other: str) -> bool:
    """Return whether two names can be of one model.

    An unknown model can be any. A model that was loaded from a folder has the folder's name, and
    so can be the one that has this name on the hub, whoever its owner is.

    >>> same_model("BAAI/bge-m3", "bge-m3"), same_model("BAAI/bge-m3", "me/bge-m3")
    (True, False)
    """
    one, other = one.casefold(), other.casefold()
    if not one or not other or one == other:
        return True
    folder = ("/" in one) != ("/" in other)
    return folder and one.rpartition("/")[2] == other.rpartition("/")[2]
