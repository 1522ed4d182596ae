"""An encoder that `trivec serve` runs somewhere else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self, Unpack

from trivec.arguments import at_least_one
from trivec.encoders.protocol import Token
from trivec.encoders.remote.answers import Answers
from trivec.encoders.remote.batches import ain_order, in_order, text_batches
from trivec.encoders.remote.http import HttpAnswer, HttpClient, HttpRequest
from trivec.encoders.remote.identity import Identity
from trivec.encoders.remote.options import RemoteEncodingOptions, RemoteOptions
from trivec.encoders.remote.wire import (
    SAFETENSORS,
    EncodeRequest,
    Kind,
    TokensRequest,
    TokenTextsRequest,
)
from trivec.encoders.tokenizer import check_texts
from trivec.encoders.url import EncoderUrl
from trivec.errors import InvalidOptionError
from trivec.schema import Schema
from trivec.vectors import Vector, Vectors

PORT = 7600
"""The port of `trivec serve` where the URL has none."""

_IN_LOOP_BYTES = 64 * 1024  # that are decoded in the event loop; more in a thread


class RemoteEncoder:
    """An encoder on a server of `trivec serve`; importing it and using it needs no torch.

    The vectors are those of the server's encoder to the bit. Many texts go in batches, a few of
    which are in flight at once. A server that is busy, or that cannot be reached for a moment, is
    asked again. If the server's model changes, calls raise `EncoderError`: vectors of two models
    cannot be compared.

    Any number of threads and event loops can use one encoder. Copies are the same encoder; a
    pickle opens it again. Nothing is sent before the first use.

    Args:
        url: The server.
        options: See `RemoteOptions`.

    Raises:
        InvalidOptionError: If the token cannot be sent in a header.

    Example:
        Needs a server, such as `trivec serve BAAI/bge-m3`:

        ```python
        encoder = open_encoder("trivec://localhost:7600")
        print(encoder.schema)
        ```
    """

    options_class: ClassVar[type[RemoteOptions]] = RemoteOptions

    def __init__(self, url: EncoderUrl, options: RemoteOptions) -> None:
        self._url = url
        self._given = options
        self._prefix = f"/{url.path}" if url.path else ""
        self._client = HttpClient(
            url.http(PORT, tls=url.scheme.endswith("s")),
            token=options.token,
            deadline=options.deadline,
        )
        self._answers = Answers(str(url))
        self._most_texts = options.batch_texts  # less after the server has refused as many

    @classmethod
    def from_url(cls, url: EncoderUrl, options: RemoteOptions) -> Self:
        """Return the encoder behind a URL; nothing is sent yet."""
        return cls(url, options)

    def __repr__(self) -> str:
        return f"RemoteEncoder({str(self._url)!r})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Mapping[int, object]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._url, self._given)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._client.close()

    async def aclose(self) -> None:
        """Close the connections; see `close`."""
        await self._client.aclose()

    @property
    def identity(self) -> Identity:
        """The server's model and its settings; asked for once."""
        if self._answers.identity is None:
            self._answers.see_health(self._client.exchange(self._health()))
        assert self._answers.identity is not None
        return self._answers.identity

    @property
    def schema(self) -> Schema:
        """The vectors that the server makes; asked for once."""
        return self.identity.schema(self._given.name)

    @property
    def model(self) -> str:
        """The model's name, as in the schema."""
        return self.schema.model

    @property
    def options(self) -> Mapping[str, str]:
        """Settings that change the vectors, for the journal of `ingest`."""
        return self.identity.settings()

    def encode_documents(
        self, texts: Sequence[str], **options: Unpack[RemoteEncodingOptions]
    ) -> Vectors:
        """Encode texts to be stored.

        Args:
            texts: n strings; an empty one is legal.
            **options: Which vectors to make and how; see `RemoteEncodingOptions`.

        Returns:
            One row per text, in their order.

        Raises:
            EncoderUnavailableError: If the server cannot be reached, or is busy for too long.
            EncoderError: If it refuses, answers wrongly, or has another model than before.
            InvalidInputError: If a text is not a string, or holds half of a surrogate pair.
            InvalidOptionError: If an option is wrong, or asks for vectors that the server lacks.
        """
        return self._encode("documents", texts, **options)

    def encode_queries(
        self, texts: Sequence[str], **options: Unpack[RemoteEncodingOptions]
    ) -> Vectors:
        """Encode questions; arguments, result and errors are those of `encode_documents`."""
        return self._encode("queries", texts, **options)

    def encode_query(self, text: str, **options: Unpack[RemoteEncodingOptions]) -> Vector:
        """Encode one question; the options and the errors are those of `encode_documents`."""
        return self.encode_queries([text], **options)[0]

    async def aencode_documents(
        self, texts: Sequence[str], **options: Unpack[RemoteEncodingOptions]
    ) -> Vectors:
        """Encode texts to be stored, without blocking the event loop; see `encode_documents`."""
        return await self._aencode("documents", texts, **options)

    async def aencode_queries(
        self, texts: Sequence[str], **options: Unpack[RemoteEncodingOptions]
    ) -> Vectors:
        """Encode questions without blocking the event loop; see `encode_documents`."""
        return await self._aencode("queries", texts, **options)

    async def aencode_query(self, text: str, **options: Unpack[RemoteEncodingOptions]) -> Vector:
        """Encode one question without blocking the event loop; see `encode_documents`."""
        return (await self.aencode_queries([text], **options))[0]

    def tokens(self, text: str, *, max_length: int | None = None) -> list[Token]:
        """Return a text's tokens in the order of its ColBERT vectors, one for each vector.

        Args:
            text: A document or a question.
            max_length: The `max_length` with which the text was encoded.

        Raises:
            EncoderUnavailableError, EncoderError: As `encode_documents`.
        """
        return self._answers.tokens(self._client.exchange(self._tokens_request(text, max_length)))

    async def atokens(self, text: str, *, max_length: int | None = None) -> list[Token]:
        """Return a text's tokens without blocking the event loop; see `tokens`."""
        request = self._tokens_request(text, max_length)
        return self._answers.tokens(await self._client.aexchange(request))

    def convert_id_to_token(self, weights: Mapping[int, float]) -> dict[str, float]:
        """Return lexical weights under the texts of their tokens; the document is not needed.

        It is `Encoder.convert_id_to_token` with the server's tokens: if two ids have the same
        text, the higher weight is kept.

        Args:
            weights: Token ids and their weights, such as `vectors.sparse.row(0)`.

        Raises:
            EncoderUnavailableError: If the server cannot be reached, or is busy for too long.
            EncoderError: If an id is not of its model's vocabulary.
        """
        if not weights:
            return {}
        request = self._token_texts_request(weights)
        return self._answers.by_text(self._client.exchange(request), weights)

    async def aconvert_id_to_token(self, weights: Mapping[int, float]) -> dict[str, float]:
        """Do what `convert_id_to_token` does, without blocking the event loop."""
        if not weights:
            return {}
        request = self._token_texts_request(weights)
        return self._answers.by_text(await self._client.aexchange(request), weights)

    def _encode(
        self, kind: Kind, texts: Sequence[str], **options: Unpack[RemoteEncodingOptions]
    ) -> Vectors:
        checked = check_texts(texts)
        if self._answers.identity is None and _given_parts(options):
            self._answers.see_health(self._client.exchange(self._health()))
        parts, limit = self._parts(options), _max_length(options)

        def encode(batch: list[str]) -> list[Vectors]:
            request = EncodeRequest(batch, kind, parts, limit)
            answer = self._client.exchange(self._encode_request(request))
            if self._halve(answer, batch):
                middle = len(batch) // 2
                return [*encode(batch[:middle]), *encode(batch[middle:])]
            return [self._answers.vectors(answer, request)]

        encoded = in_order(
            encode,
            self._batches(checked),
            at_once=self._given.requests,
            done=_counting(options, len(checked)),
        )
        return self._joined(encoded)

    async def _aencode(
        self, kind: Kind, texts: Sequence[str], **options: Unpack[RemoteEncodingOptions]
    ) -> Vectors:
        checked = check_texts(texts)
        if self._answers.identity is None and _given_parts(options):
            self._answers.see_health(await self._client.aexchange(self._health()))
        parts, limit = self._parts(options), _max_length(options)

        async def encode(batch: list[str]) -> list[Vectors]:
            request = EncodeRequest(batch, kind, parts, limit)
            answer = await self._client.aexchange(self._encode_request(request))
            if self._halve(answer, batch):
                middle = len(batch) // 2
                return [*await encode(batch[:middle]), *await encode(batch[middle:])]
            if len(answer.content) <= _IN_LOOP_BYTES:
                return [self._answers.vectors(answer, request)]
            return [await asyncio.to_thread(self._answers.vectors, answer, request)]

        encoded = await ain_order(
            encode,
            self._batches(checked),
            at_once=self._given.requests,
            done=_counting(options, len(checked)),
        )
        if len(encoded) == 1:
            return self._joined(encoded)
        return await asyncio.to_thread(self._joined, encoded)

    def _batches(self, texts: Sequence[str]) -> list[list[str]]:
        """Return the texts of each request; no texts are a request too, as for every encoder."""
        most = self._given.batch_bytes
        return text_batches(texts, max_bytes=most, max_texts=self._most_texts) or [[]]

    def _halve(self, answer: HttpAnswer, batch: Sequence[str]) -> bool:
        """Return whether a batch was too large for the server and is sent in two halves."""
        if answer.status != 413 or len(batch) == 1:
            return False
        self._most_texts = min(self._most_texts, max(1, len(batch) // 2))
        return True

    def _joined(self, encoded: Sequence[Sequence[Vectors]]) -> Vectors:
        batches = [vectors for answered in encoded for vectors in answered]
        if len(batches) == 1:
            return batches[0]
        return Vectors.concatenate(batches)

    def _parts(self, options: RemoteEncodingOptions) -> tuple[str, ...] | None:
        """Return the parts that a call asks for; None for all that the server has."""
        given = _given_parts(options)
        if not given:
            return None
        for part, wanted in given.items():
            if wanted and part not in self.schema.parts:
                raise InvalidOptionError(
                    f"{self._url} makes {', '.join(self.schema.parts)} vectors and no {part} "
                    f"vectors, which {part}=True asks for"
                )
        parts = tuple(part for part in self.schema.parts if given.get(part) is not False)
        if not parts:
            raise InvalidOptionError("no part is left: dense, sparse and colbert are all off")
        return parts

    def _health(self) -> HttpRequest:
        return HttpRequest("GET", f"{self._prefix}/health")

    def _encode_request(self, request: EncodeRequest) -> HttpRequest:
        path = f"{self._prefix}/encode"
        return HttpRequest("POST", path, body=request.to_json(), accept=SAFETENSORS)

    def _tokens_request(self, text: str, max_length: int | None) -> HttpRequest:
        check_texts([text])
        if max_length is not None:
            max_length = at_least_one(max_length, "max_length")
        body = TokensRequest(text, max_length).to_json()
        return HttpRequest("POST", f"{self._prefix}/tokens", body=body)

    def _token_texts_request(self, weights: Mapping[int, float]) -> HttpRequest:
        body = TokenTextsRequest([int(token) for token in weights]).to_json()
        return HttpRequest("POST", f"{self._prefix}/tokens", body=body)


def _given_parts(options: RemoteEncodingOptions) -> dict[str, bool]:
    given = {
        "dense": options.get("dense"),
        "sparse": options.get("sparse"),
        "colbert": options.get("colbert"),
    }
    return {part: wanted for part, wanted in given.items() if wanted is not None}


def _max_length(options: RemoteEncodingOptions) -> int | None:
    limit = options.get("max_length")
    return None if limit is None else at_least_one(limit, "max_length")


def _counting(options: RemoteEncodingOptions, total: int) -> Callable[[list[str]], None]:
    """Return what reports the progress after each batch."""
    progress, count = options.get("progress"), 0

    def done(batch: list[str]) -> None:
        nonlocal count
        count += len(batch)
        if progress is not None and total:
            progress(count, total)

    return done
