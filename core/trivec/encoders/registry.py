"""Encoders by model name, folder or URL; servers are found through entry points."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, cast

from trivec.arguments import expect
from trivec.encoders.protocol import TextEncoder
from trivec.encoders.remote.options import RemoteOptions
from trivec.encoders.url import EncoderUrl, is_url
from trivec.entry_points import load_scheme
from trivec.errors import InvalidOptionError

GROUP = "trivec.encoders"


class ConnectedEncoder(TextEncoder, Protocol):
    """An encoder that is opened by its URL; its class is what an entry point names."""

    options_class: ClassVar[type[RemoteOptions]]
    """The keyword options of `open_encoder` for this class."""

    @classmethod
    def from_url(cls, url: EncoderUrl, options: Any) -> Self:  # noqa: ANN401 - of options_class
        """Return the encoder behind a URL; nothing need be sent yet."""
        ...


def encoder_schemes() -> Mapping[str, EntryPoint]:
    """Return the entry point of every URL scheme that an installed package offers."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def encoder_class(scheme: str) -> type[ConnectedEncoder]:
    """Return the class of the encoders with a URL scheme.

    Raises:
        InvalidOptionError: If no installed package offers the scheme.
        MissingDependencyError: If a package that the class needs is not installed.
    """
    known = encoder_schemes()
    hint = "; http:// alone does not say which kind" if scheme in ("http", "https") else ""
    loaded = load_scheme(known, scheme, "encoder", hint=hint)
    options = getattr(loaded, "options_class", None)
    if not (
        isinstance(loaded, type)
        and callable(getattr(loaded, "from_url", None))
        and isinstance(options, type)
        and issubclass(options, RemoteOptions)
    ):
        raise InvalidOptionError(
            f"the entry point {known[scheme].value!r} is no class with `options_class` and "
            "`from_url`"
        )
    return cast("type[ConnectedEncoder]", loaded)


def open_encoder(what: str | Path, **options: object) -> TextEncoder:
    """Open an encoder: a model in this process, or one on a server.

    Args:
        what: The name of a model on the hub or its folder, as `Encoder.load` takes them; a folder
            that `trivec export` wrote; or the URL of a server, such as `trivec://localhost:7600`,
            or `trivecs://` with TLS. Options of a server's class may follow, all but the token:
            `openai+http://localhost:8000/v1?model=BAAI/bge-m3`.
        options: Those of `Encoder.load` or `OnnxEncoder.load`, or those of the server's class, such
            as `RemoteOptions`.

    Returns:
        An encoder; one of `trivec://`, `Encoder` and `OnnxEncoder` also have `tokens`.

    Raises:
        InvalidOptionError: If the URL, its scheme or an option is unknown, or an option is in the
            URL and given by name too.
        CheckpointError: If the model cannot be loaded.
        MissingDependencyError: If a package is not installed, such as torch for a model in this
            process.

    Example:
        Needs a server, such as `trivec serve BAAI/bge-m3`:

        ```python
        encoder = open_encoder("trivec://localhost:7600")
        query = encoder.encode_query("Which animal is the largest?")
        ```
    """
    expect(what, (str, Path), "open_encoder", "the name of a model, its folder, or a URL")
    if isinstance(what, str) and is_url(what):
        url = EncoderUrl.parse(what)
        made = encoder_class(url.scheme)
        return made.from_url(url, made.options_class.of_url(url, options))
    from trivec.encoders.encoder import Encoder
    from trivec.encoders.onnx import OnnxEncoder
    from trivec.encoders.onnx_files import is_export

    load: Any = OnnxEncoder.load if is_export(what) else Encoder.load
    known = [name for name in inspect.signature(load).parameters if name != "cls"]
    for name in sorted(set(options) - set(known[1:])):
        raise InvalidOptionError(
            f"{str(what)!r}: unknown option {name}; known are {', '.join(known[1:])}"
        )
    encoder: Encoder | OnnxEncoder = load(what, **options)
    return encoder
