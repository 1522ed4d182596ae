"""The encoders that this process has open, by the name of their model.

Evidence in hits needs the tokens of stored texts, and a search gets vectors, not the encoder that
made them. So encoders that list tokens are remembered when they are made or handed over.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from typing import cast

from trivec.encoders.protocol import TokenizingEncoder
from trivec.errors import InvalidOptionError, TrivecError

_lock = threading.Lock()
_known: list[weakref.ref[object]] = []  # the newest first

_WRAPPERS = 2  # a framework's embeddings hold a cache, and the cache an encoder


def remember(encoder: object) -> None:
    """Remember an encoder weakly, as the newest; it lives no longer for it.

    A cache stands for the encoder in it. Objects that list no tokens are left out, and so are those
    that cannot be referred to weakly.
    """
    for _ in range(_WRAPPERS):
        inner = getattr(encoder, "encoder", None)
        encoder = inner if _lists_tokens(inner) else encoder
    if not _lists_tokens(encoder):
        return
    try:
        reference = weakref.ref(encoder)
    except TypeError:  # a class with __slots__
        return
    with _lock:
        others = [known for known in _known if known() is not None and known() is not encoder]
        _known[:] = [reference, *others]


def known_encoder(model: str) -> TokenizingEncoder:
    """Return the newest open encoder of a model that lists the tokens of texts.

    If none has this name, the newest one is returned whose name may be the same, since it or
    `model` is unknown. An encoder on a server that has not said its model yet is asked for it, but
    only if no other one has the name.

    Args:
        model: The model's name, as in the collection's schema; "" if it is unknown.

    Raises:
        InvalidOptionError: If there is none; the message says how to open one.

    Example:
        >>> from trivec.testing import HashEncoder
        >>> encoder = HashEncoder()
        >>> known_encoder("hash") is encoder
        True
    """
    with _lock:
        encoders = [encoder for known in _known if (encoder := known()) is not None]
    unknown: object = None
    names: set[str] = set()
    silent: list[object] = []
    failure: TrivecError | None = None
    for encoder in encoders:
        if getattr(encoder, "is_known", True) is not True:
            silent.append(encoder)
            continue
        name = _model(encoder)
        if name == model or not model:
            return cast(TokenizingEncoder, encoder)
        if name:
            names.add(name)
        elif unknown is None:
            unknown = encoder
    for encoder in silent:
        try:
            name = _model(encoder)
        except TrivecError as error:
            failure = failure or error.with_traceback(None)  # which would hold the encoders
            continue
        if name == model or not model:
            return cast(TokenizingEncoder, encoder)
        names.add(name)
    if unknown is not None:
        return cast(TokenizingEncoder, unknown)
    opened = f" (open: {', '.join(sorted(names))})" if names else ""
    raise InvalidOptionError(
        "evidence needs the tokens of texts, and no encoder of "
        f"{f'the model {model!r}' if model else 'any model'} that lists them is open in this "
        f"process{opened}; open one and keep it, such as "
        f"encoder = open_encoder({model or 'BAAI/bge-m3'!r})"
    ) from failure


def _lists_tokens(encoder: object) -> bool:
    return not isinstance(encoder, type) and callable(getattr(encoder, "tokens", None))


def _model(encoder: object) -> str:
    """Return the name of an encoder's model; "" if it is unknown."""
    model: object = getattr(getattr(encoder, "schema", None), "model", "")
    return model if isinstance(model, str) else ""


def _reset() -> None:
    """Make a new lock in a forked process: another thread may have held it."""
    global _lock
    _lock = threading.Lock()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_reset)
