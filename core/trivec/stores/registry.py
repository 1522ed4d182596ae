"""Stores by URL scheme, found through the entry points `trivec.stores`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from trivec.arguments import shown
from trivec.errors import InvalidOptionError, MissingDependencyError
from trivec.stores.store import Store
from trivec.stores.url import StoreUrl

__all__ = ["local_files", "open_store", "store_class", "store_schemes"]

GROUP = "trivec.stores"


def store_schemes() -> Mapping[str, EntryPoint]:
    """Return the entry point of every URL scheme that an installed package offers."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def store_class(scheme: str) -> type[Store]:
    """Return the store of a URL scheme.

    Raises:
        InvalidOptionError: If no installed package offers the scheme.
        MissingDependencyError: If the store's client is not installed.
    """
    known = store_schemes()
    if scheme not in known:
        raise InvalidOptionError(
            f"unknown store scheme {shown(scheme)}; known are {', '.join(sorted(known))}"
        )
    try:
        loaded = known[scheme].load()
    except MissingDependencyError:
        raise
    except ImportError as error:
        extra = scheme.split("+")[0]
        if extra[:-1] in known:  # "qdrants" is "qdrant" with TLS
            extra = extra[:-1]
        raise MissingDependencyError(
            f"the store {scheme!r} needs a package that is not installed ({error}); "
            f"run: pip install 'trivec[{extra}]'"
        ) from error
    if not (isinstance(loaded, type) and issubclass(loaded, Store)):
        raise InvalidOptionError(f"the entry point {known[scheme].value!r} is not a trivec Store")
    return loaded


def local_files(url: str) -> tuple[Path, ...]:
    """Return the files and folders of this machine that a collection takes, if it is embedded.

    Raises:
        InvalidOptionError, MissingDependencyError: As `open_store`.

    >>> [str(one) for one in local_files("archive:/data/articles")], local_files("memory:/a")
    (['/data/articles'], ())
    """
    parsed = StoreUrl.parse(url)
    return store_class(parsed.scheme).local_files(parsed)


def open_store(url: str, **options: object) -> Store:
    """Open the collection that a URL names; `create` it before the first use.

    Args:
        url: Such as `qdrant+edge:./data/articles`, `qdrant://localhost:6333/articles` or
            `memory:/articles`.
        options: The keyword options of that store's `from_url`.

    Raises:
        InvalidOptionError: If the URL, its scheme or an option is unknown.
        MissingDependencyError: If the store's client is not installed.
    """
    parsed = StoreUrl.parse(url)
    cls = store_class(parsed.scheme)
    parameters = inspect.signature(cls.from_url).parameters.values()
    known = [p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise InvalidOptionError(
            f"{parsed.scheme}: unknown option {', '.join(unknown)}; known are {', '.join(known)}"
        )
    store = cls.from_url(parsed, **options)
    store.address = str(parsed)
    return store
