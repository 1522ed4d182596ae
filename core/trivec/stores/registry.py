"""Backends by URL scheme, found through the entry points `trivec.stores`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from trivec.arguments import shown
from trivec.errors import InvalidOptionError, MissingDependencyError
from trivec.stores.backend import Backend
from trivec.stores.options import StoreOptions
from trivec.stores.store import Store
from trivec.stores.url import StoreUrl

P = ParamSpec("P")
T = TypeVar("T")
O = TypeVar("O", bound=StoreOptions)  # noqa: E741

GROUP = "trivec.stores"


def store_schemes() -> Mapping[str, EntryPoint]:
    """Return the entry point of every URL scheme that an installed package offers."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def requirement(entry: EntryPoint) -> str:
    """Return what pip installs for an entry point: its package, with the extras that it names.

    >>> requirement(EntryPoint("memory", "trivec.stores.memory:MemoryBackend [a]", GROUP))
    'trivec[a]'
    """
    package = entry.value.partition(".")[0] if entry.dist is None else entry.dist.name
    extras = f"[{','.join(entry.extras)}]" if entry.extras else ""
    return package + extras


def backend_class(scheme: str) -> type[Backend[Any]]:
    """Return the backend of a URL scheme.

    Raises:
        InvalidOptionError: If no installed package offers the scheme.
        MissingDependencyError: If the database's client is not installed.
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
        raise MissingDependencyError(
            f"the store {scheme!r} needs a package that is not installed ({error}); "
            f"run: pip install '{requirement(known[scheme])}'"
        ) from error
    if not (isinstance(loaded, type) and issubclass(loaded, Backend)):
        raise InvalidOptionError(f"the entry point {known[scheme].value!r} is not a trivec Backend")
    return loaded


def local_files(url: str) -> tuple[Path, ...]:
    """Return the files and folders of this machine that a collection takes, if it is embedded.

    Raises:
        InvalidOptionError, MissingDependencyError: As `open_store`.

    >>> [str(file) for file in local_files("archive:/data/articles")], local_files("memory:/a")
    (['/data/articles'], ())
    """
    parsed = StoreUrl.parse(url)
    return backend_class(parsed.scheme).local_files(parsed)


def open_store(url: str, **options: object) -> Store:
    """Open the collection that a URL names; `create` it before the first use.

    Args:
        url: Such as `qdrant+edge:./data/articles`, `qdrant://localhost:6333/articles` or
            `memory:/articles`.
        options: Those of `StoreOptions`, and of the database: `QdrantOptions`, `MilvusOptions` or
            `VespaOptions`.

    Raises:
        InvalidOptionError: If the URL, its scheme or an option is unknown.
        MissingDependencyError: If the store's client is not installed.
    """
    parsed = StoreUrl.parse(url)
    backend = backend_class(parsed.scheme)
    given = backend.options.of(parsed.scheme, options)
    return Store(backend.from_url(parsed, given), given, address=str(parsed))


def opener(
    options: Callable[P, O], backend: Callable[[T, str, O], Backend[Any]]
) -> Callable[Concatenate[T, str, P], Store]:
    """Return a function that opens a collection through a ready client.

    It takes the client, the name of the collection and the keyword options.

    Args:
        options: The class of the options.
        backend: Returns the backend of a client, a name and options.
    """

    def open(client: T, name: str, /, *args: P.args, **keywords: P.kwargs) -> Store:
        given = options(*args, **keywords)
        return Store(backend(client, name, given), given)

    return open
