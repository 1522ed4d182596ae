"""The URL of an encoder: which kind of server, where, and its options."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from trivec.addresses import PORTS, host_name, redacted
from trivec.arguments import described
from trivec.errors import InvalidOptionError
from trivec.url_options import query_options

_URL = re.compile(r"([a-z][a-z0-9]*(?:[+-][a-z0-9]+)*)(://.*)", re.DOTALL)
_REPEATED = 200  # characters of a URL that an error repeats


@dataclass(frozen=True, slots=True)
class EncoderUrl:
    """The parts of an encoder's URL.

    Args:
        scheme: Which kind of server, such as "trivec" or, with TLS, "trivecs".
        host: The server's host.
        port: The port, where the URL has one.
        path: What follows, without the slashes around it: a prefix of the server's paths, or a
            model's name.
        options: The texts of the options after a question mark, by their names.
    """

    scheme: str
    host: str
    port: int | None = None
    path: str = ""
    options: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)

    @classmethod
    def parse(cls, url: str) -> EncoderUrl:
        """Read `scheme://host:port/path?option=value&option=value`.

        Raises:
            InvalidOptionError: If the URL has another form, or holds a password.

        Example:
            >>> url = EncoderUrl.parse("openai+http://localhost:8000/v1?model=BAAI/bge-m3")
            >>> url.port, url.path, url.options
            (8000, 'v1', {'model': 'BAAI/bge-m3'})
        """
        match = _URL.fullmatch(url)
        if match is None or url != url.strip() or not url.isprintable():
            raise InvalidOptionError(f"{shown_url(url)} is not the URL of an encoder; {_FORM}")
        if set("@#") & set(match[2]):
            raise InvalidOptionError(
                f"{shown_url(url)}: credentials do not belong in a URL, where logs show them; use "
                "the encoder's options or its environment variables. In the value of an option, "
                "@ is written as %40 and # as %23"
            )
        address, _, query = url.partition("?")
        try:
            parts = urlsplit(address)
            port = parts.port
        except ValueError:
            # Its message may repeat a password, so it is no cause either.
            raise InvalidOptionError(f"{shown_url(url)}: {_FORM}") from None
        host = host_name(parts.hostname or "", in_brackets="[" in parts.netloc)
        if host is None or (port is not None and port not in PORTS):
            raise InvalidOptionError(f"{shown_url(url)}: {_FORM}")
        options = query_options(query, shown_url(url))
        return cls(match[1], host, port, parts.path.strip("/"), options)

    def http(self, port: int, *, tls: bool) -> str:
        """Return the address of the server for an HTTP client, without the path.

        Args:
            port: The port where the URL has none.
            tls: Whether to use TLS.

        >>> EncoderUrl("trivec", "::1").http(7600, tls=False)
        'http://[::1]:7600'
        """
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if tls else 'http'}://{host}:{self.port or port}"

    def __str__(self) -> str:
        """The URL without its options."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}://{host}{port}{'/' if self.path else ''}{self.path}"


_FORM = (
    "expected such as 'trivec://localhost:7600', with an IPv6 address in brackets and a port from "
    f"{PORTS[0]} to {PORTS[-1]}"
)


def is_url(text: str) -> bool:
    """Return whether a text has a scheme, and so is no model name or folder.

    >>> is_url("trivec://localhost:7600"), is_url("BAAI/bge-m3"), is_url("C:/models/bge-m3")
    (True, False, False)
    """
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None


def shown_url(url: object) -> str:
    """Return a URL for an error message, without anything that may be a password or a key."""
    if not isinstance(url, str):
        return described(url)
    scheme, colon, rest = url.partition(":")
    text = f"{scheme}{colon}{redacted(rest)}" if colon else redacted(url)
    return repr(text if len(text) <= _REPEATED else f"{text[:_REPEATED]}…")
