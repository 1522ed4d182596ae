"""Options that every store takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from trivec.arguments import at_least_one, named_options
from trivec.colbert_storage import ColbertStorage, Overflow
from trivec.deadline import DEADLINE_SECONDS, check_seconds
from trivec.errors import InvalidOptionError
from trivec.stores.overflow import check_overflow

BATCH_BYTES = 32 * 1024 * 1024

O = TypeVar("O", bound="StoreOptions")  # noqa: E741


@dataclass(frozen=True, kw_only=True)
class StoreOptions:
    """Options of every store; each connector's options class adds its own.

    Args:
        colbert: How a new collection keeps token vectors, such as "bits=1,pool=2"; a collection
            that exists must keep them so. None for the default of `create`, and any that exists.
        colbert_overflow: What to do with ColBERT rows longer than the database can hold: "error",
            "pool", "truncate" or "drop".
        batch_bytes: The most bytes of one write.
        deadline: Seconds that one call may take with its repetitions and the waits between them.
            Each batch of a write and each page of a scan has this time for itself.

    Raises:
        InvalidOptionError: If an option is out of range.
    """

    renamed: ClassVar[Mapping[str, str]] = {}
    """Names that options had before, and what to write instead."""

    colbert: ColbertStorage | None = None
    colbert_overflow: Overflow = "pool"
    batch_bytes: int = BATCH_BYTES
    deadline: float = DEADLINE_SECONDS

    def __post_init__(self) -> None:
        if self.colbert is not None:
            object.__setattr__(self, "colbert", ColbertStorage.of(self.colbert))
        check_overflow(self.colbert_overflow)
        object.__setattr__(self, "batch_bytes", at_least_one(self.batch_bytes, "batch_bytes"))
        object.__setattr__(self, "deadline", check_seconds(self.deadline, "deadline"))

    @classmethod
    def of(cls: type[O], where: str, given: Mapping[str, object]) -> O:
        """Return options given by name, such as the keyword arguments of `open_store`.

        Args:
            where: What the options are for, which an error begins with.
            given: Values by the names of options.

        Raises:
            InvalidOptionError: If a name is unknown or a value out of range.
        """
        return named_options(cls, where, given, renamed=cls.renamed)


def agreed_colbert(*given: ColbertStorage | str | None) -> ColbertStorage | None:
    """Return the storage of token vectors that was given, perhaps in several places.

    Raises:
        InvalidOptionError: If two of them differ.

    >>> str(agreed_colbert(None, "pool=1,bits=4", ColbertStorage(bits=4)))
    'bits=4'
    """
    storages = dict.fromkeys(ColbertStorage.of(storage) for storage in given if storage is not None)
    if len(storages) > 1:
        names = " and as ".join(repr(str(storage)) for storage in storages)
        raise InvalidOptionError(
            f"colbert is given as {names} for one collection; give one of them"
        )
    return next(iter(storages), None)
