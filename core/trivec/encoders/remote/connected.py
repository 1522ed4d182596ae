"""What is opened by a URL and keeps connections to a server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from trivec.encoders.remote.http import HttpClient
from trivec.encoders.url import EncoderUrl


class Connected:
    """An encoder or a reranker behind a URL.

    Any number of threads and event loops can use it, and copies are the same one.

    Args:
        url: The server.
        client: The connections to the server.
    """

    def __init__(self, url: EncoderUrl, client: HttpClient) -> None:
        self._url = url
        self._client = client

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
