"""The double of a Milvus server (tests/milvus/double.py) in a process of its own."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_SCRIPT = Path(__file__).parent.parent / "milvus" / "double.py"


@contextmanager
def milvus_server(folder: Path, *arguments: str) -> Iterator[str]:
    """Yield the URL of a double, which keeps native token vectors, and stop it at the end.

    As a server it does not share the interpreter of the tests.

    Args:
        folder: Where it keeps its data and its log.
        arguments: More arguments of its program.
    """
    try:
        version = importlib.metadata.version("milvus-lite")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("milvus-lite is not installed")
    if not version.startswith("3.2."):
        pytest.skip(f"the double is built on the internals of milvus-lite 3.2, not {version}")
    with (
        (folder / "stderr.txt").open("w") as log,
        subprocess.Popen(
            [sys.executable, str(_SCRIPT), str(folder / "data"), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        if not port:
            pytest.skip(f"the double does not start: {(folder / 'stderr.txt').read_text()[-500:]}")
        yield f"milvus://127.0.0.1:{port}"
        process.stdin.close()
        process.wait(timeout=20)
