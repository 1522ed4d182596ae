"""What other packages add to trivec through their entry points, and what installs them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint
from typing import Any

from trivec.arguments import shown
from trivec.errors import InvalidOptionError, MissingDependencyError


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


def load_scheme(known: Mapping[str, EntryPoint], scheme: str, what: str, *, hint: str = "") -> Any:  # noqa: ANN401 - any object
    """Load the entry point of a URL scheme; return None if its module lacks what it names.

    Args:
        known: The entry points by scheme.
        scheme: The scheme.
        what: What the schemes are of, in errors: "store" or "encoder".
        hint: What follows the known schemes in the error for an unknown one.

    Raises:
        InvalidOptionError: If no installed package offers the scheme.
        MissingDependencyError: As `load_entry_point`.
    """
    if scheme not in known:
        raise InvalidOptionError(
            f"unknown {what} scheme {shown(scheme)}; known are {', '.join(sorted(known))}{hint}"
        )
    try:
        return load_entry_point(known[scheme], f"the {what} {scheme!r}")
    except AttributeError:
        return None
