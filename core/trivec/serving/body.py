"""Reading the body of a request, within limits of size and time."""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from trivec.serving.options import MIB, ServeOptions
from trivec.serving.refusal import Refusal

# A body that is too large is read to its end before it is refused, up to this size: most clients
# read an answer only after they have sent everything.
_DRAINED = 64 * MIB
_CLOSE = {"Connection": "close"}


async def read_body(request: Request, options: ServeOptions) -> bytes:
    """Return the body of a request.

    Raises:
        Refusal: 415 if it is not declared as JSON, 413 if it is too large, 408 if the client sends
            it too slowly.
        ClientDisconnect: If the client closes the connection before the end.
    """
    check_json(request)
    body, size = bytearray(), 0
    try:
        async with asyncio.timeout(options.timeout):
            async for piece in request.stream():
                size += len(piece)
                if size <= options.max_bytes:
                    body += piece
                elif size > _DRAINED:
                    break
    except TimeoutError as error:
        raise Refusal(
            408, f"the request's body did not arrive within {options.timeout:g} s", _CLOSE
        ) from error
    if size > options.max_bytes:
        raise Refusal(
            413,
            f"the request's body has {'more than ' if size > _DRAINED else ''}{size} bytes, at "
            f"most {options.max_bytes} are allowed; send fewer texts at once",
            _CLOSE if size > _DRAINED else None,
        )
    return bytes(body)


def check_json(request: Request) -> None:
    """Raise a `Refusal` with status 415 unless the body of a request is declared as plain JSON.

    A web page of another origin can send other types from its visitor's browser without asking. A
    compressed body could be a thousand times larger than what is sent.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        given = content_type[:100] or "missing"
        raise Refusal(415, f"the content type is {given}, expected application/json")
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise Refusal(415, f"the content encoding is {encoding[:100]}; send the body uncompressed")
