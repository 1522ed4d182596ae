"""What other packages add to trivec through their entry points, and what installs them."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

from trivec.errors import MissingDependencyError


def requirement(entry: EntryPoint) -> str:
    """Return what pip installs for an entry point: its package, with the extras that it names.

    >>> requirement(EntryPoint("memory", "trivec.stores.memory:MemoryBackend [a]", "group"))
    'trivec[a]'
    """
    package = entry.module.partition(".")[0] if entry.dist is None else entry.dist.name
    extras = f"[{','.join(entry.extras)}]" if entry.extras else ""
    return package + extras


def load_entry_point(entry: EntryPoint, what: str) -> Any:  # noqa: ANN401 - any object
    """Load an entry point.

    Args:
        entry: The entry point.
        what: What it is, as an error begins; such as "the store 'qdrant'".

    Raises:
        MissingDependencyError: If a package is not installed; the message says what to install.
    """
    try:
        return entry.load()
    except MissingDependencyError:
        raise
    except ImportError as error:
        raise MissingDependencyError(
            f"{what} needs a package that is not installed ({error}); "
            f"run: pip install '{requirement(entry)}'"
        ) from error
