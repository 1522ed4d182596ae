"""Backends by URL scheme, found through the entry points `trivec.stores`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from trivec.entry_points import load_scheme
from trivec.errors import InvalidOptionError, MissingDependencyError
from trivec.stores.backend import Backend
from trivec.stores.options import StoreOptions, agreed_colbert
from trivec.stores.store import Store
from trivec.stores.url import StoreUrl

P = ParamSpec("P")
T = TypeVar("T")
O = TypeVar("O", bound=StoreOptions)  # noqa: E741

GROUP = "trivec.stores"


def store_schemes() -> Mapping[str, EntryPoint]:
    """Return the entry point of every URL scheme that an installed package offers."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def required_packages(entry: EntryPoint) -> list[str]:
    """Return the names of the packages that an entry point's package requires.

    They include those of the extras that the entry point names. Other conditions, such as versions
    of Python, are not evaluated.
    """
    names = []
    for text in (entry.dist and entry.dist.requires) or []:
        name = re.match(r"[\w.-]+", text)
        extras = re.findall(r"extra\s*==\s*['\"]([^'\"]+)", text)
        if name and (not extras or set(extras) & set(entry.extras)):
            names.append(name[0])
    return names


def backend_class(scheme: str) -> type[Backend[Any]]:
    """Return the backend of a URL scheme.

    Raises:
        InvalidOptionError: If no installed package offers the scheme.
        MissingDependencyError: If the database's client is not installed.
    """
    known = store_schemes()
    loaded = load_scheme(known, scheme, "store")
    if not (isinstance(loaded, type) and issubclass(loaded, Backend)):
        raise InvalidOptionError(f"the entry point {known[scheme].value!r} is not a trivec Backend")
    return loaded


def installed_backends() -> Iterator[type[Backend[Any]]]:
    """Yield each backend that can be loaded, in the order of the schemes.

    A backend of several schemes comes once.
    """
    seen = set()
    for scheme in sorted(store_schemes()):
        try:
            backend = backend_class(scheme)
        except (InvalidOptionError, MissingDependencyError):
            continue
        if backend not in seen:
            seen.add(backend)
            yield backend


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
        options: Those of `StoreOptions`, and those of the database, such as `QdrantOptions`.

    The option `colbert` may also follow the name in the URL, which holds no other option:
    `qdrant+edge:./data/articles?colbert=bits=4,pool=2`.

    Raises:
        InvalidOptionError: If the URL, its scheme or an option is unknown, or `colbert` is given
            twice and differs.
        MissingDependencyError: If the store's client is not installed.

    Example:
        >>> from trivec import Schema, open_store
        >>> store = open_store("memory:/url-example?colbert=bits=1,pool=2")
        >>> store.address, store.name
        ('memory:/url-example', 'url-example')
        >>> store.create(Schema(dense=8, sparse=True, colbert=8))
        >>> store
        Store('memory:/url-example', colbert='bits=1,pool=2')
    """
    parsed = StoreUrl.parse(url)
    backend = backend_class(parsed.scheme)
    given = backend.options.of(parsed.scheme, options)
    if parsed.colbert is not None:
        given = replace(given, colbert=agreed_colbert(parsed.colbert, given.colbert))
    return Store(backend.from_url(parsed, given), given, address=parsed.address)


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
