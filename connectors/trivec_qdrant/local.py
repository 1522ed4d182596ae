"""The folder of the client's pure-Python mode: whose files are deleted, what its failures mean."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

from qdrant_client import QdrantClient
from typing_extensions import override

from trivec.collection import Collection
from trivec.errors import StoreError, TrivecError
from trivec.stores.folder import (
    check_not_linked,
    check_vacant,
    is_full,
    make_folder,
    remove_files,
    telling_full,
)
from trivec_qdrant.client import ClientEngine
from trivec_qdrant.schema import Names, Storage

__all__ = ["Guard", "LocalEngine", "open_client"]

META = "meta.json"  # the client's list of collections
COLLECTIONS = "collection"
_STORAGE = {f"storage.sqlite{end}" for end in ("", "-journal", "-wal", "-shm")}


class Guard(AbstractContextManager[None]):
    """Lets one thread at a time in, and says what a failure in there means.

    Args:
        folder: What the client has open.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.RLock()

    @override
    def __enter__(self) -> None:
        self._lock.acquire()

    @override
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.release()
        if isinstance(error, Exception) and not isinstance(error, TrivecError):
            if is_full(error):
                with telling_full(self.folder):
                    raise error
            if isinstance(error, OSError):
                raise StoreError(f"{self.folder} cannot be used: {error}") from error
            raise _damaged(self.folder, error) from error


def open_client(folder: Path) -> tuple[QdrantClient, Guard]:
    """Open a folder, which belongs to one process at a time.

    Raises:
        StoreError: If another process has it, or it is damaged or another program's.
        StoreFullError: If the disk is full.
    """
    make_folder(folder)
    make_folder(folder / COLLECTIONS)
    _check_meta(folder)
    try:
        # One guard serves all threads, so SQLite need not watch over them.
        with telling_full(folder):
            client = QdrantClient(path=str(folder), force_disable_check_same_thread=True)
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(f"the folder {folder} cannot be opened: {error}") from error
    except Exception as error:  # SQLite, JSON and pickles
        if "already accessed by another instance" in str(error):
            raise StoreError(
                f"{folder} is open in another process; close it there, or use a server for several "
                f"processes ({error})"
            ) from error
        raise _damaged(folder, error) from error
    return client, Guard(folder)


def _check_meta(folder: Path) -> None:
    """Refuse a `meta.json` of another program, which the client would write over."""
    meta = folder / META
    if not meta.exists():
        return
    try:
        content: object = json.loads(meta.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(folder, error) from error
    if not isinstance(content, dict) or not {"collections", "aliases"} <= content.keys():
        raise StoreError(
            f"{meta} is damaged, or another program's: it lists no collections of Qdrant. Use "
            "another folder"
        )


def _damaged(folder: Path, error: Exception) -> StoreError:
    return StoreError(
        f"{folder} is damaged, or holds no collections of qdrant+local: "
        f"{type(error).__name__}: {error}. Put the files of a copy back, or use another folder"
    )


class LocalEngine(ClientEngine):
    """A collection of the client's pure-Python mode, in a folder.

    Args:
        client: The client.
        name: The collection.
        names: What vectors and payload keys are called.
        guard: Of that client.
        on_close: What to do when the engine is closed.
    """

    def __init__(
        self,
        client: QdrantClient,
        name: str,
        names: Names,
        *,
        guard: Guard,
        on_close: Callable[[], None] | None,
    ) -> None:
        super().__init__(client, name, names, on_close=on_close, lock=guard)
        self._place = guard.folder / COLLECTIONS / name

    @override
    def create(self, collection: Collection, storage: Storage) -> None:
        with self._lock:
            make_folder(self._place)
            check_vacant(self._place, _is_storage)
            remove_files(self._place.iterdir())  # of a `create` or `drop` that was killed
            try:
                super().create(collection, storage)
            except BaseException:
                if self.describe() is None:
                    remove_files(filter(_is_storage, self._place.iterdir()))
                raise

    @override
    def drop(self) -> None:
        """Delete the collection; the client itself would delete the whole folder."""
        with self._lock:
            if self.describe() is None:
                return
            check_not_linked(self._place.parent, self.name)
            check_not_linked(self._place, self.name)
            if not self._place.is_dir() or all(map(_is_storage, self._place.iterdir())):
                super().drop()
                return
            aside = self._place.with_name(f".{secrets.token_hex(8)}")
            self._place.rename(aside)
            try:
                super().drop()
                remove_files(filter(_is_storage, aside.iterdir()))
            finally:
                aside.rename(self._place)


def _is_storage(entry: Path) -> bool:
    return entry.name in _STORAGE and not entry.is_dir()
