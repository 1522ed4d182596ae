"""`trivec serve`: vectors over HTTP, for programs that need no torch."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from trivec.cli.models import DEFAULT, load_encoder
from trivec.cli.options import notes
from trivec.encoders.extras import missing_packages
from trivec.encoders.onnx_files import is_export
from trivec.encoders.url import is_url
from trivec.errors import InvalidOptionError, MissingDependencyError
from trivec.serving.options import ServeOptions

if TYPE_CHECKING:
    from trivec.serving.dispatcher import PairScorer

TOKEN = "TRIVEC_SERVE_TOKEN"

_LIMITS = ServeOptions()


@dataclass(frozen=True, slots=True)
class _Work:
    """What the process of one device serves; it can be pickled."""

    model: str
    name: str | None
    device: str
    precision: str
    reranker: str | None
    options: ServeOptions

    def __call__(self, bound: socket.socket) -> None:
        """Load the models and serve."""
        from trivec.serving.app import application
        from trivec.serving.process import address, run

        encoder = load_encoder(self.model, self.device, self.precision, self.name)
        reranker = None
        if self.reranker is not None:
            reranker = load_reranker(self.reranker, self.device, self.precision)
        app = application(encoder, reranker, self.options)
        device: str = getattr(encoder, "device", "")
        where = encoder.schema.model + (f" on {device}" if device else "")
        run(
            app,
            bound,
            ready=lambda: notes.print(f"serving {escape(where)} at http://{address(bound)}"),
        )


def serve(
    model: Annotated[
        str, typer.Argument(help="Hub id or folder of the model, or 'demo' for the demo model.")
    ] = DEFAULT,
    limits: ServeOptions = _LIMITS,
    port: Annotated[
        int, typer.Option(help="The port; 0 takes a free one.", min=0, max=65535)
    ] = 7600,
    host: Annotated[
        str, typer.Option(help="The address to listen on, such as 0.0.0.0 for all.")
    ] = "127.0.0.1",
    reranker: Annotated[
        str | None,
        typer.Option(help="Hub id, folder or URL of a cross-encoder for /rerank."),
    ] = None,
    model_name: Annotated[
        str | None, typer.Option(help="The model's name, if it differs from its folder's.")
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(help="auto, cpu, cuda, cuda:1 ...; repeat it for one process on each device."),
    ] = None,
    precision: Annotated[str, typer.Option(help="auto, float32, bfloat16, float16 or int8.")] = (
        "auto"
    ),
    token_file: Annotated[
        Path | None,
        typer.Option(help=f"The file with the token that clients must send, instead of ${TOKEN}."),
    ] = None,
) -> None:
    """Serve a model's vectors over HTTP, for trivec://HOST:PORT and clients of OpenAI's form."""
    try:
        from trivec.serving.process import bind, is_loopback, run_each
    except ImportError as error:
        in_process = not (is_url(model) or is_export(model))
        extras = "torch,serve" if in_process and missing_packages() else "serve"
        raise MissingDependencyError(
            f"trivec serve needs a package that is not installed ({error}); "
            f"run: pip install 'trivec[{extras}]'"
        ) from error
    options = replace(limits, token=read_token(token_file))
    devices = device or ["auto"]
    work = _Work(model, model_name, devices[0], precision, reranker, options)
    with bind(host, port) as bound:
        if options.token is None and not is_loopback(bound):
            notes.print(
                f"everybody who reaches {escape(host)} can use this server; set a token in "
                f"{TOKEN} or --token-file",
                style="yellow",
            )
        if len(devices) == 1:
            work(bound)
        else:
            run_each([replace(work, device=each) for each in devices], bound)


def load_reranker(model: str, device: str, precision: str) -> PairScorer:
    """Load a cross-encoder by name or folder, or connect to its server."""
    if is_url(model):
        from trivec.reranking.remote import RemoteReranker

        return RemoteReranker(model)
    from trivec.reranking.cross_encoder import Reranker

    return Reranker.load(model, device=device, precision=precision)


def read_token(file: Path | None) -> str | None:
    """Return the token of a file or of the environment, None if there is none.

    Raises:
        InvalidOptionError: If the file is empty.
        OSError: If it cannot be read.
    """
    if file is None:
        return os.environ.get(TOKEN) or None
    token = file.read_text(encoding="utf-8").strip()
    if not token:
        raise InvalidOptionError(f"{file} is empty, expected the token that clients must send")
    return token
