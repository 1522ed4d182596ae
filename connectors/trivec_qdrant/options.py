"""The options of stores in Qdrant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, get_args

from trivec.arguments import expect
from trivec.deadline import check_seconds
from trivec.errors import InvalidOptionError
from trivec.stores.options import StoreOptions
from trivec_qdrant.schema import Names, Quantization

_MAX_PORT = 65_535


@dataclass(frozen=True, kw_only=True)
class QdrantOptions(StoreOptions):
    """Options of stores in Qdrant, besides those of every store.

    A certificate of a private authority is trusted where the environment variable
    GRPC_DEFAULT_SSL_ROOTS_FILE_PATH, or SSL_CERT_FILE for REST, names the authority's file.

    Args:
        api_key: For servers; by default the environment variable QDRANT_API_KEY. Without TLS it
            can be read on the way; the log warns of that once for each host.
        prefer_grpc: Whether to use gRPC, or REST; a ready client knows.
        grpc_port: By default the one after the URL's.
        timeout: Seconds until a request is given up, however slowly bytes come; by default 60, or
            a ready client's own.
        compression: Whether the server may compress its answers, for slow networks.
        quantization: The number format of a compressed copy of the dense vectors in a collection
            that is created, "int8", "binary", "turbo4", "turbo2" or "turbo1". It finds candidates
            in less memory; scores always are those of the vectors themselves.
        names: What vectors and payload keys are called.

    Raises:
        InvalidOptionError: If an option is out of range.
    """

    renamed: ClassVar[Mapping[str, str]] = {
        "precision": "store.create(schema, colbert=ColbertStorage(bits=32)), or 16, 8 or 4 bits"
    }

    api_key: str | None = field(default=None, repr=False)
    prefer_grpc: bool = True
    grpc_port: int | None = None
    timeout: float | None = None
    compression: bool = False
    quantization: Quantization | None = None
    names: Names = field(default_factory=Names)

    def __post_init__(self) -> None:
        StoreOptions.__post_init__(self)
        if self.grpc_port is not None:
            check_port(self.grpc_port, "grpc_port")
        if self.timeout is not None:
            object.__setattr__(self, "timeout", check_seconds(self.timeout, "timeout"))
        if self.quantization is not None and self.quantization not in get_args(Quantization):
            raise InvalidOptionError(
                f"quantization={self.quantization!r}; "
                f"expected None or one of {get_args(Quantization)}"
            )
        expect(self.names, Names, "names", "Names, such as Names(text='page_content')")


def check_port(port: object, name: str) -> int:
    """Return a port, or raise `InvalidOptionError` if it is none."""
    if not isinstance(port, int) or isinstance(port, bool) or not 1 <= port <= _MAX_PORT:
        raise InvalidOptionError(f"{name} is {port!r}; expected a number from 1 to {_MAX_PORT}")
    return port
