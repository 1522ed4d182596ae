"""Models in other processes: computing after a fork, and loading again from a pickle."""

from __future__ import annotations

import inspect
import os
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, cast

from trivec.encoders.files import local_folder
from trivec.encoders.hub import cached_commit, split_revision
from trivec.encoders.variants import ModelVariant

P = ParamSpec("P")
R = TypeVar("R")
Model = TypeVar("Model", bound="Reloadable")

# The thread with which a forked process starts, and the executor that computes for it.
_forked_thread: tuple[int, ThreadPoolExecutor] | None = None


def after_fork(reset: Callable[[], None]) -> Callable[[], None]:
    """Call a function in each forked process: a fork copies the memory, not the threads."""
    if sys.platform != "win32":
        os.register_at_fork(after_in_child=reset)
    return reset


def survives_fork(compute: Callable[P, R]) -> Callable[P, R]:
    """Make a function that computes with torch work in a forked process too.

    OpenMP gives each computing thread a team of worker threads. A fork copies only the thread that
    calls it, so in the child this thread waits forever for workers that do not exist. A thread
    started after the fork gets a new team, so this decorator computes in such a thread.

    Example:
        >>> @survives_fork
        ... def double(number: int) -> int:
        ...     return 2 * number
        >>> double(2)
        4
    """

    @wraps(compute)
    def computing(*args: P.args, **kwargs: P.kwargs) -> R:
        if _forked_thread is None or _forked_thread[0] != threading.get_ident():
            return compute(*args, **kwargs)
        return _forked_thread[1].submit(compute, *args, **kwargs).result()

    return computing


@after_fork
def _replace_thread() -> None:
    global _forked_thread
    executor = ThreadPoolExecutor(1, thread_name_prefix="trivec-compute")
    _forked_thread = threading.get_ident(), executor


class Reloadable:
    """A model whose weights never change.

    `copy.copy` and `copy.deepcopy` return the model itself. A pickle holds no weights: unpickling
    calls `load` again with the same arguments, on the same device and with the same precision.
    """

    device: str
    precision: Any
    _arguments: Mapping[str, Any] | None = None

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Mapping[int, object]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        if self._arguments is None:
            name = type(self).__name__
            raise TypeError(
                f"cannot pickle this {name}, since it was not made by {name}.load, which a pickle "
                "calls again; load the model in each process"
            )
        # Public attributes that were set after loading travel along.
        public = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return _load_again, (type(self), dict(self._arguments)), public


def reloadable(
    load: Callable[Concatenate[type[Model], P], Model],
) -> Callable[Concatenate[type[Model], P], Model]:
    """Make the class method `load` record the arguments with which a pickle loads the model."""
    signature = inspect.signature(load)

    @wraps(load)
    def loading(cls: type[Model], *args: P.args, **kwargs: P.kwargs) -> Model:
        loaded = load(cls, *args, **kwargs)
        bound = signature.bind(cls, *args, **kwargs)
        bound.apply_defaults()
        arguments = {name: value for name, value in bound.arguments.items() if name != "cls"}
        loaded._arguments = {
            **arguments,
            **_source(arguments),
            "device": loaded.device,
            "precision": str(loaded.precision),
        }
        return loaded

    return cast("Callable[Concatenate[type[Model], P], Model]", loading)


def _load_again(cls: Any, arguments: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any model class
    return cls.load(**arguments)


def _source(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments that lead to the same files from any folder and after any hub update."""
    options = {name: arguments[name] for name in ("heads", "truncate_dim") if name in arguments}
    variant = ModelVariant.parse(arguments["model"], **options).resolved()
    source: dict[str, Any] = {name: getattr(variant, name) for name in ("model", *options)}
    cache = arguments.get("cache_dir")
    if cache is not None:
        source["cache_dir"] = cache = Path(cache).expanduser().resolve()
    if variant.heads is not None and local_folder(variant.heads) is None:
        name, revision = split_revision(variant.heads)
        commit = cached_commit(name, revision=revision, cache_dir=cache)
        source["heads"] = variant.heads if commit is None else f"{name}@{commit}"
    if local_folder(variant.model) is None:
        revision = arguments["revision"]
        commit = cached_commit(variant.model, revision=revision, cache_dir=cache)
        source["revision"] = commit or revision
    return source
