"""The URL of a collection: which database, where, and the collection's name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from trivec.errors import InvalidOptionError

__all__ = ["StoreUrl"]

_SCHEME = re.compile(r"([a-z][a-z0-9]*(?:\+[a-z0-9]+)?):(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """The parts of a store's URL.

    Args:
        scheme: Which store, such as "qdrant" or "milvus+lite".
        name: The collection.
        host: The server, or None for an embedded store.
        port: The port, where the URL has one.
        path: The folder or file of an embedded store, or None.
    """

    scheme: str
    name: str
    host: str | None = None
    port: int | None = None
    path: Path | None = None

    @classmethod
    def parse(cls, url: str) -> StoreUrl:
        """Read `scheme://host:port/name` or `scheme:PATH/name`.

        Raises:
            InvalidOptionError: If it has neither form, or holds a password.

        Example:
            >>> url = StoreUrl.parse("qdrant+edge:./data/articles")
            >>> url.scheme, str(url.path), url.name
            ('qdrant+edge', 'data', 'articles')

        A `~` at the start of a path is the home folder.
        """
        match = _SCHEME.fullmatch(url) if isinstance(url, str) else None
        if match is None or url != url.strip() or not url.isprintable():
            raise InvalidOptionError(
                f"{url!r} is not the URL of a store; expected such as 'qdrant://localhost:6333/name'"
                " or 'qdrant+edge:./folder/name', without white space around it"
            )
        scheme, rest = match.groups()
        if rest.startswith("//"):
            if _is_embedded(scheme):
                raise InvalidOptionError(
                    f"{url!r}: {scheme} speaks to no server, so no // follows it; "
                    f"write {_without_slashes(scheme, rest)!r}"
                )
            return cls._server(scheme, url)
        if "\\" in rest:
            raise InvalidOptionError(
                f"{url!r}: folders are separated by /; write {url.replace(chr(92), '/')!r}"
            )
        folder, _, name = rest.rpartition("/")
        if not name:
            raise InvalidOptionError(
                f"{url!r} ends without the name of a collection; expected {scheme}:FOLDER/name"
            )
        if name in (".", ".."):
            raise InvalidOptionError(f"{url!r}: {name!r} cannot be the name of a collection")
        return cls(scheme, name, path=_path(url, scheme, rest, folder))

    def __str__(self) -> str:
        """The URL with its path made absolute: the same wherever the program runs."""
        if self.host is not None:
            port = "" if self.port is None else f":{self.port}"
            host = f"[{self.host}]" if ":" in self.host else self.host
            return f"{self.scheme}://{host}{port}/{self.name}"
        folder = "" if self.path is None else self.path.resolve().as_posix()
        return f"{self.scheme}:{folder}/{self.name}"

    @classmethod
    def _server(cls, scheme: str, url: str) -> StoreUrl:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise InvalidOptionError(
                f"{url!r} has no valid host and port ({error}); "
                f"expected {scheme}://host:port/name, an IPv6 address in brackets"
            ) from error
        name = parts.path.strip("/")
        if parts.username or parts.password:
            raise InvalidOptionError(
                "credentials do not belong in a URL, where logs show them; "
                "use the store's options or its environment variables"
            )
        if parts.hostname and not name:
            raise InvalidOptionError(
                f"{url!r} ends without the name of a collection; expected {scheme}://host:port/name"
            )
        if (
            not parts.hostname
            or parts.hostname.startswith((".", "~"))
            or " " in parts.hostname
            or "/" in name
            or parts.query
            or parts.fragment
        ):
            raise InvalidOptionError(f"{url!r} must have the form {scheme}://host:port/name")
        return cls(scheme, name, host=parts.hostname, port=port)


def _is_embedded(scheme: str) -> bool:
    """Return whether a scheme names no server: of ours, and of kinds such as "qdrant+edge"."""
    return "+" in scheme or scheme in ("memory", "archive")


def _without_slashes(scheme: str, rest: str) -> str:
    """Return what was probably meant by a URL with `//`."""
    path = rest.lstrip("/")
    if rest.startswith("///") or (_is_in_memory(scheme) and "/" not in path):
        path = f"/{path}"
    return f"{scheme}:{path}"


def _is_in_memory(scheme: str) -> bool:
    return scheme.rpartition("+")[2] == "memory"


def _path(url: str, scheme: str, rest: str, folder: str) -> Path | None:
    """Return the folder of a URL, if it names one."""
    if not folder:
        return Path("/") if rest.startswith("/") and not _is_in_memory(scheme) else None
    if _is_in_memory(scheme):
        raise InvalidOptionError(
            f"{url!r}: what lies in memory has no folder; write '{scheme}:/name'"
        )
    try:
        return Path(folder).expanduser()
    except RuntimeError as error:
        raise InvalidOptionError(f"{url!r}: {error}") from error
