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
        """
        match = _SCHEME.fullmatch(url) if isinstance(url, str) else None
        if match is None:
            raise InvalidOptionError(
                f"{url!r} is not the URL of a store; expected such as 'qdrant://localhost:6333/name'"
                " or 'qdrant+edge:./folder/name'"
            )
        scheme, rest = match.groups()
        if rest.startswith("//"):
            return cls._server(scheme, url)
        folder, _, name = rest.rpartition("/")
        if not name:
            raise InvalidOptionError(f"{url!r} ends without the name of a collection")
        return cls(scheme, name, path=Path(folder) if folder else None)

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
        parts = urlsplit(url)
        name = parts.path.strip("/")
        if parts.username or parts.password:
            raise InvalidOptionError(
                "credentials do not belong in a URL, where logs show them; "
                "use the store's options or its environment variables"
            )
        if not parts.hostname or not name or "/" in name or parts.query or parts.fragment:
            raise InvalidOptionError(f"{url!r} must have the form {scheme}://host:port/name")
        try:
            return cls(scheme, name, host=parts.hostname, port=parts.port)
        except ValueError as error:
            raise InvalidOptionError(f"{url!r} has a port that is no number") from error
