"""The methods of all encoders on servers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Self, Unpack

from trivec.encoders.known import remember
from trivec.encoders.remote.connected import Connected
from trivec.encoders.remote.identity import Identity
from trivec.encoders.remote.options import RemoteEncodingOptions, RemoteOptions
from trivec.encoders.remote.wire import Kind
from trivec.encoders.url import EncoderUrl
from trivec.errors import InvalidOptionError
from trivec.schema import Schema
from trivec.vectors import Vector, Vectors


class ServerEncoder(Connected, ABC):
    """An encoder on a server; importing it and using it needs no torch.

    Any number of threads and event loops can use one encoder. Copies are the same encoder; a
    pickle opens it again. Nothing is sent before the first use.

    Args:
        url: The server.
        options: The options of the class.
        token: What to send where the options have no token.
    """

    def __init__(
        self, url: EncoderUrl, options: RemoteOptions, *, token: str | None = None
    ) -> None:
        super().__init__(url, options, token=token)
        self._options = options
        remember(self)

    @classmethod
    @abstractmethod
    def from_url(cls, url: EncoderUrl, options: Any) -> Self:  # noqa: ANN401 - of the class
        """Return the encoder behind a URL; nothing is sent yet."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._url, self._options)

    @property
    @abstractmethod
    def identity(self) -> Identity:
        """The server's model and its settings; asked for once."""

    @property
    @abstractmethod
    def is_known(self) -> bool:
        """Whether the server has said its identity, so that no property needs a request."""

    @property
    def schema(self) -> Schema:
        """The vectors that the server makes; asked for once."""
        return self.identity.schema(self._options.name)

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

    def _chosen(self, made: Sequence[str], options: RemoteEncodingOptions) -> tuple[str, ...]:
        """Return the parts to make.

        Args:
            made: The parts that the server makes.
            options: The options of the call.

        Raises:
            InvalidOptionError: If an option asks for what the server cannot make, or no part is
                left.
        """
        given = given_parts(options)
        for part, wanted in given.items():
            if wanted and part not in made:
                advice = self._missing(part)
                raise InvalidOptionError(
                    f"{self._url} makes {', '.join(made)} vectors and no {part} vectors, which "
                    f"{part}=True asks for{'; ' if advice else ''}{advice}"
                )
        parts = tuple(part for part in made if given.get(part) is not False)
        if not parts:
            raise InvalidOptionError("no part is left: dense, sparse and colbert are all off")
        return parts

    def _missing(self, part: str) -> str:
        """Return what to do about a part that the server does not make; "" if that is clear."""
        return ""

    @abstractmethod
    def _encode(
        self, kind: Kind, texts: Sequence[str], **options: Unpack[RemoteEncodingOptions]
    ) -> Vectors: ...

    @abstractmethod
    async def _aencode(
        self, kind: Kind, texts: Sequence[str], **options: Unpack[RemoteEncodingOptions]
    ) -> Vectors: ...


def given_parts(options: RemoteEncodingOptions) -> dict[str, bool]:
    """Return which parts the options of a call want and do not want; None is neither."""
    given = {
        "dense": options.get("dense"),
        "sparse": options.get("sparse"),
        "colbert": options.get("colbert"),
    }
    return {part: wanted for part, wanted in given.items() if wanted is not None}
