"""Answers of vectors: as safetensors, without a copy of the columns, or as JSON."""

from __future__ import annotations

import io
from collections.abc import Mapping

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from typing_extensions import Buffer

from trivec.serving.options import MIB
from trivec.vectors import Vectors

_SMALL = MIB // 4  # up to this size, an answer is one message


class _Pieces(io.BytesIO):
    """A file that keeps views of what is written instead of copies."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[memoryview] = []

    def write(self, data: Buffer, /) -> int:
        """Keep a view of bytes."""
        view = memoryview(data)
        if view.nbytes:  # a view without bytes cannot be cast
            self.pieces.append(view.cast("B"))
        return view.nbytes


class VectorsResponse(Response):
    """Vectors in the format of `Vectors.write_to`, sent in pieces of at most a MiB."""

    media_type = "application/vnd.safetensors"

    def __init__(self, vectors: Vectors, headers: Mapping[str, str] | None = None) -> None:
        file = _Pieces()
        vectors.write_to(file)
        self._pieces = file.pieces
        size = sum(len(piece) for piece in file.pieces)
        small = b"".join(file.pieces) if size <= _SMALL else b""
        super().__init__(small, headers=dict(headers or {}))
        self._whole = size <= _SMALL
        self.headers["content-length"] = str(size)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        if self._whole:
            await super().__call__(scope, receive, send)
            return
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        for piece in self._pieces:
            for begin in range(0, len(piece), MIB):
                body = bytes(piece[begin : begin + MIB])
                await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
