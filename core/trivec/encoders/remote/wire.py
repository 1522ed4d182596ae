"""The requests and answers of `trivec serve`, written and read: one text for both sides."""

from __future__ import annotations

import base64
import binascii
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from trivec.arguments import described
from trivec.encoders.protocol import Token
from trivec.errors import InvalidInputError, InvalidOptionError, InvalidVectorsError, TrivecError
from trivec.schema import Schema
from trivec.vector_files import columns_of_bytes, dtype_named
from trivec.vectors import Vectors

IDENTITY_HEADER = "Trivec-Encoder"
SAFETENSORS = "application/vnd.safetensors"
JSON = "application/json"

PARTS = ("dense", "sparse", "colbert")

Kind: TypeAlias = Literal["documents", "queries"]


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
        value = _object(text, "the encoder's identity")
        try:
            identity = cls(
                model=_typed(value, "model", str, ""),
                dense=_typed(value, "dense", int, None),
                sparse=_typed(value, "sparse", bool, False),
                colbert=_typed(value, "colbert", int, None),
                revision=_typed(value, "revision", str, ""),
                precision=_typed(value, "precision", str, ""),
                max_length=_typed(value, "max_length", int, None),
                options={
                    str(name): str(text)
                    for name, text in _typed(value, "options", dict, {}).items()
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


@dataclass(frozen=True, slots=True)
class EncodeRequest:
    """The body of `POST /encode`.

    Args:
        texts: The texts.
        kind: Whether they are documents or queries.
        parts: The parts to make; None for all that the encoder has.
        max_length: The most tokens of a text, or None for the encoder's own.
    """

    texts: Sequence[str]
    kind: Kind = "documents"
    parts: tuple[str, ...] | None = None
    max_length: int | None = None

    @classmethod
    def from_json(cls, body: bytes) -> EncodeRequest:
        """Read a request.

        Raises:
            InvalidInputError: If it is malformed; the message says how.
        """
        value = _object(body, "the request")
        unknown = sorted(set(value) - {"texts", "kind", "parts", "max_length"})
        if unknown:
            raise InvalidInputError(
                f"unknown member {unknown[0][:60]!r}; known are texts, kind, parts and max_length"
            )
        if "texts" not in value:
            raise InvalidInputError("the member texts is missing: a list of strings")
        kind = value.get("kind", "documents")
        if kind not in get_args(Kind):
            raise InvalidInputError("kind: expected 'documents' or 'queries'")
        max_length = _typed(value, "max_length", int, None)
        if max_length is not None and max_length < 1:
            raise InvalidInputError(f"max_length={max_length} must be at least 1")
        return cls(
            texts=_strings(value["texts"], "texts"),
            kind=kind,
            parts=_parts(value.get("parts")),
            max_length=max_length,
        )

    def to_json(self) -> bytes:
        """Return the body."""
        body: dict[str, Any] = {"texts": list(self.texts), "kind": self.kind}
        if self.parts is not None:
            body["parts"] = list(self.parts)
        if self.max_length is not None:
            body["max_length"] = self.max_length
        return _dumped(body)


@dataclass(frozen=True, slots=True)
class TokensRequest:
    """The body of `POST /tokens`.

    Args:
        text: A document or a question.
        max_length: The most tokens of the text, or None for the encoder's own.
    """

    text: str
    max_length: int | None = None

    @classmethod
    def from_json(cls, body: bytes) -> TokensRequest:
        """Read a request.

        Raises:
            InvalidInputError: If it is malformed.
        """
        value = _object(body, "the request")
        [text] = _strings([value.get("text")], "text")
        return cls(text, _typed(value, "max_length", int, None))

    def to_json(self) -> bytes:
        """Return the body."""
        limit = {} if self.max_length is None else {"max_length": self.max_length}
        return _dumped({"text": self.text, **limit})


def vectors_to_bytes(vectors: Vectors) -> bytes:
    """Return vectors in the format of safetensors, as `Vectors.save` writes them."""
    file = io.BytesIO()
    vectors.write_to(file)
    return file.getvalue()


def vectors_from_bytes(content: bytes) -> Vectors:
    """Read vectors of `vectors_to_bytes`, with checks of everything in them.

    Raises:
        InvalidVectorsError: If they are cut short, or malformed, or not finite.
    """
    return Vectors(**columns_of_bytes(content))


def vectors_to_json(vectors: Vectors) -> bytes:
    """Return vectors as JSON for clients without safetensors.

    Each column is an object of `dtype`, `shape` and `data`, the little-endian bytes in base64; the
    names, types and shapes are those of the safetensors format.
    """
    content = vectors_to_bytes(vectors)
    length = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + length]), memoryview(content)[8 + length :]
    columns = dict[str, Any]()
    for name, column in header.items():
        if name == "__metadata__":
            columns[name] = column
            continue
        start, stop = column["data_offsets"]
        columns[name] = {
            "dtype": column["dtype"],
            "shape": column["shape"],
            "data": base64.b64encode(data[start:stop]).decode(),
        }
    return json.dumps(columns, separators=(",", ":")).encode()


def vectors_from_json(content: bytes) -> Vectors:
    """Read vectors of `vectors_to_json`.

    Raises:
        InvalidVectorsError: If they are malformed or not finite.
    """
    header, parts, end = dict[str, Any](), list[bytes](), 0
    try:
        for name, column in _object(content, "the answer").items():
            if name == "__metadata__":
                header[name] = column
                continue
            data = base64.b64decode(column["data"], validate=True)
            span = [end, end := end + len(data)]
            size = dtype_named(column["dtype"]).itemsize * int(np.prod(column["shape"]))
            if size != len(data):
                raise InvalidVectorsError(f"{name} has {len(data)} bytes, expected {size}")
            header[name] = {
                "dtype": column["dtype"],
                "shape": column["shape"],
                "data_offsets": span,
            }
            parts.append(data)
    except (TypeError, KeyError, ValueError, binascii.Error) as error:
        if isinstance(error, TrivecError):
            raise
        raise InvalidVectorsError(f"the answer is malformed: {type(error).__name__}") from error
    text = json.dumps(header).encode()
    return vectors_from_bytes(len(text).to_bytes(8, "little") + text + b"".join(parts))


def tokens_to_json(tokens: Sequence[Token]) -> bytes:
    """Return the answer of `POST /tokens`."""
    return _dumped(
        [
            {"id": token.id, "text": token.text, "start": token.start, "end": token.end}
            for token in tokens
        ]
    )


def tokens_from_json(content: bytes) -> list[Token]:
    """Read the answer of `POST /tokens`.

    Raises:
        InvalidInputError: If it is malformed.
    """
    rows = _loaded(content, "the tokens")
    if not isinstance(rows, list):
        raise InvalidInputError(f"the tokens: expected a list, got {described(rows)}")
    tokens = []
    for row in rows:
        if not isinstance(row, dict):
            raise InvalidInputError(f"a token: expected an object, got {described(row)}")
        numbers = [_typed(row, name, int, None) for name in ("id", "start", "end")]
        text = _typed(row, "text", str, None)
        if text is None or any(number is None or number < 0 for number in numbers):
            raise InvalidInputError("a token: expected id, text, start and end")
        tokens.append(Token(numbers[0], text, numbers[1], numbers[2]))
    return tokens


def _dumped(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _loaded(text: str | bytes, what: str) -> Any:  # noqa: ANN401 - any JSON
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{what} is not JSON: {str(error)[:100]}") from None


def _object(text: str | bytes, what: str) -> dict[str, Any]:
    value = _loaded(text, what)
    if not isinstance(value, dict):
        raise InvalidInputError(f"{what}: expected a JSON object, got {described(value)}")
    return value


def _typed(value: Mapping[str, Any], name: str, of: type, default: Any) -> Any:  # noqa: ANN401
    """Return a member of a type; the default if it is missing or null."""
    member = value.get(name)
    if member is None:
        return default
    if not isinstance(member, of) or (of is int and isinstance(member, bool)):
        raise InvalidInputError(f"{name}: expected {of.__name__}, got {described(member)}")
    return member


def _strings(value: object, what: str) -> list[str]:
    if not isinstance(value, list):
        raise InvalidInputError(f"{what}: expected a list of strings, got {described(value)}")
    for index, text in enumerate(value):
        if not isinstance(text, str):
            raise InvalidInputError(f"{what}[{index}]: expected a string, got {described(text)}")
    return value


def _parts(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = _strings(value, "parts")
    if not names or not set(names) <= set(PARTS):
        raise InvalidInputError("parts: expected some of 'dense', 'sparse' and 'colbert'")
    return tuple(part for part in PARTS if part in names)
