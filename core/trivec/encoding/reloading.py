"""Models that copies share and that pickles load again."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, Self, TypeVar, cast

__all__ = ["Reloadable", "reloadable"]


class _Loaded(Protocol):
    device: str
    precision: Any

    _arguments: Mapping[str, Any] | None


P = ParamSpec("P")
T = TypeVar("T", bound=_Loaded)


class Reloadable:
    """A model whose weights never change.

    `copy.copy` and `copy.deepcopy` return the model itself. A pickle holds no weights: it loads
    the model again, with the arguments of `load`, on the same device and with the same precision.
    """

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
        # What its user may have set since.
        public = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return _again, (type(self), dict(self._arguments)), public


def reloadable(
    load: Callable[Concatenate[type[T], P], T],
) -> Callable[Concatenate[type[T], P], T]:
    """Let the class method `load` note with what the model that it returns is loaded again."""
    signature = inspect.signature(load)

    @wraps(load)
    def loading(cls: type[T], *args: P.args, **kwargs: P.kwargs) -> T:
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

    return cast("Callable[Concatenate[type[T], P], T]", loading)


def _again(kind: Any, arguments: Mapping[str, Any]) -> Any:  # noqa: ANN401 - of each model
    return kind.load(**arguments)


def _source(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Say where the same files are, whatever the working folder is and the hub has meanwhile."""
    folder = Path(arguments["model"]).expanduser()
    if folder.is_dir():
        return {"model": str(folder.resolve())}
    from huggingface_hub import try_to_load_from_cache

    cache = arguments["cache_dir"]
    cache = None if cache is None else Path(cache).expanduser().resolve()
    file = try_to_load_from_cache(
        str(arguments["model"]), "config.json", cache_dir=cache, revision=arguments["revision"]
    )
    # A snapshot: models--BAAI--bge-m3/snapshots/<commit>/config.json.
    commit = Path(file).parent.name if isinstance(file, str) else arguments["revision"]
    return {"cache_dir": cache, "revision": commit}
