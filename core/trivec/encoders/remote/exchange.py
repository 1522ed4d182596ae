"""A request to an HTTP server, and its answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from trivec.encoders.remote.options import TOKEN
from trivec.errors import EncoderError

_MOST_CHARACTERS = 300  # of a server's message


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request.

    Args:
        method: GET or POST.
        path: The path, with a slash at its start.
        body: JSON, or None.
        accept: The media type of the answer.
    """

    method: Literal["GET", "POST"]
    path: str
    body: bytes | None = None
    accept: str = "application/json"


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An answer that ended, of any status but those of a busy server.

    Args:
        request: What it answers.
        address: The server's.
        status: The status.
        headers: The headers, by their names in lower case.
        content: The body.
        secret: What its message must not show.
    """

    request: HttpRequest
    address: str
    status: int
    headers: Mapping[str, str]
    content: bytes = field(repr=False)
    secret: str = field(default="", repr=False)

    @property
    def where(self) -> str:
        """The request in an error message."""
        return f"{self.request.method} {self.address}{self.request.path}"

    @property
    def type(self) -> str:
        """The media type of the body, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def message(self) -> str:
        """Return the server's words on one line, shortened and without the token."""
        return server_message(self.content, self.secret)

    def error(self) -> EncoderError:
        """Return the error for a status other than 200."""
        what = f"{self.where}: status {self.status}: {self.message()}"
        if 300 <= self.status < 400:
            return EncoderError(
                f"{self.where}: the server redirects to {self._target()}; give the address of the "
                "encoder itself"
            )
        if self.status in (401, 403):
            return EncoderError(
                f"{what}. The server wants a token: give `token`, or set {TOKEN}"
                if not self.secret
                else f"{what}. The server refuses this token"
            )
        return EncoderError(what)

    def _target(self) -> str:
        """Return the host of a redirection, without what may be a secret."""
        with suppress(ValueError):  # a malformed address
            target = urlsplit(self.headers.get("location", ""))
            if target.hostname:
                return f"{target.scheme}://{target.hostname}"[:100]
        return "elsewhere"

    def checked(self) -> HttpAnswer:
        """Return the answer if its status is 200.

        Raises:
            EncoderError: If it is another one.
        """
        if self.status != 200:
            raise self.error()
        return self

    def json(self) -> Any:  # noqa: ANN401 - any JSON
        """Return the body as JSON.

        Raises:
            EncoderError: If it is none.
        """
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError):
            raise EncoderError(
                f"{self.where}: expected JSON, got {self.type or 'no type'}: {self.message()}; is "
                "there a proxy in between, or another kind of server?"
            ) from None


def server_message(content: bytes, secret: str) -> str:
    """Return a server's words on one line, without control characters and the secret."""
    text = content[:20_000].decode("utf-8", "replace")
    with suppress(ValueError, RecursionError):
        value = json.loads(text)
        for name in ("error", "message", "detail"):
            inner = value.get(name) if isinstance(value, dict) else None
            value = inner if isinstance(inner, str | dict) else value
        text = value if isinstance(value, str) else text
    if secret:
        text = text.replace(secret, "***")
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"
