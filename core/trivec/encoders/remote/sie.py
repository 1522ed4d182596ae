"""Encoders on servers of SIE (Superlinked Inference Engine): all three vectors from one request.

`POST /v1/encode/{model}` is asked for JSON; the server's other form, msgpack, carries the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import quote

from trivec.arguments import described, expect, shown
from trivec.encoders.remote.batches import text_batches
from trivec.encoders.remote.exchange import HttpAnswer, HttpRequest
from trivec.encoders.remote.foreign import Batch, ForeignEncoder, ForeignOptions
from trivec.encoders.remote.identity import Identity
from trivec.encoders.remote.json_values import (
    count_of,
    is_token_id,
    json_object,
    matrix,
    of_dimension,
    stacked,
    text_of,
    unit_rows,
    vector,
)
from trivec.encoders.remote.members import to_bytes
from trivec.encoders.url import EncoderUrl
from trivec.errors import EncoderError, InvalidOptionError, InvalidVectorsError
from trivec.rows import SparseRows, TokenRows
from trivec.twins import Twin
from trivec.vectors import Vectors

TOKEN_VECTOR_BYTES = 4096
"""The most bytes of text of a request for token vectors, whose JSON takes 12 kB for each token."""

_OUTPUTS: Mapping[str, str] = {"dense": "dense", "sparse": "sparse", "colbert": "multivector"}
_DTYPES = ("float32", "float16")


@dataclass(frozen=True, kw_only=True)
class SieOptions(ForeignOptions):
    """Options of `sie+http://` and `sie+https://`.

    Args:
        model: The name under which the server knows the model; by default the only one that it
            lists with vectors.
    """

    model: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        expect(self.model, (str, type(None)), "model", "the name of a model")


@dataclass(frozen=True, slots=True)
class _Model:
    """What `GET /v1/models/{model}` says of a model.

    Args:
        name: Its name.
        revision: Its commit on the hub, or "".
        dense: The dense dimension, or None.
        terms: The number of the vocabulary's tokens, None without lexical weights.
        colbert: The dimension of a token vector, or None.
        max_length: The most tokens of a text, or None if that is unknown.
    """

    name: str
    revision: str
    dense: int | None
    terms: int | None
    colbert: int | None
    max_length: int | None

    @classmethod
    def of(cls, answer: HttpAnswer) -> _Model:
        where = answer.where
        info = json_object(answer.json(), where)
        name = text_of(info, "name", where)
        dims = json_object(info.get("dims"), where)
        sizes = {
            part: count_of(dims, output, where) if output in _outputs(info, where) else None
            for part, output in _OUTPUTS.items()
        }
        if not any(sizes.values()):
            raise EncoderError(f"{where}: {shown(name)} makes no vectors")
        if info.get("state") == "failed":
            failure = info.get("last_error")
            reason = failure.get("message") if isinstance(failure, dict) else None
            raise EncoderError(f"{where}: the server cannot load {shown(name)}: {shown(reason)}")
        known = info.get("max_sequence_length") is not None
        return cls(
            name=name,
            revision=text_of(info, "revision", where, default=""),
            dense=sizes["dense"],
            terms=sizes["sparse"],
            colbert=sizes["colbert"],
            max_length=count_of(info, "max_sequence_length", where) if known else None,
        )


class SieEncoder(ForeignEncoder):
    """An encoder on a server of SIE: those of the three vectors that its model makes.

    It is for BGE-M3 and models that treat questions and documents alike: the server's option
    `is_query` is not sent. Token vectors come without the lexical weights of their tokens.

    Example:
        Needs a server:

        ```python
        encoder = open_encoder("sie+http://localhost:8080?model=BAAI/bge-m3")
        print(encoder.schema.parts)
        ```
    """

    options_class: ClassVar[type[ForeignOptions]] = SieOptions

    def __init__(self, url: EncoderUrl, options: SieOptions) -> None:
        super().__init__(url, options)
        self._asked_model = options.model
        self._model: _Model | None = None

    def _describe(self) -> Twin[Identity]:
        if self._asked_model is None:
            self._asked_model = yield from self._only_model()
        model = self._model = _Model.of((yield from self._get_model()))
        if model.terms is not None and model.colbert is not None:
            yield from self._check_special_tokens()
        return Identity(
            model=model.name,
            dense=model.dense,
            sparse=model.terms is not None,
            colbert=model.colbert,
            revision=model.revision,
            max_length=model.max_length,
            options=self._settings(),
        )

    def _only_model(self) -> Twin[str]:
        answer = yield from self._exchange(HttpRequest("GET", f"{self._prefix}/v1/models"))
        where = answer.where
        listed = json_object(answer.json(), where).get("models")
        if not isinstance(listed, list):
            raise EncoderError(f"{where}: expected a list of models, got {described(listed)}")
        models = [json_object(entry, where) for entry in listed]
        wanted = set(_OUTPUTS.values())
        names = [text_of(m, "name", where) for m in models if wanted & set(_outputs(m, where))]
        if len(names) != 1:
            raise InvalidOptionError(
                f"{self._url} lists {len(names)} models with vectors, {shown(names[:10])}; say "
                "which one: model=…"
            )
        return names[0]

    def _get_model(self) -> Twin[HttpAnswer]:
        return (yield from self._exchange(HttpRequest("GET", self._path("models"))))

    def _confirm(self) -> Twin[None]:
        seen = _Model.of((yield from self._get_model()))
        if seen != self._model:
            raise EncoderError(
                f"{self._url} encodes differently than before: it had {self._model}, and has "
                f"{seen}. Vectors of both cannot be compared; open the encoder anew for a new "
                "collection"
            )

    def _check_special_tokens(self) -> Twin[None]:
        """Check what is not documented: which tokens have a weight, and which a vector.

        The text is one token in the vocabulary of BGE-M3. It has a vector, and the token that ends
        a text has one; the token that starts it has none, and neither of them has a weight.
        """
        probe = Batch(["a"])
        parts = ("sparse", "colbert")
        answer = yield from self._exchange(self._request(probe, parts))
        vectors = self._read(probe, parts, answer)
        assert vectors.sparse is not None
        assert vectors.colbert is not None
        weights, tokens = len(vectors.sparse.values), len(vectors.colbert.values)
        if weights > 1 or tokens != 2:
            raise EncoderError(
                f"{answer.where}: the text 'a' has {weights} lexical weights and {tokens} token "
                "vectors, and 1 and 2 with BGE-M3. The server leaves out other special tokens than "
                "trivec and FlagEmbedding do, or it is another kind of model"
            )

    def _missing(self, part: str) -> str:
        return f"its model, {self.model}, makes none"

    def _path(self, endpoint: str) -> str:
        return f"{self._prefix}/v1/{endpoint}/{quote(self._asked_model or '', safe='/:')}"

    def _prepare(self, texts: Sequence[str], parts: Sequence[str]) -> Twin[list[Batch]]:
        given, limit = self._given, self._given.batch_bytes
        if "colbert" in parts:
            limit = min(limit, TOKEN_VECTOR_BYTES)
        batches = text_batches(texts, max_bytes=limit, max_texts=given.batch_texts)
        return [Batch(batch) for batch in batches]
        yield  # a twin that calls nothing

    def _request(self, batch: Batch, parts: Sequence[str]) -> HttpRequest:
        body = {
            "items": [{"id": str(row), "text": text} for row, text in enumerate(batch.texts)],
            "params": {
                "output_types": [_OUTPUTS[part] for part in parts],
                "output_dtype": "float32",
            },
        }
        return HttpRequest("POST", self._path("encode"), to_bytes(body))

    def _read(self, batch: Batch, parts: Sequence[str], answer: HttpAnswer) -> Vectors:
        where, count, model = answer.where, len(batch.texts), self._model
        assert model is not None
        items = json_object(answer.json(), where).get("items")
        if not isinstance(items, list) or len(items) != count:
            held = len(items) if isinstance(items, list) else described(items)
            raise EncoderError(f"{where}: the answer holds {held} items for {count} texts")
        rows = [json_object(item, where) for item in items]
        if any(row.get("id", str(number)) != str(number) for number, row in enumerate(rows)):
            raise EncoderError(f"{where}: the items of the answer are not in the texts' order")
        dense = sparse = colbert = None
        if "dense" in parts:
            values = [vector(_values(row, "dense", where), where) for row in rows]
            vectors = of_dimension(stacked(values, where), model.dense, where)
            dense = unit_rows(vectors, count, where)
        try:
            if "sparse" in parts:
                sparse = SparseRows.from_dicts([_weights(row, model, where) for row in rows])
            if "colbert" in parts:
                arrays = [matrix(_values(row, "multivector", where), where) for row in rows]
                colbert = TokenRows.from_arrays(
                    [
                        unit_rows(of_dimension(array, model.colbert, where), len(array), where)
                        for array in arrays
                    ]
                )
        except InvalidVectorsError as error:
            raise EncoderError(f"{where}: {error}") from error
        return Vectors(dense=dense, sparse=sparse, colbert=colbert)


def _outputs(info: Mapping[str, Any], where: str) -> list[str]:
    """Return the kinds of output of a model, such as "dense" and "score"."""
    outputs = info.get("outputs")
    if not isinstance(outputs, list) or not all(isinstance(output, str) for output in outputs):
        raise EncoderError(f"{where}: expected the outputs of a model, got {described(outputs)}")
    return outputs


def _values(row: Mapping[str, Any], output: str, where: str) -> object:
    """Return the numbers of an output of an item."""
    held = json_object(row.get(output), f"{where}: {output}")
    if held.get("dtype") not in _DTYPES:
        raise EncoderError(
            f"{where}: {output} has the type {shown(held.get('dtype'))}, expected one of "
            f"{', '.join(_DTYPES)}"
        )
    return held.get("values")


def _weights(row: Mapping[str, Any], model: _Model, where: str) -> dict[int, float]:
    """Return the lexical weights of an item, without zeros."""
    values = vector(_values(row, "sparse", where), where)
    indices = json_object(row["sparse"], where).get("indices")
    if not isinstance(indices, list) or not all(map(is_token_id, indices)):
        raise EncoderError(f"{where}: expected token ids, got {described(indices)}")
    weights = dict(zip(indices, values.tolist(), strict=False))
    if not len(weights) == len(indices) == len(values):
        raise EncoderError(
            f"{where}: the answer holds {len(values)} weights for {len(set(indices))} token ids"
        )
    if model.terms is not None and max(indices, default=0) >= model.terms:
        raise EncoderError(
            f"{where}: the answer holds the token id {max(indices)}, and the vocabulary has "
            f"{model.terms}"
        )
    return {index: weight for index, weight in weights.items() if weight != 0}
