"""One journal for all machines: an actor holds it, and each stage has a handle of the actor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from trivec.checks import check_store
from trivec.document import Document
from trivec.ingestion.identity import EncoderIdentity, identity
from trivec.ingestion.ingest import reconcile
from trivec.ingestion.journal import Journal
from trivec.schema import Schema
from trivec_ray.attempts import Attempts
from trivec_ray.target import Target

WAITING = 16 * 1024
"""The most waiting documents that one pass takes."""


@dataclass(frozen=True, slots=True)
class WorkPositions:
    """The work for some documents, which are named by their positions; see `Journal.claim`."""

    encode: tuple[int, ...]
    touch: tuple[int, ...]
    unchanged: int
    replaced: int


@dataclass(frozen=True, slots=True)
class SharedJournal:
    """A handle of the journal, which can be sent to any stage; each call waits for its result."""

    actor: ActorHandle[Any]

    @classmethod
    def start(cls, target: Target, path: str | Path | None) -> SharedJournal:
        """Start the actor on this machine; it ends with the driver, or by `close`."""
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor: Any = ray.remote(_JournalActor).options(num_cpus=0, scheduling_strategy=here)
        return cls(actor.remote(target, None if path is None else str(Path(path).resolve())))

    def schema(self) -> Schema:
        """Return the collection's schema."""
        return cast("Schema", self._call("schema"))

    def open(self, maker: EncoderIdentity) -> int:
        """Open the journal, and return how many documents the collection lost."""
        return cast("int", self._call("open", maker))

    def claim(self, documents: Sequence[Document], *, wait: bool = True) -> WorkPositions:
        """Return the work for the next documents; see `Journal.claim`."""
        return cast("WorkPositions", self._call("claim", documents, wait=wait))

    def waiting(self) -> list[Document]:
        """Return some of the documents that wait for others with their id."""
        return cast("list[Document]", self._call("waiting"))

    def finish(self) -> None:
        """Tidy up after a run over a whole dataset."""
        self._call("finish")

    def begin(self, task: str) -> int:
        """Record that a task begins; see `Attempts.begin`."""
        return cast("int", self._call("begin", task))

    def end(self, task: str, *, succeeded: bool = True) -> None:
        """Record that a task has ended; see `Attempts.end`."""
        self._call("end", task, succeeded=succeeded)

    def deadly(self, id: str) -> int:
        """Record a deadly document; see `Attempts.deadly`."""
        return cast("int", self._call("deadly", id))

    def acknowledge(self, documents: Sequence[Document]) -> None:
        """Record the documents that the store has acknowledged."""
        self._call("acknowledge", documents)

    def fail(self, document: Document, problem: str) -> None:
        """Record that the store refused a document."""
        self._call("fail", document, problem)

    def forget(self, ids: Sequence[str]) -> None:
        """Forget documents that the store lacks."""
        self._call("forget", ids)

    def close(self) -> None:
        """Close the file, so that another run can use it, and end the actor."""
        self._call("close")
        ray.kill(self.actor)

    def _call(self, method: str, *args: object, **options: bool) -> object:
        try:
            return ray.get(getattr(self.actor, method).remote(*args, **options))
        except RayTaskError as error:
            raise error.cause from None


class _JournalActor(Attempts):
    """The actor: the attempts of the stages, and the journal of `trivec.ingest`."""

    def __init__(self, target: Target, path: str | None) -> None:
        super().__init__()
        self._target = target
        self._path = path
        self._journal: Journal | None = None

    def schema(self) -> Schema:
        opened = self._target.open()
        check_store(opened, f"what {self._target.name} returned")
        with opened as store:
            return store.schema

    def open(self, maker: EncoderIdentity) -> int:
        with self._target.open() as store:
            self._journal = Journal(self._path, identity(store, maker))
            return reconcile(self._journal, store)

    def claim(self, documents: Sequence[Document], *, wait: bool = True) -> WorkPositions:
        work = self._opened.claim(documents, wait=wait)
        positions = {id(document): position for position, document in enumerate(documents)}
        return WorkPositions(
            tuple(positions[id(document)] for document in work.encode),
            tuple(positions[id(document)] for document in work.touch),
            work.unchanged,
            work.replaced,
        )

    def waiting(self) -> list[Document]:
        return self._opened.waiting(WAITING)

    def finish(self) -> None:
        self._opened.finish()

    def acknowledge(self, documents: Sequence[Document]) -> None:
        self._opened.acknowledge(documents)

    def fail(self, document: Document, problem: str) -> None:
        self._opened.fail(document, problem)

    def forget(self, ids: Sequence[str]) -> None:
        self._opened.forget(ids)

    def close(self) -> None:
        if self._journal is not None:
            self._journal.close()

    @property
    def _opened(self) -> Journal:
        assert self._journal is not None
        return self._journal
