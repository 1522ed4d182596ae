"""The store of a run, in a form that can be sent to another machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from trivec.errors import InvalidOptionError
from trivec.stores.registry import open_store
from trivec.stores.store import Store
from trivec.stores.url import StoreUrl


@dataclass(frozen=True, slots=True)
class Target:
    """A store that each actor opens for itself. Its options may be secrets, so they are not shown.

    The files of an embedded store belong to one process on the driver's machine.
    """

    name: str
    open: Callable[[], Store] = field(repr=False)
    embedded: bool = False

    @classmethod
    def of(cls, store: str | Callable[[], Store], options: Mapping[str, object] | None) -> Target:
        """Return the target of the arguments of `ingest`, or raise `InvalidOptionError`."""
        if not isinstance(store, str):
            if not callable(store) or isinstance(store, Store):
                raise InvalidOptionError(
                    f"store={store!r}; expected a URL or a callable that opens a store: an open "
                    "one cannot be sent to other processes"
                )
            if options:
                raise InvalidOptionError("store_options go with a URL; bind them to the callable")
            return cls(getattr(store, "__name__", type(store).__name__), store)
        url = StoreUrl.parse(store)
        if url.scheme == "memory" or url.scheme.endswith("+memory"):
            raise InvalidOptionError(
                f"{url} is in the memory of one process, and a run on Ray has several; use a "
                "server, or an embedded store with a file"
            )
        return cls(str(url), _Open(str(url), dict(options or {})), url.host is None)


@dataclass(frozen=True, slots=True)
class _Open:
    url: str
    options: Mapping[str, object] = field(repr=False)

    def __call__(self) -> Store:
        return open_store(self.url, **self.options)
