"""`trivec doctor`: installed versions, abilities of this machine, features of the databases."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from trivec import __version__
from trivec.cli.options import AsJson, output, print_json
from trivec.collection import Collection
from trivec.encoders.extras import require_torch
from trivec.errors import MissingDependencyError, TrivecError
from trivec.stores.registry import backend_class, open_store, required_packages, store_schemes
from trivec.terminal import one_line

OPTIONAL = ("torch", "transformers", "langchain-core", "llama-index-core", "ray")


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of the report."""

    subject: str
    name: str
    value: str
    ok: bool = True


def doctor(
    stores: Annotated[
        list[str] | None, typer.Argument(help="URLs of collections to check.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what is installed, what this machine can do, and what each store supports."""
    findings = [*_versions(), *_machine(), *_schemes()]
    for url in stores or []:
        findings += _store(url)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        table = Table("", "", "", box=None, show_header=False, pad_edge=False)
        for finding in findings:
            style = "" if finding.ok else "red"
            cells = (finding.subject, finding.name, finding.value)
            table.add_row(*(escape(one_line(cell)) for cell in cells), style=style)
        output().print(table)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def _versions() -> Iterable[Finding]:
    yield Finding("version", "trivec", __version__)
    yield Finding("version", "python", platform.python_version())
    required = [name for entry in store_schemes().values() for name in required_packages(entry)]
    for package in dict.fromkeys([*required, *OPTIONAL]):
        if package == "trivec":
            continue
        try:
            yield Finding("version", package, version(package))
        except PackageNotFoundError:
            yield Finding("version", package, "not installed")


def _machine() -> Iterable[Finding]:
    try:
        require_torch("a model in this process")
    except MissingDependencyError as error:
        yield Finding("machine", "precision auto", str(error))
        return
    import torch

    from trivec.encoders.cpu import this_processor
    from trivec.encoders.linear import measure_rates
    from trivec.encoders.placement import place
    from trivec.encoders.precision import Precision

    processor = this_processor()
    yield Finding("machine", "processors", f"{os.cpu_count()}, {torch.get_num_threads()} threads")
    yield Finding("machine", "processor", processor.name)
    yield Finding("machine", "cpu features", ", ".join(processor.features) or "none")
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    yield Finding("machine", "gpu", ", ".join(gpus) or "none")
    precisions = [Precision.FLOAT32, Precision.INT8]
    if processor.has_bfloat16:
        precisions.append(Precision.BFLOAT16)
    for precision, rate in measure_rates(precisions).items():
        yield Finding("machine", f"{precision} products now", f"{rate / 1e9:.0f} GFLOP/s")
    placement = place("auto", "auto")
    yield Finding("machine", "precision auto", f"{placement.precision}: {placement.reason}")


def _schemes() -> Iterable[Finding]:
    for scheme in sorted(store_schemes()):
        try:
            yield Finding("store", scheme, f"{backend_class(scheme).__module__}, installed")
        except TrivecError as error:
            yield Finding("store", scheme, str(error))


def _store(url: str) -> Iterable[Finding]:
    try:
        with open_store(url) as store:
            count = store.count()
            yield Finding(url, "documents", str(count))
            yield Finding(url, "schema", repr(store.schema))
            yield from _token_vectors(url, store.describe())
            yield Finding(url, "fields", ", ".join(f"{k}: {v}" for k, v in store.fields.items()))
            for capability in store.capabilities:
                yield Finding(url, capability.name, f"{capability.value} ({capability.reason})")
    except TrivecError as error:
        yield Finding(url, type(error).__name__, str(error), ok=False)


def _token_vectors(url: str, collection: Collection) -> Iterable[Finding]:
    """Yield how a collection keeps token vectors, if it holds any."""
    dimension, storage = collection.schema.colbert, collection.colbert
    if dimension is None:
        return
    value = "the collection does not say how it keeps them"
    if storage is not None:
        value = (
            f"bits={storage.bits}, pool={storage.pool}, prune={storage.prune:.4g}: "
            f"{storage.token_bytes(dimension)} bytes for each kept vector"
        )
    yield Finding(url, "token vectors", value)
