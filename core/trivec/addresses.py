"""Addresses of servers: their hosts and ports, and URLs without the secrets in them."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address

PORTS = range(1, 2**16)

_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


def redacted(text: str) -> str:
    """Return the part of a server's URL after its scheme, without what may be a secret.

    Left out is everything before an `@`, everything after a `?`, `#` or `=`, and a port that is no
    number.

    >>> redacted("//me:secret@host:6333/name?api_key=secret"), redacted("//me:secret/name")
    ('//…@host:6333/name?…', '//me:…/name')
    """
    if "@" in text:
        user, _, rest = text.rpartition("@")
        rest = "" if set("?#=") & set(user) else rest  # which may belong to a query
        text = ("//" if text.startswith("//") else "") + "…@" + rest
    text = re.sub(r"([?#=]).+", r"\1…", text, flags=re.DOTALL)
    return re.sub(r"^(//[^/:\[\]]*:)(?!\d{1,5}(?:/|$))[^/]+", r"\1…", text)


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine (RFC 6761, section 6.3).

    >>> [is_loopback(host) for host in ("localhost", "127.0.0.2", "::1", "10.0.0.1", "db")]
    [True, True, True, False, False]
    """
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def host_name(name: str, *, in_brackets: bool) -> str | None:
    """Return the ASCII name or the address of a host, or None if it is neither."""
    try:
        if in_brackets:
            return name if IPv6Address(name) else None
        if not name.isascii():
            name = name.encode("idna").decode()
        if "xn--" in name:
            name.encode().decode("idna")
    except ValueError:
        return None
    labels = name.removesuffix(".").split(".")
    return name if len(name) <= 253 and all(map(_LABEL.fullmatch, labels)) else None
