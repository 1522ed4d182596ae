"""Methods that are written once for their blocking and their asynchronous form.

Such a method is a generator, a `Twin`. Where it calls something that has both forms itself, it
yields both: `run` calls the blocking form, and `arun` awaits the asynchronous one. Under `arun`
the code between these calls runs in a thread, so it does not block the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, ParamSpec, TypeAlias, TypeVar

from trivec.stores.steps import Returned, advance

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """A call in both forms.

    Args:
        blocking: Returns the result.
        asynchronous: Returns an awaitable of the result.
    """

    blocking: Callable[[], Any]
    asynchronous: Callable[[], Awaitable[Any]]


Twin: TypeAlias = Generator[Call, Any, T]
"""Yields calls in both forms, receives their results and returns its own."""


def either(
    blocking: Callable[P, T],
    asynchronous: Callable[P, Awaitable[T]],
    *args: P.args,
    **kwargs: P.kwargs,
) -> Twin[T]:
    """Call the form that fits the driver, and return its result.

    Args:
        blocking: The blocking form.
        asynchronous: The asynchronous form, with the same arguments.
        args: The arguments.
        kwargs: The keyword arguments.
    """
    result: T = yield Call(
        partial(blocking, *args, **kwargs), partial(asynchronous, *args, **kwargs)
    )
    return result


def run(twin: Twin[T]) -> T:
    """Return the result of a twin, blocking.

    >>> def length(texts: list[str]) -> Twin[int]:
    ...     return len((yield from either(list, aiter_list, texts)))
    >>> async def aiter_list(texts: list[str]) -> list[str]:
    ...     return texts
    >>> run(length(["a"])), asyncio.run(arun(length(["a", "b"])))
    (1, 2)
    """
    result: Any = None
    error: Exception | None = None
    while True:
        state = advance(twin, result, error)
        if isinstance(state, Returned):
            return state.value
        result = error = None
        try:
            result = state.value.blocking()
        except Exception as raised:
            error = raised


async def arun(twin: Twin[T]) -> T:
    """Return the result of a twin without blocking the event loop."""
    result: Any = None
    error: Exception | None = None
    try:
        while True:
            state = await asyncio.to_thread(advance, twin, result, error)
            if isinstance(state, Returned):
                return state.value
            result = error = None
            try:
                result = await state.value.asynchronous()
            except Exception as raised:
                error = raised
    finally:
        with suppress(ValueError):  # a cancelled caller leaves it running in a thread
            twin.close()
