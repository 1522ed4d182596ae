"""The requests and answers of `trivec serve`, written and read: one text for both sides."""

from __future__ import annotations

import base64
import binascii
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from trivec.arguments import described
from trivec.encoders.protocol import Token
from trivec.encoders.remote.json_values import vector
from trivec.encoders.remote.members import json_object, loaded, member, strings, to_bytes
from trivec.errors import EncoderError, InvalidInputError, InvalidVectorsError, TrivecError
from trivec.vector_files import columns_of_bytes, dtype_named
from trivec.vectors import Vectors

SAFETENSORS = "application/vnd.safetensors"
JSON = "application/json"

PARTS = ("dense", "sparse", "colbert")

Kind: TypeAlias = Literal["documents", "queries"]


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
        value = json_object(body, "the request")
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
        max_length = member(value, "max_length", int, None)
        if max_length is not None and max_length < 1:
            raise InvalidInputError(f"max_length={max_length} must be at least 1")
        return cls(
            texts=strings(value["texts"], "texts"),
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
        return to_bytes(body)


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
    def of(cls, value: Mapping[str, Any]) -> TokensRequest:
        """Return the request of a JSON object.

        Raises:
            InvalidInputError: If it is malformed.
        """
        unknown = sorted(set(value) - {"text", "max_length"})
        if unknown:
            raise InvalidInputError(
                f"unknown member {unknown[0][:60]!r}; known are text and max_length, or ids alone"
            )
        [text] = strings([value.get("text")], "text")
        return cls(text, member(value, "max_length", int, None))

    def to_json(self) -> bytes:
        """Return the body."""
        limit = {} if self.max_length is None else {"max_length": self.max_length}
        return to_bytes({"text": self.text, **limit})


@dataclass(frozen=True, slots=True)
class TokenTextsRequest:
    """The body of `POST /tokens` that asks for the texts of token ids, such as a sparse row's.

    Args:
        ids: The ids.
    """

    ids: Sequence[int]

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> TokenTextsRequest:
        """Return the request of a JSON object.

        Raises:
            InvalidInputError: If it is malformed.
        """
        ids = value.get("ids")
        if set(value) != {"ids"} or not isinstance(ids, list):
            raise InvalidInputError("expected the member ids alone: a list of token ids")
        for token in ids:
            if isinstance(token, bool) or not isinstance(token, int) or not 0 <= token < 2**32:
                raise InvalidInputError(f"ids: expected token ids, got {described(token)}")
        return cls(ids)

    def to_json(self) -> bytes:
        """Return the body."""
        return to_bytes({"ids": list(self.ids)})


def read_tokens_request(body: bytes) -> TokensRequest | TokenTextsRequest:
    """Read the body of `POST /tokens`: with `ids` it asks for their texts.

    Raises:
        InvalidInputError: If it is malformed.
    """
    value = json_object(body, "the request")
    return TokenTextsRequest.of(value) if "ids" in value else TokensRequest.of(value)


@dataclass(frozen=True, slots=True)
class RerankRequest:
    """The body of `POST /rerank`.

    Args:
        query: The question.
        texts: Texts that may answer it.
    """

    query: str
    texts: Sequence[str]

    @classmethod
    def from_json(cls, body: bytes) -> RerankRequest:
        """Read a request.

        Raises:
            InvalidInputError: If it is malformed.
        """
        value = json_object(body, "the request")
        if set(value) != {"query", "texts"}:
            raise InvalidInputError(
                "expected the members query, a string, and texts, a list of strings"
            )
        [query] = strings([value["query"]], "query")
        return cls(query, strings(value["texts"], "texts"))

    def to_json(self) -> bytes:
        """Return the body."""
        return to_bytes({"query": self.query, "texts": list(self.texts)})


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
        for name, column in json_object(content, "the answer").items():
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
    return to_bytes(
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
    rows = loaded(content, "the tokens")
    if not isinstance(rows, list):
        raise InvalidInputError(f"the tokens: expected a list, got {described(rows)}")
    tokens = []
    for row in rows:
        if not isinstance(row, dict):
            raise InvalidInputError(f"a token: expected an object, got {described(row)}")
        numbers = [member(row, name, int, None) for name in ("id", "start", "end")]
        text = member(row, "text", str, None)
        if text is None or any(number is None or number < 0 for number in numbers):
            raise InvalidInputError("a token: expected id, text, start and end")
        tokens.append(Token(numbers[0], text, numbers[1], numbers[2]))
    return tokens


def token_texts_to_json(texts: Sequence[str]) -> bytes:
    """Return the answer of `POST /tokens` with ids."""
    return to_bytes(list(texts))


def token_texts_from_json(content: bytes, count: int) -> list[str]:
    """Read the answer of `POST /tokens` with ids.

    Raises:
        InvalidInputError: If it does not hold one text for each id.
    """
    texts = strings(loaded(content, "the tokens"), "the tokens")
    if len(texts) != count:
        raise InvalidInputError(f"the tokens: {len(texts)} texts for {count} ids")
    return texts


def scores_to_json(scores: NDArray[np.float32]) -> bytes:
    """Return the answer of `POST /rerank`; scores float32 (texts,)."""
    return to_bytes({"scores": scores.tolist()})


def scores_from_json(content: bytes, texts: int) -> NDArray[np.float32]:
    """Read the answer of `POST /rerank`, float32 (texts,).

    Raises:
        InvalidInputError: If it does not hold one finite score for each text.
    """
    scores = member(json_object(content, "the scores"), "scores", list, [])
    if len(scores) != texts:
        raise InvalidInputError(f"the scores: {len(scores)} for {texts} texts")
    try:
        return vector(scores, "the scores")
    except EncoderError as error:
        raise InvalidInputError(str(error)) from error


def _parts(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = strings(value, "parts")
    if not names or not set(names) <= set(PARTS):
        raise InvalidInputError("parts: expected some of 'dense', 'sparse' and 'colbert'")
    return tuple(part for part in PARTS if part in names)
