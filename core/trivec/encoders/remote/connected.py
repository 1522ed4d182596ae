"""What is opened by a URL and keeps connections to a server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from trivec.encoders.remote.http import HttpClient
from trivec.encoders.remote.options import RemoteOptions
from trivec.encoders.url import EncoderUrl

PORT = 7600
"""The port of `trivec serve` where the URL has none."""

_HTTP_PORTS = {False: 80, True: 443}  # of http and https, where the URL has none


class Connected:
    """An encoder or a reranker behind a URL.

    Any number of threads and event loops can use it, and copies are the same one.

    Args:
        url: The server: of `trivec serve`, or, with "+http" or "+https", of somebody else.
        options: The token, and how to send requests.
        token: What to send where the options have no token.
    """

    def __init__(
        self, url: EncoderUrl, options: RemoteOptions, *, token: str | None = None
    ) -> None:
        tls = url.scheme.endswith("s")
        port = _HTTP_PORTS[tls] if "+http" in url.scheme else PORT
        self._url = url
        self._prefix = f"/{url.path}" if url.path else ""
        self._client = HttpClient(
            url.http(port, tls=tls), token=options.token or token, deadline=options.deadline
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._url)!r})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Mapping[int, object]) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._client.close()

    async def aclose(self) -> None:
        """Close the connections; see `close`."""
        await self._client.aclose()
