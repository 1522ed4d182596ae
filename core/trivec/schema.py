"""Schemas: the vectors that a collection holds or an encoder makes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trivec.arguments import at_least_one, expect
from trivec.errors import InvalidOptionError, SchemaMismatchError


@dataclass(frozen=True, slots=True)
class Schema:
    """The vectors that a collection holds or an encoder makes.

    Args:
        dense: The dense dimension, or None for no dense vectors.
        sparse: Whether there are lexical weights.
        colbert: The dimension of a token vector, or None for no ColBERT vectors.
        model: The name of the model that makes the vectors; "" if it is unknown.

    Raises:
        InvalidOptionError: If a dimension is not an integer of at least 1, `sparse` is neither True
            nor False, or there is no part.

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
        """The names of the parts in this schema."""
        present = {
            "dense": self.dense is not None,
            "sparse": self.sparse,
            "colbert": self.colbert is not None,
        }
        return tuple(part for part in present if present[part])

    def held_by(self, collection: Schema) -> Schema:
        """Return the vectors of this schema that a collection holds; the others are not stored.

        Raises:
            SchemaMismatchError: If the collection holds none of them, or its vectors have other
                dimensions or come from another model.

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
        """Check that the vectors of a model can be compared with those of this collection.

        Args:
            model: The model's name; "", an unknown model, matches every collection.

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
        """Return a sentence for each difference from `other`; an unknown model is no difference."""
        expect(other, Schema, "other", "a Schema, such as encoder.schema")
        differences = [
            f"{name} is {getattr(other, name)}, expected {getattr(self, name)}"
            for name in ("dense", "sparse", "colbert")
            if getattr(self, name) != getattr(other, name)
        ]
        if not same_model(self.model, other.model):
            differences.append(f"the model is {other.model!r}, expected {self.model!r}")
        return differences


def same_model(one: str, other: str) -> bool:
    """Return whether two names can belong to the same model.

    An unknown model, "", can be any model. A model that was loaded from a folder has the folder's
    name, so it can be the model with this name on the hub, whoever its owner is.

    Options of a name, after a question mark, must be the same, in any order. The model that the
    option `heads` names is compared as the name itself is.

    >>> same_model("BAAI/bge-m3", "bge-m3"), same_model("BAAI/bge-m3", "me/bge-m3")
    (True, False)
    >>> same_model("BAAI/bge-m3", "bge-m3?truncate_dim=256")
    False
    >>> same_model("tuned?heads=BAAI/bge-m3", "me/tuned?heads=bge-m3")
    True
    """
    one, other = one.casefold(), other.casefold()
    if not one or not other or one == other:
        return True
    one, _, query = one.partition("?")
    other, _, other_query = other.partition("?")
    options, other_options = _options(query), _options(other_query)
    heads, other_heads = options.pop("heads", ""), other_options.pop("heads", "")
    if options != other_options or bool(heads) != bool(other_heads):
        return False
    if not same_model(heads, other_heads):
        return False
    if one == other:
        return True
    folder = ("/" in one) != ("/" in other)
    return folder and one.rpartition("/")[2] == other.rpartition("/")[2]


def _options(query: str) -> dict[str, str]:
    """Return the options of a model's name.

    >>> _options("heads=a/b&truncate_dim=4")
    {'heads': 'a/b', 'truncate_dim': '4'}
    """
    entries = (entry.partition("=") for entry in query.split("&") if entry)
    return {name: value for name, _, value in entries}
