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
from typing import Any, ParamSpec, TypeAlias, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")
Y = TypeVar("Y")
Z = TypeVar("Z")

InThread = Callable[..., Awaitable[Any]]
"""Runs a function in a thread, with the caller's context."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call in both forms."""

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
    """Call the form that fits the driver with these arguments, and return its result."""
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
    return drive(twin, lambda call: call.blocking())


async def arun(twin: Twin[T]) -> T:
    """Return the result of a twin without blocking the event loop."""
    return await adrive(twin, lambda call: call.asynchronous(), asyncio.to_thread)


def drive(generator: Generator[Y, Any, T], respond: Callable[[Y], object]) -> T:
    """Return the result of a generator, answering what it yields.

    An error that `respond` raises is raised at the `yield`.
    """
    answer: object = None
    error: Exception | None = None
    while True:
        ended, value = _advance(generator, answer, error)
        if ended:
            return cast(T, value)
        try:
            answer, error = respond(value), None
        except Exception as raised:
            answer, error = None, raised


async def adrive(
    generator: Generator[Y, Any, T],
    respond: Callable[[Y], Awaitable[object]],
    computing: InThread,
) -> T:
    """Return the result of a generator, which runs in threads; see `drive`."""
    answer: object = None
    error: Exception | None = None
    try:
        while True:
            ended, value = await computing(_advance, generator, answer, error)
            if ended:
                return cast(T, value)
            try:
                answer, error = await respond(value), None
            except Exception as raised:
                answer, error = None, raised
    finally:
        with suppress(ValueError):  # it runs in a thread that nobody waits for any more
            generator.close()


def answered(
    generator: Generator[Y, Any, T], respond: Callable[[Y], Generator[Z, Any, object]]
) -> Generator[Z, Any, T]:
    """Return the result of a generator, answering what it yields by other generators.

    >>> def questions() -> Generator[str, int, int]:
    ...     return (yield "a") + (yield "bb")
    >>> def answer(question: str) -> Twin[int]:
    ...     return (yield Call(lambda: len(question), lambda: asyncio.sleep(0, len(question))))
    >>> run(answered(questions(), answer))
    3
    """
    answer: object = None
    while True:
        ended, value = _advance(generator, answer, None)
        if ended:
            return cast(T, value)
        answer = yield from respond(value)


def _advance(
    generator: Generator[Any, Any, Any], answer: object, error: Exception | None
) -> tuple[bool, Any]:
    """Return whether a generator ended, and its result or what it yields next."""
    try:
        if error is not None:
            return False, generator.throw(error)
        return False, generator.send(answer)
    except StopIteration as end:  # which a future could not carry
        return True, end.value
