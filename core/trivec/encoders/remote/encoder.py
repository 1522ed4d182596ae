"""An encoder that `trivec serve` runs somewhere else."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Self, Unpack

from trivec.arguments import at_least_one
from trivec.encoders.protocol import Token
from trivec.encoders.remote.answers import Answers
from trivec.encoders.remote.batches import text_batches
from trivec.encoders.remote.exchange import HttpRequest
from trivec.encoders.remote.identity import Identity
from trivec.encoders.remote.options import RemoteEncodingOptions, RemoteOptions
from trivec.encoders.remote.sender import BatchSender, counting
from trivec.encoders.remote.server_encoder import ServerEncoder, given_parts
from trivec.encoders.remote.wire import (
    SAFETENSORS,
    EncodeRequest,
    Kind,
    TokensRequest,
    TokenTextsRequest,
)
from trivec.encoders.tokenizer import check_texts
from trivec.encoders.url import EncoderUrl
from trivec.vectors import Vectors


class RemoteEncoder(ServerEncoder):
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
        super().__init__(url, options)
        self._answers = Answers(str(url))
        self._most_texts = options.batch_texts  # less after the server has refused as many

    @classmethod
    def from_url(cls, url: EncoderUrl, options: RemoteOptions) -> Self:
        """Return the encoder behind a URL; nothing is sent yet."""
        return cls(url, options)

    @property
    def identity(self) -> Identity:
        """The server's model and its settings; asked for once."""
        if self._answers.identity is None:
            self._answers.see_health(self._client.exchange(self._health()))
        assert self._answers.identity is not None
        return self._answers.identity

    @property
    def is_known(self) -> bool:
        """Whether the server has said its identity, so that no property needs a request."""
        return self._answers.identity is not None

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
        if self._answers.identity is None and given_parts(options):
            self._answers.see_health(self._client.exchange(self._health()))
        sender = self._sender(options, len(checked))
        return _joined(sender.send(self._requests(kind, checked, options)))

    async def _aencode(
        self, kind: Kind, texts: Sequence[str], **options: Unpack[RemoteEncodingOptions]
    ) -> Vectors:
        checked = check_texts(texts)
        if self._answers.identity is None and given_parts(options):
            self._answers.see_health(await self._client.aexchange(self._health()))
        sender = self._sender(options, len(checked))
        encoded = await sender.asend(self._requests(kind, checked, options))
        if len(encoded) == 1:
            return encoded[0]
        return await asyncio.to_thread(_joined, encoded)

    def _sender(
        self, options: RemoteEncodingOptions, total: int
    ) -> BatchSender[EncodeRequest, Vectors]:
        return BatchSender(
            self._client,
            self._encode_request,
            self._halves,
            self._answers.vectors,
            at_once=self._options.requests,
            done=counting(options.get("progress"), total),
        )

    def _requests(
        self, kind: Kind, texts: Sequence[str], options: RemoteEncodingOptions
    ) -> list[EncodeRequest]:
        """Return the requests for texts; no texts are a request too, as for every encoder."""
        parts, limit = self._parts(options), _max_length(options)
        most = self._options.batch_bytes
        batches = text_batches(texts, max_bytes=most, max_texts=self._most_texts) or [[]]
        return [EncodeRequest(batch, kind, parts, limit) for batch in batches]

    def _halves(self, request: EncodeRequest) -> tuple[EncodeRequest, EncodeRequest]:
        """Return both halves of a request; those after it have no more texts than a half."""
        texts, middle = request.texts, len(request.texts) // 2
        self._most_texts = min(self._most_texts, middle)
        return replace(request, texts=texts[:middle]), replace(request, texts=texts[middle:])

    def _parts(self, options: RemoteEncodingOptions) -> tuple[str, ...] | None:
        """Return the parts that a call asks for; None for all that the server has."""
        return self._chosen(self.schema.parts, options) if given_parts(options) else None

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


def _max_length(options: RemoteEncodingOptions) -> int | None:
    limit = options.get("max_length")
    return None if limit is None else at_least_one(limit, "max_length")


def _joined(encoded: Sequence[Vectors]) -> Vectors:
    return encoded[0] if len(encoded) == 1 else Vectors.concatenate(encoded)
