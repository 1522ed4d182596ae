"""One journal for all machines: it lives in an actor, and everyone has a handle to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from trivec.document import Document
from trivec.ingestion.ingest import identity, reconcile
from trivec.ingestion.journal import Journal
from trivec.schema import Schema
from trivec_ray.target import Target

__all__ = ["Claim", "SharedJournal"]


@dataclass(frozen=True, slots=True)
class Claim:
    """The ids of those documents of a `Plan` that go on."""

    encode: frozenset[str]
    touch: frozenset[str]
    unchanged: int
    replaced: int


@dataclass(frozen=True, slots=True)
class SharedJournal:
    """A journal as every stage sees it; each call waits until it is done."""

    actor: ActorHandle[Any]

    @classmethod
    def start(cls, target: Target, path: str | Path | None) -> SharedJournal:
        """Start the actor on this machine; it dies with the driver, or by `close`.

        Args:
            target: The collection.
            path: The file; None for a journal that lives as long as the run.
        """
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor: Any = ray.remote(_Ledger).options(num_cpus=0, scheduling_strategy=here)
        return cls(actor.remote(target, None if path is None else str(Path(path).resolve())))

    def open(self) -> tuple[Schema, int]:
        """Open the journal; return the collection's schema and how many documents it lost."""
        return cast("tuple[Schema, int]", self._call("open"))

    def claim(self, documents: Sequence[Document]) -> Claim:
        """Say what is to be done with the next documents; see `Journal.claim`."""
        return cast("Claim", self._call("claim", documents))

    def acknowledge(self, documents: Sequence[Document]) -> None:
        """Record what the store has acknowledged."""
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

    def _call(self, method: str, *args: object) -> object:
        try:
            return ray.get(getattr(self.actor, method).remote(*args))
        except RayTaskError as error:
            raise error.cause from None


class _Ledger:
    """The actor."""

    def __init__(self, target: Target, path: str | None) -> None:
        self._target = target
        self._path = path
        self._journal: Journal | None = None

    def open(self) -> tuple[Schema, int]:
        with self._target.open() as store:
            schema = store.schema
            self._journal = Journal(self._path, identity(store, schema))
            return schema, reconcile(self._journal, store)

    def claim(self, documents: Sequence[Document]) -> Claim:
        plan = self._opened.claim(documents)
        return Claim(
            frozenset(document.id for document in plan.encode),
            frozenset(document.id for document in plan.touch),
            plan.unchanged,
            plan.replaced,
        )

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
