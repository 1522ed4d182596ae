"""The options of encoders behind a URL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self, TypedDict

from trivec.arguments import at_least_one, expect, named_options
from trivec.deadline import check_seconds
from trivec.encoders.options import OnProgress
from trivec.encoders.url import EncoderUrl
from trivec.errors import InvalidOptionError
from trivec.url_options import joined_options

TOKEN = "TRIVEC_ENCODER_TOKEN"
"""The environment variable that is read where no token is given."""

BATCH_BYTES = 16 * 1024
"""Of text in one request: about 4,000 tokens, whose vectors of bge-m3 take 16 MB."""

BATCH_TEXTS = 64
"""In one request, which servers limit."""

REQUESTS = 4
"""In flight at once: enough to keep a server at work while answers travel."""

DEADLINE_SECONDS = 300.0
"""Of one request: minutes where a CPU encodes for several callers."""


@dataclass(frozen=True, kw_only=True)
class RemoteOptions:
    """Options of encoders behind a URL; each class of encoders adds its own.

    Args:
        token: What the server asks for as a bearer token; by default the environment variable
            TRIVEC_ENCODER_TOKEN. Without TLS it can be read on the way; the log warns of that once
            for each host.
        name: The model's name in the schema, if it differs from the server's.
        batch_bytes: The most bytes of text in one request; a longer text is a request by itself.
        batch_texts: The most texts in one request.
        requests: How many requests of one call are in flight at once.
        deadline: Seconds that one request may take with its repetitions and the waits between
            them.

    Raises:
        InvalidOptionError: If an option is out of range.
    """

    token: str | None = field(default=None, repr=False, metadata={"environment": TOKEN})
    name: str | None = None
    batch_bytes: int = BATCH_BYTES
    batch_texts: int = BATCH_TEXTS
    requests: int = REQUESTS
    deadline: float = DEADLINE_SECONDS

    def __post_init__(self) -> None:
        expect(self.name, (str, type(None)), "name", "the name of a model")
        if self.token is not None:
            check_token(self.token, "token")
        for option in ("batch_bytes", "batch_texts", "requests"):
            object.__setattr__(self, option, at_least_one(getattr(self, option), option))
        object.__setattr__(self, "deadline", check_seconds(self.deadline, "deadline"))

    @classmethod
    def of(cls, where: str, given: Mapping[str, object]) -> Self:
        """Return options given by name, such as the keyword arguments of `open_encoder`.

        Args:
            where: What the options are for, which an error begins with.
            given: Values by the names of options.

        Raises:
            InvalidOptionError: If a name is unknown or a value out of range.
        """
        return named_options(cls, where, given)

    @classmethod
    def of_url(cls, url: EncoderUrl, given: Mapping[str, object]) -> Self:
        """Return the options in a URL, with those given by name.

        Args:
            url: The URL, whose options are converted to their types.
            given: Values by the names of options.

        Raises:
            InvalidOptionError: As `of`; also if an option is given twice, or the URL holds a
                secret, which is any option whose field has `repr=False`.
        """
        return cls.of(url.scheme, joined_options(cls, url.scheme, url.options, given))


class RemoteEncodingOptions(TypedDict, total=False):
    """The keyword options of `RemoteEncoder.encode_documents` and the other methods.

    `dense`, `sparse` and `colbert` say which vectors to make, by default those that the server
    can; `max_length` is the most tokens of a text; `progress` is called after each request with
    the number of texts done and the number of all texts.
    """

    dense: bool | None
    sparse: bool | None
    colbert: bool | None
    max_length: int | None
    progress: OnProgress | None


def check_token(token: object, what: str) -> str:
    """Return a token that can be sent in a header.

    Raises:
        InvalidOptionError: If it cannot; the message does not show it.
    """
    if not (isinstance(token, str) and token and token.isascii() and token.isprintable()):
        raise InvalidOptionError(
            f"{what}: expected a text of printable ASCII characters, without a line break at its "
            "end"
        )
    return token
