"""Encoders on servers that know nothing of trivec: what all of them have in common."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, Unpack

import numpy as np
from numpy.typing import NDArray

from trivec.arguments import expect
from trivec.encoders.options import OnProgress
from trivec.encoders.remote.batches import ain_order, in_order, text_batches
from trivec.encoders.remote.http import HttpAnswer, HttpClient, HttpRequest
from trivec.encoders.remote.identity import Identity
from trivec.encoders.remote.options import RemoteEncodingOptions, RemoteOptions
from trivec.encoders.remote.wire import PARTS
from trivec.encoders.tokenizer import check_texts
from trivec.encoders.url import EncoderUrl
from trivec.errors import InvalidOptionError
from trivec.schema import Schema
from trivec.twins import Twin, arun, either, run
from trivec.vectors import Vector, Vectors

PORTS = {False: 80, True: 443}
"""The ports of http and https, where a URL has none."""


@dataclass(frozen=True, kw_only=True)
class ForeignOptions(RemoteOptions):
    """Options of encoders on other people's servers; each class of encoders adds its own.

    Args:
        query_instruction: The text that is put before each question.
        document_instruction: The text that is put before each document.
    """

    query_instruction: str = ""
    document_instruction: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        for option in ("query_instruction", "document_instruction"):
            expect(getattr(self, option), str, option, "a string")


@dataclass(frozen=True, slots=True)
class Batch:
    """The texts of one request.

    Args:
        texts: The texts, with their instruction.
        ids: The token ids of each text, if the answer is read with them.
    """

    texts: Sequence[str]
    ids: Sequence[NDArray[np.int64]] = ()

    def halves(self) -> tuple[Batch, Batch]:
        """Return both halves."""
        middle = len(self.texts) // 2
        return (
            Batch(self.texts[:middle], self.ids[:middle]),
            Batch(self.texts[middle:], self.ids[middle:]),
        )


Read = Callable[[Batch, HttpAnswer], Vectors]
"""Reads the vectors of a batch from an answer whose status is 200."""


class ForeignEncoder(ABC):
    """An encoder on another people's server; importing it and using it needs no torch.

    Any number of threads and event loops can use one encoder. Copies are the same encoder; a
    pickle opens it again. Nothing is sent before the first use.

    Args:
        url: The server.
        options: See the class of the options.
    """

    options_class: ClassVar[type[ForeignOptions]] = ForeignOptions

    def __init__(self, url: EncoderUrl, options: ForeignOptions) -> None:
        self._url = url
        self._given = options
        self._client = http_client(url, options)
        self._identity: Identity | None = None

    @classmethod
    def from_url(cls, url: EncoderUrl, options: Any) -> Self:  # noqa: ANN401 - of options_class
        """Return the encoder behind a URL; nothing is sent yet."""
        return cls(url, options)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._url)!r})"

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

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._client.close()

    async def aclose(self) -> None:
        """Close the connections; see `close`."""
        await self._client.aclose()

    @property
    def identity(self) -> Identity:
        """The server's model and its settings; asked for once."""
        return run(self._known())

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
            texts: n strings.
            **options: Which vectors to make; see `RemoteEncodingOptions`. The server itself
                decides where it cuts a text, so `max_length` is refused.

        Returns:
            One row per text, in their order.

        Raises:
            EncoderUnavailableError: If the server cannot be reached, or is busy for too long.
            EncoderError: If it refuses, answers wrongly, or has another model than before.
            InvalidInputError: If a text is not a string, or holds half of a surrogate pair.
            InvalidOptionError: If an option is wrong, or asks for vectors that the server lacks.
        """
        return run(self._documents(texts, **options))

    def encode_queries(
        self, texts: Sequence[str], **options: Unpack[RemoteEncodingOptions]
    ) -> Vectors:
        """Encode questions; arguments, result and errors are those of `encode_documents`."""
        return run(self._encode(self._given.query_instruction, texts, **options))

    def encode_query(self, text: str, **options: Unpack[RemoteEncodingOptions]) -> Vector:
        """Encode one question; the options and the errors are those of `encode_documents`."""
        return self.encode_queries([text], **options)[0]

    async def aencode_documents(
        self, texts: Sequence[str], **options: Unpack[RemoteEncodingOptions]
    ) -> Vectors:
        """Encode texts to be stored, without blocking the event loop; see `encode_documents`."""
        return await arun(self._documents(texts, **options))

    async def aencode_queries(
        self, texts: Sequence[str], **options: Unpack[RemoteEncodingOptions]
    ) -> Vectors:
        """Encode questions without blocking the event loop; see `encode_documents`."""
        return await arun(self._encode(self._given.query_instruction, texts, **options))

    async def aencode_query(self, text: str, **options: Unpack[RemoteEncodingOptions]) -> Vector:
        """Encode one question without blocking the event loop; see `encode_documents`."""
        return (await self.aencode_queries([text], **options))[0]

    @abstractmethod
    def _describe(self) -> Twin[Identity]:
        """Ask the server which vectors it makes."""

    @abstractmethod
    def _request(self, batch: Batch, parts: Sequence[str]) -> HttpRequest:
        """Return the request for these parts of a batch."""

    @abstractmethod
    def _read(self, batch: Batch, parts: Sequence[str], answer: HttpAnswer) -> Vectors:
        """Return the vectors in the answer to `_request`.

        Raises:
            EncoderError: If the answer does not hold them.
        """

    def _prepare(self, texts: Sequence[str], parts: Sequence[str]) -> Twin[list[Batch]]:
        """Return the texts in batches."""
        given = self._given
        batches = text_batches(texts, max_bytes=given.batch_bytes, max_texts=given.batch_texts)
        return [Batch(batch) for batch in batches]
        yield  # a twin that calls nothing

    def _confirm(self) -> Twin[None]:
        """Ask again which model the server has, if its answers do not say so.

        Raises:
            EncoderError: If it is another one than at first.
        """
        return None
        yield  # a twin that calls nothing

    def _missing(self, part: str) -> str:
        """Return what to do about a part that the server does not make."""
        return "leave the option out, or use `trivec serve`, which makes all three"

    def _known(self) -> Twin[Identity]:
        if self._identity is None:
            self._identity = yield from self._describe()
        return self._identity

    def _exchange(self, request: HttpRequest) -> Twin[HttpAnswer]:
        """Send one request and return its answer, whose status is 200."""
        answer = yield from either(self._client.exchange, self._client.aexchange, request)
        return answer.checked()

    def _documents(
        self, texts: Sequence[str], **options: Unpack[RemoteEncodingOptions]
    ) -> Twin[Vectors]:
        vectors = yield from self._encode(self._given.document_instruction, texts, **options)
        yield from self._confirm()
        return vectors

    def _encode(
        self, instruction: str, texts: Sequence[str], **options: Unpack[RemoteEncodingOptions]
    ) -> Twin[Vectors]:
        checked = check_texts(texts)
        schema = (yield from self._known()).schema()
        parts = self._parts(schema, options)
        if not checked:
            return _empty(schema, parts)
        instructed = [instruction + text for text in checked]
        batches = yield from self._prepare(instructed, parts)
        encoded = yield from self._answers(
            batches,
            lambda batch: self._request(batch, parts),
            lambda batch, answer: self._read(batch, parts, answer),
            _counting(options.get("progress"), len(checked)),
        )
        return encoded[0] if len(encoded) == 1 else Vectors.concatenate(encoded)

    def _answers(
        self,
        batches: Sequence[Batch],
        request: Callable[[Batch], HttpRequest],
        read: Read,
        done: Callable[[Batch], None] = lambda batch: None,
    ) -> Twin[list[Vectors]]:
        """Send the requests for batches side by side, and return what is read, in order.

        A batch that is too large for the server is sent in halves.
        """

        def encode(batch: Batch) -> list[Vectors]:
            answer = self._client.exchange(request(batch))
            if answer.status == 413 and len(batch.texts) > 1:
                return [vectors for half in batch.halves() for vectors in encode(half)]
            return [read(batch, answer.checked())]

        async def aencode(batch: Batch) -> list[Vectors]:
            answer = await self._client.aexchange(request(batch))
            if answer.status == 413 and len(batch.texts) > 1:
                first, second = batch.halves()
                return [*await aencode(first), *await aencode(second)]
            return [await asyncio.to_thread(read, batch, answer.checked())]

        at_once = self._given.requests
        answered = yield from either(
            lambda: in_order(encode, batches, at_once=at_once, done=done),
            lambda: ain_order(aencode, batches, at_once=at_once, done=done),
        )
        return [vectors for batch in answered for vectors in batch]

    def _parts(self, schema: Schema, options: RemoteEncodingOptions) -> tuple[str, ...]:
        """Return the parts to make.

        Raises:
            InvalidOptionError: If an option asks for what the server cannot give.
        """
        if options.get("max_length") is not None:
            raise InvalidOptionError(
                f"{self._url} decides itself how many tokens of a text it reads; leave max_length "
                "out"
            )
        given = {
            "dense": options.get("dense"),
            "sparse": options.get("sparse"),
            "colbert": options.get("colbert"),
        }
        for part in PARTS:
            if given[part] and part not in schema.parts:
                raise InvalidOptionError(
                    f"{self._url} makes {', '.join(schema.parts)} vectors and no {part} vectors, "
                    f"which {part}=True asks for; {self._missing(part)}"
                )
        parts = tuple(part for part in schema.parts if given[part] is not False)
        if not parts:
            raise InvalidOptionError("no part is left: dense, sparse and colbert are all off")
        return parts


def http_client(url: EncoderUrl, options: RemoteOptions, *, token: str | None = None) -> HttpClient:
    """Return a client of the server that a URL with "+http" or "+https" names.

    Args:
        url: The URL; its path is for the caller.
        options: The token, and how to send requests.
        token: What to send where the options have no token.
    """
    tls = url.scheme.endswith("+https")
    return HttpClient(
        url.http(PORTS[tls], tls=tls),
        token=options.token or token,
        deadline=options.deadline,
    )


def _empty(schema: Schema, parts: Sequence[str]) -> Vectors:
    return Vectors.from_rows(
        [],
        dense=schema.dense if "dense" in parts else None,
        sparse="sparse" in parts,
        colbert=schema.colbert if "colbert" in parts else None,
    )


def _counting(progress: OnProgress | None, total: int) -> Callable[[Batch], None]:
    """Return what reports the progress after each batch."""
    count = 0

    def done(batch: Batch) -> None:
        nonlocal count
        count += len(batch.texts)
        if progress is not None:
            progress(count, total)

    return done
