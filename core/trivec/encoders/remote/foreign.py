"""Encoders on servers that know nothing of trivec: what all of them have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, Unpack

import numpy as np
from numpy.typing import NDArray

from trivec.arguments import expect
from trivec.encoders.remote.batches import text_batches
from trivec.encoders.remote.exchange import HttpAnswer, HttpRequest
from trivec.encoders.remote.identity import Identity
from trivec.encoders.remote.options import RemoteEncodingOptions, RemoteOptions
from trivec.encoders.remote.sender import BatchSender, counting
from trivec.encoders.remote.server_encoder import ServerEncoder
from trivec.encoders.remote.wire import Kind
from trivec.encoders.tokenizer import check_texts
from trivec.encoders.url import EncoderUrl
from trivec.errors import InvalidOptionError
from trivec.schema import Schema
from trivec.twins import Twin, arun, either, run
from trivec.vectors import Vectors


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


class ForeignEncoder(ServerEncoder):
    """An encoder on another people's server; importing it and using it needs no torch.

    Any number of threads and event loops can use one encoder. Copies are the same encoder; a
    pickle opens it again. Nothing is sent before the first use.

    Args:
        url: The server.
        options: See the class of the options.
        token: What to send where the options have no token.
    """

    options_class: ClassVar[type[ForeignOptions]] = ForeignOptions

    def __init__(
        self, url: EncoderUrl, options: ForeignOptions, *, token: str | None = None
    ) -> None:
        super().__init__(url, options, token=token)
        self._given = options
        self._identity: Identity | None = None

    @classmethod
    def from_url(cls, url: EncoderUrl, options: Any) -> Self:  # noqa: ANN401 - of options_class
        """Return the encoder behind a URL; nothing is sent yet."""
        return cls(url, options)

    @property
    def identity(self) -> Identity:
        """The server's model and its settings; asked for once."""
        return run(self._known())

    @property
    def is_known(self) -> bool:
        """Whether the server has said its identity, so that no property needs a request."""
        return self._identity is not None

    def _encode(
        self, kind: Kind, texts: Sequence[str], **options: Unpack[RemoteEncodingOptions]
    ) -> Vectors:
        return run(self._vectors(kind, texts, **options))

    async def _aencode(
        self, kind: Kind, texts: Sequence[str], **options: Unpack[RemoteEncodingOptions]
    ) -> Vectors:
        return await arun(self._vectors(kind, texts, **options))

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
        return "leave the option out, or use `trivec serve`, which makes all three"

    def _settings(self) -> dict[str, str]:
        """Return what changes the vectors of documents besides the server, for its identity."""
        instruction = self._given.document_instruction
        return {"document_instruction": instruction} if instruction else {}

    def _known(self) -> Twin[Identity]:
        if self._identity is None:
            self._identity = yield from self._describe()
        return self._identity

    def _exchange(self, request: HttpRequest) -> Twin[HttpAnswer]:
        """Send one request and return its answer, whose status is 200."""
        answer = yield from either(self._client.exchange, self._client.aexchange, request)
        return answer.checked()

    def _vectors(
        self, kind: Kind, texts: Sequence[str], **options: Unpack[RemoteEncodingOptions]
    ) -> Twin[Vectors]:
        given = self._given
        is_document = kind == "documents"
        instruction = given.document_instruction if is_document else given.query_instruction
        checked = check_texts(texts)
        schema = (yield from self._known()).schema()
        parts = self._parts(schema, options)
        if not checked:
            return _empty(schema, parts)
        instructed = [instruction + text for text in checked]
        batches = yield from self._prepare(instructed, parts)
        sender = BatchSender(
            self._client,
            lambda batch: self._request(batch, parts),
            Batch.halves,
            lambda batch, answer: self._read(batch, parts, answer),
            at_once=given.requests,
            done=counting(options.get("progress"), len(checked)),
        )
        encoded = yield from either(sender.send, sender.asend, batches)
        if is_document:
            yield from self._confirm()
        return encoded[0] if len(encoded) == 1 else Vectors.concatenate(encoded)

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
        return self._chosen(schema.parts, options)


def _empty(schema: Schema, parts: Sequence[str]) -> Vectors:
    return Vectors.from_rows(
        [],
        dense=schema.dense if "dense" in parts else None,
        sparse="sparse" in parts,
        colbert=schema.colbert if "colbert" in parts else None,
    )
