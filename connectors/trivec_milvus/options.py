"""The options of a store in Milvus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, get_args

from trivec.arguments import expect
from trivec.deadline import check_seconds
from trivec.errors import InvalidOptionError
from trivec.stores.options import StoreOptions
from trivec_milvus.schema import Names

Consistency = Literal["Strong", "Bounded", "Session", "Eventually"]


@dataclass(frozen=True, kw_only=True)
class MilvusOptions(StoreOptions):
    """Options of a store in Milvus, in addition to those of `StoreOptions`.

    The first six are for `milvus://` URLs; a ready client has its own.

    Args:
        token: The token; by default the environment variable `MILVUS_TOKEN`.
        user: The user; by default `MILVUS_USER`.
        password: The user's password; by default `MILVUS_PASSWORD`.
        database: The database; by default `MILVUS_DATABASE`.
        tls: Whether to encrypt; by default `MILVUS_TLS` (yes or no), and always with `ca_file`.
            Without it, a warning in the log says that a token or a password leaves this machine.
        ca_file: A PEM file with the server's certificate; by default `MILVUS_CA_FILE`.
        consistency: How much of what was written a read must see, as Milvus calls it: "Strong",
            "Bounded", "Session" or "Eventually".
        names: The names of the fields.
        timeout: Seconds that one request may take, if the call has as many left.

    Raises:
        InvalidOptionError: If an option is out of range.
    """

    renamed: ClassVar[Mapping[str, str]] = {
        "field_names": "names",
        "timeout_seconds": "timeout",
        "colbert_type": "create(schema, colbert=ColbertStorage(bits=16 or 32))",
    }

    token: str | None = field(default=None, repr=False)
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    database: str | None = None
    tls: bool | None = None
    ca_file: str | Path | None = None
    consistency: Consistency = "Strong"
    names: Names = field(default_factory=Names)
    timeout: float = 30.0

    def __post_init__(self) -> None:
        StoreOptions.__post_init__(self)
        if self.consistency not in get_args(Consistency):
            raise InvalidOptionError(
                f"consistency={self.consistency!r}; expected one of {get_args(Consistency)}"
            )
        if self.tls is not None:
            expect(self.tls, bool, "tls", "True or False")
        expect(self.names, Names, "names", "Names, such as Names(id='pk')")
        object.__setattr__(self, "timeout", check_seconds(self.timeout, "timeout"))
