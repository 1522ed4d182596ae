"""Options of a collection in Vespa, and the application that a URL names."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from vespa.application import Vespa

from trivec.arguments import at_least_one
from trivec.deadline import check_seconds
from trivec.errors import InvalidOptionError
from trivec.stores.options import StoreOptions
from trivec.stores.url import StoreUrl
from trivec_vespa.mapping import TextErrors
from trivec_vespa.schema import APPLICATION

_TOKEN, _CERT, _KEY = (
    f"VESPA_CLI_DATA_PLANE_{name}" for name in ("TOKEN", "CERT_FILE", "KEY_FILE")
)


@dataclass(frozen=True, kw_only=True)
class VespaOptions(StoreOptions):
    """Options of a collection in Vespa, beside those of every store.

    Args:
        token: A data plane token, only for `vespas://`; by default that of the environment
            variable `VESPA_CLI_DATA_PLANE_TOKEN`.
        cert: The file of the client certificate, only for `vespas://`; by default
            `VESPA_CLI_DATA_PLANE_CERT_FILE`.
        key: The file of its key; by default `VESPA_CLI_DATA_PLANE_KEY_FILE`.
        deploy: Whether `create` may deploy. If not, it checks what was deployed by other means.
            By default it may, but not with `vespas://`.
        config_server: Its address; by default port 19071 of the same host.
        content_cluster: The content cluster that holds the collection.
        text_errors: "error" refuses a text with characters that Vespa refuses, "replace" puts
            U+FFFD in their place.
        allow_partial: Whether an answer may stem from a part of the documents.
        timeout: Seconds that Vespa may take for one request.
        deploy_timeout: Seconds that a deployment may take until it serves.
        connections: How many requests of one call are sent at the same time.
        http2: Whether to speak HTTP/2 on `http://`.

    Raises:
        InvalidOptionError: If an option is out of range.
    """

    token: str | None = field(default=None, repr=False)
    cert: str | None = field(default=None, repr=False)
    key: str | None = field(default=None, repr=False)
    deploy: bool | None = None
    config_server: str | None = None
    content_cluster: str = f"{APPLICATION}_content"
    text_errors: TextErrors = "error"
    allow_partial: bool = False
    timeout: float = 30.0
    deploy_timeout: float = 300.0
    connections: int = 8
    http2: bool = False

    def __post_init__(self) -> None:
        StoreOptions.__post_init__(self)
        if self.text_errors not in ("error", "replace"):
            raise InvalidOptionError(
                f"text_errors={self.text_errors!r}; expected 'error' or 'replace'"
            )
        object.__setattr__(self, "connections", at_least_one(self.connections, "connections"))
        for name in ("timeout", "deploy_timeout"):
            object.__setattr__(self, name, check_seconds(getattr(self, name), name))


def application(url: StoreUrl, options: VespaOptions) -> Vespa:
    """Return the application of a URL, with the credentials of the options or the environment."""
    if url.host is None:
        raise InvalidOptionError(
            f"{url.scheme} needs a server: expected {url.scheme}://host:port/{url.name}"
        )
    secure = url.scheme == "vespas"
    token, cert, key = options.token, options.cert, options.key
    if not secure and (token or cert or key):
        raise InvalidOptionError("a token or a certificate needs TLS: use vespas://")
    if secure:
        cert, key = cert or os.environ.get(_CERT), key or os.environ.get(_KEY)
        token = token or (None if cert else os.environ.get(_TOKEN))
        for option, file in (("cert", cert), ("key", key)):
            if file is not None and not Path(file).is_file():
                raise InvalidOptionError(f"{option}={file!r} is no file")
    host = f"[{url.host}]" if ":" in url.host else url.host
    return Vespa(
        f"{'https' if secure else 'http'}://{host}",
        url.port or (443 if secure else 8080),
        cert=cert,
        key=key,
        vespa_cloud_secret_token=token,
    )
