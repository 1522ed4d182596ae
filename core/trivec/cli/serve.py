"""`trivec serve`: vectors over HTTP, for programs that need no torch."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from trivec.cli.models import DEFAULT, load_encoder
from trivec.cli.options import notes
from trivec.encoders.extras import missing_packages
from trivec.encoders.onnx_files import is_export
from trivec.encoders.url import is_url
from trivec.errors import InvalidOptionError, MissingDependencyError

TOKEN = "TRIVEC_SERVE_TOKEN"


@dataclass(frozen=True, kw_only=True)
class ServeFlags:
    """The limits of the server."""

    max_texts: Annotated[int, typer.Option(help="The most texts of a request.")] = 1024
    max_bytes: Annotated[int, typer.Option(help="The most bytes of a request.")] = 2 * 1024**2
    queue_texts: Annotated[
        int, typer.Option(help="The most texts that are accepted and not yet answered.")
    ] = 8192
    queue_bytes: Annotated[
        int, typer.Option(help="The most bytes that are accepted and not yet answered.")
    ] = 16 * 1024**2
    timeout: Annotated[
        float, typer.Option(help="Seconds for a client to send a request, or take an answer.")
    ] = 30.0


@dataclass(frozen=True, slots=True)
class _Work:
    """What the process of one device serves; it can be pickled."""

    model: str
    name: str | None
    device: str
    precision: str
    reranker: str | None
    limits: ServeFlags
    token: str | None

    def __call__(self, bound: socket.socket) -> None:
        """Load the models and serve."""
        from trivec.serving import ServeOptions, application
        from trivec.serving.process import address, run

        options = ServeOptions(token=self.token, **vars(self.limits))
        encoder = load_encoder(self.model, self.device, self.precision, self.name)
        reranker = None
        if self.reranker is not None:
            from trivec.reranking.cross_encoder import Reranker

            reranker = Reranker.load(self.reranker, device=self.device, precision=self.precision)
        app = application(encoder, reranker, options)
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
    limits: ServeFlags = ServeFlags(),
    port: Annotated[
        int, typer.Option(help="The port; 0 takes a free one.", min=0, max=65535)
    ] = 7600,
    host: Annotated[
        str, typer.Option(help="The address to listen on, such as 0.0.0.0 for all.")
    ] = "127.0.0.1",
    reranker: Annotated[
        str | None, typer.Option(help="Hub id or folder of a cross-encoder for /rerank.")
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
        from trivec.serving import ServeOptions
        from trivec.serving.process import bind, is_loopback, run_each
    except ImportError as error:
        in_process = not (is_url(model) or is_export(model))
        extras = "torch,serve" if in_process and missing_packages() else "serve"
        raise MissingDependencyError(
            f"trivec serve needs a package that is not installed ({error}); "
            f"run: pip install 'trivec[{extras}]'"
        ) from error
    token = read_token(token_file)
    ServeOptions(token=token, **vars(limits))  # errors before a model is loaded
    devices = device or ["auto"]
    work = _Work(model, model_name, devices[0], precision, reranker, limits, token)
    with bind(host, port) as bound:
        if token is None and not is_loopback(bound):
            notes.print(
                f"everybody who reaches {escape(host)} can use this server; set a token in "
                f"{TOKEN} or --token-file",
                style="yellow",
            )
        if len(devices) == 1:
            work(bound)
        else:
            run_each([replace(work, device=each) for each in devices], bound)


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
