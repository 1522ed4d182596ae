"""A collection of the client's pure-Python mode, in memory or in a folder."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from qdrant_client import QdrantClient, models

from trivec.collection import Collection
from trivec.errors import StoreError, TrivecError
from trivec.ranking import level
from trivec.stores.folder import (
    check_not_linked,
    check_vacant,
    is_full,
    make_folder,
    remove_files,
    telling_full,
)
from trivec.stores.steps import Steps, run
from trivec_qdrant.engines.client import Call, ClientEngine
from trivec_qdrant.engines.engine import Query, ScoredRow, one_request
from trivec_qdrant.schema import Names, Quantization

T = TypeVar("T")

META = "meta.json"  # the client's list of collections
COLLECTIONS = "collection"
_STORAGE = {f"storage.sqlite{end}" for end in ("", "-journal", "-wal", "-shm")}


class Guard:
    """Admits one thread at a time to a client; its folder is None for a client in memory."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._lock = threading.RLock()

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Wait for other threads, and translate errors that the folder causes."""
        folder = self.folder
        with self._lock, nullcontext() if folder is None else telling_full(folder):
            try:
                yield
            except TrivecError:
                raise
            except Exception as error:
                if folder is None or is_full(error):
                    raise
                if isinstance(error, OSError):
                    raise StoreError(f"{folder} cannot be used: {error}") from error
                raise _damaged(folder, error) from error


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
        # The guard admits one thread at a time, so SQLite need not check the thread.
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
    """Refuse a `meta.json` of another program, which the client would overwrite."""
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
    """A collection of the client's pure-Python mode, which is not made for several threads."""

    is_embedded = True
    rounds = False

    def __init__(
        self,
        client: QdrantClient,
        name: str,
        names: Names,
        *,
        guard: Guard,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(client, name, names, on_close=on_close)
        self._guard = guard

    @property
    def route(self) -> str:
        return "the client's pure-Python mode"

    @property
    def endpoint(self) -> str:
        return ""

    def send(self, request: Any) -> Any:  # noqa: ANN401
        with self._guard.admitted(), self._translating():
            return self._call(self._client, request, 0) if isinstance(request, Call) else request()

    def _query_batch(
        self, batch: Sequence[models.QueryRequest], numbers: int
    ) -> Steps[Sequence[Sequence[Any]]]:
        answers = yield from self._ask("query_batch_points", requests=batch)
        return [answer.points for answer in answers]

    def _scored(self, query: Query, points: Sequence[Any]) -> list[ScoredRow]:
        # Products of matrices in numpy; a server computes each score by itself.
        rows = super()._scored(query, points)
        scores = level([scored.score for scored in rows])
        return [ScoredRow(score, scored.row) for score, scored in zip(scores, rows, strict=True)]

    @one_request
    def create(self, collection: Collection, quantization: Quantization | None) -> None:
        creating = super().create(collection, quantization)
        if self._guard.folder is None or self._run(self.describe()) is not None:
            self._run(creating)
            return
        folder = self._guard.folder / COLLECTIONS / self.name
        make_folder(folder)
        check_vacant(folder, _is_storage)
        remove_files(folder.iterdir())  # which a `create` or `drop` left that was killed
        try:
            self._run(creating)
        except BaseException:
            if self._run(self.describe()) is None:
                remove_files(filter(_is_storage, folder.iterdir()))
            raise

    @one_request
    def drop(self) -> None:
        """Delete the collection; the client itself would delete the whole folder."""
        dropping = super().drop()
        if self._guard.folder is None:
            self._run(dropping)
            return
        if self._run(self.describe()) is None:
            return
        folder = self._guard.folder / COLLECTIONS / self.name
        check_not_linked(folder.parent, self.name)
        check_not_linked(folder, self.name)
        if not folder.is_dir() or all(map(_is_storage, folder.iterdir())):
            self._run(dropping)
            return
        aside = folder.with_name(f".{secrets.token_hex(8)}")
        folder.rename(aside)
        try:
            self._run(dropping)
            remove_files(filter(_is_storage, aside.iterdir()))
        finally:
            aside.rename(folder)

    def _run(self, steps: Steps[T]) -> T:
        """Return the result of several requests, sent in the same thread under one lock."""
        stepwise: T | Steps[T] = steps
        return run(stepwise, self)


def _is_storage(entry: Path) -> bool:
    return entry.name in _STORAGE and not entry.is_dir()
