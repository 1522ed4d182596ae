"""A server that answers as `trivec serve` does, with the numbers of `HashEncoder`.

with scripted_encoder() as server:
    encoder = remote(server)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hostile_http import Behaviour, HostileServer, Request, answer

from trivec.encoders.remote import wire
from trivec.encoders.remote.encoder import RemoteEncoder
from trivec.encoders.remote.identity import IDENTITY_HEADER, Identity
from trivec.encoders.remote.options import RemoteOptions
from trivec.encoders.url import EncoderUrl
from trivec.testing import HashEncoder
from trivec.vectors import Vectors

__all__ = ["Served", "remote", "scripted_encoder", "texts_of", "vectors_answer"]


@dataclass
class Served:
    """What the server serves.

    Attributes:
        encoder: Makes the vectors.
        identity: What the server says of it.
        most_texts: More texts at once get 413.
        token: The token that requests must have.
    """

    encoder: HashEncoder = field(default_factory=HashEncoder)
    identity: Identity | None = None
    most_texts: int = 1000
    token: str | None = None

    def __post_init__(self) -> None:
        if self.identity is None:
            self.identity = Identity.of(self.encoder, revision="abc")

    def __call__(self, request: Request) -> Behaviour:
        """Return the answer to a request."""
        assert self.identity is not None
        head = {IDENTITY_HEADER: self.identity.to_json()}
        if self.token is not None and request.headers.get("authorization") != (
            f"Bearer {self.token}"
        ):
            return answer(401, {"error": "a token is missing, or it is another one"}, head)
        if request.path == "/health":
            return answer(200, {"status": "ready", **self.identity.members()}, head)
        if request.path == "/tokens":
            asked = wire.read_tokens_request(request.body)
            assert isinstance(asked, wire.TokensRequest)
            return answer(200, wire.tokens_to_json(self.encoder.tokens(asked.text)), head)
        if request.path != "/encode":
            return answer(404, {"error": "no such path"}, head)
        encode = wire.EncodeRequest.from_json(request.body)
        if len(encode.texts) > self.most_texts:
            return answer(413, {"error": f"at most {self.most_texts} texts"}, head)
        if encode.kind == "documents":
            vectors = self.encoder.encode_documents(encode.texts)
        else:
            vectors = self.encoder.encode_queries(encode.texts)
        parts = wire.PARTS if encode.parts is None else encode.parts
        return vectors_answer(
            Vectors(**{part: getattr(vectors, part) for part in parts}), self.identity
        )


def vectors_answer(vectors: Vectors, identity: Identity) -> Behaviour:
    """Return the answer of `/encode`."""
    headers = {IDENTITY_HEADER: identity.to_json(), "Content-Type": wire.SAFETENSORS}
    return answer(200, wire.vectors_to_bytes(vectors), headers)


def scripted_encoder(served: Served | None = None) -> HostileServer:
    """Return a server on a port of 127.0.0.1, which its `with` block closes."""
    return HostileServer(Served() if served is None else served)


def remote(server: HostileServer, **options: Any) -> RemoteEncoder:
    """Return a client of a server."""
    given: Mapping[str, object] = {"deadline": 10.0, **options}
    url = EncoderUrl("trivec", "127.0.0.1", server.port)
    return RemoteEncoder(url, RemoteOptions.of("trivec", given))


def texts_of(requests: list[Request]) -> list[list[str]]:
    """Return the texts of each request to `/encode`."""
    return [json.loads(one.body)["texts"] for one in requests if one.path == "/encode"]
