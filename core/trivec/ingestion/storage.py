"""How the destination of a copy keeps token vectors."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from trivec.colbert_storage import ColbertStorage
from trivec.collection import Collection
from trivec.errors import CollectionNotFoundError, InvalidOptionError, InvalidVectorsError
from trivec.filters import Filter
from trivec.pruning import prune_rows
from trivec.stores.options import agreed_colbert
from trivec.stores.store import Store

_PAGE = 8  # documents that are read to learn whether the source has lexical weights


def destination_storage(
    source: Store, destination: Store, wanted: ColbertStorage | None, *, filter: Filter | None
) -> ColbertStorage | None:
    """Return how the destination keeps token vectors; it need not exist yet.

    That is what is wanted, else the destination's option, else what an existing destination does,
    else what the source does. Nothing is created or written.

    Args:
        source: The collection to read.
        destination: The collection to write.
        wanted: The option of the copy; None if it was not given.
        filter: The condition that restricts the copy.

    Returns:
        The storage, or None for the default of `create`.

    Raises:
        InvalidOptionError: If the destination cannot keep token vectors as the source does.
        InvalidVectorsError: If the source keeps less than the destination, or lacks the lexical
            weights that pruning needs.
    """
    storage = agreed_colbert(wanted, destination.colbert)
    kept, existing = source.describe(), _existing(destination)
    if kept.schema.colbert is None:
        return storage
    if existing is not None:
        if existing.schema.colbert != kept.schema.colbert:
            return storage  # `create` says what does not fit
        storage = storage or existing.colbert or ColbertStorage()
    storage = storage or _same_storage(source, kept.colbert, destination)
    if storage is not None:
        left = storage.after(kept.colbert)
        if left.prune:
            _check_weights(source, left.prune, filter)
    return storage


def shrinks(source: Store, destination: Store) -> bool:
    """Return whether a collection keeps less of its token vectors than the one it was copied from.

    That is also so if one of the databases has a codec of its own, since its vectors are rounded
    otherwise.
    """
    before, after = source.describe().colbert, destination.describe().colbert
    if after is None or not after.reduces:
        return False
    left = after.after(before)
    codecs = {*source.limits.codec_cosines, *destination.limits.codec_cosines}
    fewer_bits = after.bits < min(16 if before is None else before.bits, 16)
    return left.pool > 1 or left.prune > 0 or fewer_bits or after.bits in codecs


def _existing(store: Store) -> Collection | None:
    with suppress(CollectionNotFoundError):
        return store.describe()
    return None


def _same_storage(
    source: Store, kept: ColbertStorage | None, destination: Store
) -> ColbertStorage | None:
    """Return the storage of the source as the destination offers it; 16 and 32 bits are alike."""
    if kept is None:
        return None
    offered = destination.limits.colbert_bits
    for bits in (kept.bits, 16, 32) if kept.bits >= 16 else (kept.bits,):
        if bits in offered:
            return replace(kept, bits=bits)
    smaller = max((bits for bits in offered if bits < kept.bits), default=None)
    advice = (
        "choose a database that does, or encode the texts again"
        if smaller is None
        else f"pass colbert={str(replace(kept, bits=smaller))!r}, which keeps less"
    )
    raise InvalidOptionError(
        f"{source.address} keeps token vectors as {str(kept)!r}, and "
        f"{destination.limits.database or destination.address} has no {kept.bits} bits for a "
        f"number; {advice}"
    )


def _check_weights(source: Store, share: float, filter: Filter | None) -> None:
    """Raise `InvalidVectorsError` if the first token vectors lack the weights to prune by."""
    for page in source.scan(batch_size=_PAGE, with_vectors=True, filter=filter):
        rows = None if page.vectors is None else page.vectors.colbert
        if rows is not None and len(rows.values):
            try:
                prune_rows(rows, share)
            except InvalidVectorsError as error:
                raise InvalidVectorsError(f"{source.address}: {error}") from error
            return
