"""The options of a server: its limits and its token."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from trivec.arguments import at_least_one, expect
from trivec.errors import InvalidOptionError

MIB = 1024 * 1024


def _flag(default: float, help: str) -> Any:  # noqa: ANN401 - of the field's type
    """Return a field that is an option of `trivec serve` too, with this text in its help."""
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """The limits of a server, and its token.

    One byte of text becomes up to 1 KB of ColBERT vectors of BGE-M3 (a token of 4 bytes is 1,024
    numbers of 4 bytes), so `queue_bytes` bounds the memory of all answers that wait to be sent.

    Args:
        token: The bearer token that each request must carry, or None to serve everybody.
        max_texts: The most texts of a request; more are refused with 413.
        max_bytes: The most bytes of a request's body; more are refused with 413.
        queue_texts: The most texts that may be accepted and not yet answered; a request that
            comes on top of them is refused with 503.
        queue_bytes: The most bytes of request bodies that may be accepted and not yet answered.
        timeout: The seconds within which a client must send its request, and take each MiB of its
            answer.
        share: The most texts of one computation. Texts of small requests share a computation;
            larger requests are computed piece by piece, so that others come in between.

    Raises:
        InvalidOptionError: If a limit is below 1, the queue holds less than one request, or the
            token is empty or holds characters that an HTTP header cannot carry.
    """

    token: str | None = field(default=None, repr=False)
    max_texts: int = _flag(1024, "The most texts of a request.")
    max_bytes: int = _flag(2 * MIB, "The most bytes of a request.")
    queue_texts: int = _flag(8192, "The most texts that are accepted and not yet answered.")
    queue_bytes: int = _flag(16 * MIB, "The most bytes that are accepted and not yet answered.")
    timeout: float = _flag(30.0, "Seconds for a client to send a request, or take an answer.")
    share: int = 64

    def __post_init__(self) -> None:
        for name in ("max_texts", "max_bytes", "queue_texts", "queue_bytes", "share"):
            at_least_one(getattr(self, name), name)
        expect(self.timeout, (int, float), "timeout", "a number of seconds")
        if not 0 < self.timeout < 86_400:
            raise InvalidOptionError(f"timeout={self.timeout} must be above 0 and below a day")
        for unit in ("texts", "bytes"):
            most, queue = getattr(self, f"max_{unit}"), getattr(self, f"queue_{unit}")
            if queue < most:
                raise InvalidOptionError(
                    f"queue_{unit}={queue} is less than one request may have: max_{unit}={most}"
                )
        if self.token is not None:
            expect(self.token, str, "token", "a string")
            if not self.token or not self.token.isascii() or not self.token.isprintable():
                raise InvalidOptionError("token: expected printable ASCII characters, at least one")
            if self.token != self.token.strip():
                raise InvalidOptionError("token: it begins or ends with a blank")
