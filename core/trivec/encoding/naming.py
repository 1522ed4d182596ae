"""What a model is called in a schema, without reading it."""

from __future__ import annotations

from pathlib import Path

__all__ = ["model_name"]


def model_name(model: str | Path) -> str:
    """Return the name in the schema of what `Encoder.load` is given.

    It is the name on the hub, also for a folder of the hub's cache, or the folder's own name.

    >>> model_name("BAAI/bge-m3")
    'BAAI/bge-m3'
    """
    folder = Path(model).expanduser()
    if not folder.is_dir():
        return str(model)
    # A snapshot in the hub's cache: models--BAAI--bge-m3/snapshots/<commit>.
    for part in folder.resolve().parts:
        if part.startswith("models--"):
            return part.removeprefix("models--").replace("--", "/")
    return folder.resolve().name
