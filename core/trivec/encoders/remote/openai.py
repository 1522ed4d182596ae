"""Encoders on servers with the OpenAI API's `/v1/embeddings`, which have dense vectors alone."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from trivec.arguments import at_least_one, expect, shown
from trivec.encoders.remote.exchange import HttpAnswer, HttpRequest
from trivec.encoders.remote.foreign import Batch, ForeignEncoder, ForeignOptions
from trivec.encoders.remote.identity import Identity
from trivec.encoders.remote.json_values import (
    by_index,
    json_object,
    of_dimension,
    stacked,
    text_of,
    unit_rows,
    vector,
)
from trivec.encoders.remote.members import to_bytes
from trivec.encoders.url import EncoderUrl
from trivec.errors import EncoderError, InvalidOptionError
from trivec.rows import Float
from trivec.twins import Twin
from trivec.vectors import Vectors

OPENAI_HOST, OPENAI_TOKEN = "api.openai.com", "OPENAI_API_KEY"


@dataclass(frozen=True, kw_only=True)
class OpenAiOptions(ForeignOptions):
    """Options of `openai+https://` and `infinity+https://`.

    Args:
        model: The name under which the server knows the model; by default the only one that it
            lists.
        dimensions: The dimension to ask for, if the model can shorten its vectors; by default its
            own.
    """

    model: str | None = None
    dimensions: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        expect(self.model, (str, type(None)), "model", "the name of a model")
        if self.dimensions is not None:
            object.__setattr__(self, "dimensions", at_least_one(self.dimensions, "dimensions"))


class OpenAiEncoder(ForeignEncoder):
    """An encoder behind `POST /v1/embeddings`: dense vectors, scaled to length 1.

    The path of the URL is what precedes `/embeddings`. At api.openai.com the token is, where none
    is given, that of the environment variable OPENAI_API_KEY.

    Example:
        Needs a server:

        ```python
        encoder = open_encoder("openai+http://localhost:8000/v1", model="BAAI/bge-m3")
        ```
    """

    options_class: ClassVar[type[ForeignOptions]] = OpenAiOptions

    def __init__(self, url: EncoderUrl, options: OpenAiOptions) -> None:
        token = os.environ.get(OPENAI_TOKEN) if url.host == OPENAI_HOST else None
        super().__init__(url, options, token=token or None)
        self._asked_model = options.model
        self._dimensions = options.dimensions
        self._answering: str | None = None  # the model that the first answer names

    def _describe(self) -> Twin[Identity]:
        if self._asked_model is None:
            self._asked_model = yield from self._only_model()
        probe = Batch(["dimension"])
        answer = yield from self._exchange(self._request(probe, ["dense"]))
        dense = self._read(probe, ["dense"], answer).dense
        assert dense is not None
        return Identity(
            model=self._asked_model,
            dense=int(dense.shape[1]),
            sparse=False,
            colbert=None,
            options=self._settings(),
        )

    def _only_model(self) -> Twin[str]:
        answer = yield from self._exchange(HttpRequest("GET", f"{self._prefix}/models"))
        listed = json_object(answer.json(), answer.where).get("data")
        if not isinstance(listed, list):
            raise EncoderError(
                f"{answer.where}: the answer is not that of /v1/models: {answer.message()}"
            )
        names = [text_of(json_object(entry, answer.where), "id", answer.where) for entry in listed]
        if len(names) != 1:
            raise InvalidOptionError(
                f"{self._url} lists {len(names)} models, {shown(names[:10])}; say which one: "
                "model=…"
            )
        return names[0]

    def _request(self, batch: Batch, parts: Sequence[str]) -> HttpRequest:
        body: dict[str, Any] = {
            "input": list(batch.texts),
            "model": self._asked_model,
            # A third of the bytes of decimal numbers. A server that does not know it sends those.
            "encoding_format": "base64",
        }
        if self._dimensions is not None:
            body["dimensions"] = self._dimensions
        return HttpRequest("POST", f"{self._prefix}/embeddings", to_bytes(body))

    def _read(self, batch: Batch, parts: Sequence[str], answer: HttpAnswer) -> Vectors:
        where = answer.where
        value = json_object(answer.json(), where)
        entries = by_index(value.get("data"), len(batch.texts), where)
        rows = [_numbers(entry.get("embedding"), where) for entry in entries]
        self._check_model(text_of(value, "model", where, default=""))
        dense = unit_rows(stacked(rows, where), len(batch.texts), where)
        expected = self._identity.dense if self._identity is not None else self._dimensions
        if expected is not None:
            of_dimension(dense, expected, where)
        return Vectors(dense=dense)

    def _check_model(self, model: str) -> None:
        """Compare the model that an answer names with that of the first answer."""
        if self._answering is None:
            self._answering = model
        if model != self._answering:
            raise EncoderError(
                f"{self._url} answers with the model {model!r}, and before with "
                f"{self._answering!r}. Vectors of both cannot be compared"
            )


def _numbers(embedding: object, where: str) -> Float:
    """Return the numbers of a vector, of a list or of little-endian float32 in base64.

    >>> _numbers("AACAPwAAAEA=", ""), _numbers([0.5], "")
    (array([1., 2.], dtype=float32), array([0.5], dtype=float32))
    """
    if not isinstance(embedding, str):
        return vector(embedding, where)
    try:
        numbers = np.frombuffer(base64.b64decode(embedding, validate=True), "<f4")
    except ValueError as error:  # no base64, or a part of a number
        raise EncoderError(f"{where}: a vector is neither numbers nor float32 in base64") from error
    if not np.isfinite(numbers).all():
        raise EncoderError(f"{where}: the answer holds NaN or infinity")
    return numbers
