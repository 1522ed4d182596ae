"""What the base class does when a database fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from trivec import Document, Schema, Vectors
from trivec.collection import Collection
from trivec.errors import RequestTooLargeError, StoreError, StoreUnavailableError
from trivec.stores.memory import MemoryStore

DOCUMENTS = [Document(f"d{i}", "text") for i in range(8)]
VECTORS = Vectors(dense=np.eye(8, dtype=np.float32))


class FailingStore(MemoryStore):
    """A memory store whose writes fail as told: exceptions in turn, then a size limit."""

    failures: list[Exception]
    limit: int
    calls: list[list[str]]

    def _write(self, documents: Sequence[Document], vectors: Vectors) -> None:
        self.calls.append([d.id for d in documents])
        if self.failures:
            raise self.failures.pop(0)
        if len(documents) > self.limit:
            raise RequestTooLargeError(f"{len(documents)} are too many")
        super()._write(documents, vectors)


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record the waits instead of waiting."""
    waited: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", waited.append)
    return waited


@pytest.fixture
def store() -> Any:
    store = FailingStore("failing")
    store.failures, store.limit, store.calls = [], 100, []
    store.create(Schema(dense=8, sparse=False, colbert=None))
    yield store
    store.drop()


def test_an_unavailable_database_is_asked_again_with_the_same_ids(
    store: FailingStore, naps: list[float]
) -> None:
    store.failures = [StoreUnavailableError("busy"), StoreUnavailableError("busy")]
    store.upsert(DOCUMENTS, VECTORS)
    assert store.calls == [[d.id for d in DOCUMENTS]] * 3
    assert store.count() == 8
    assert 0.5 <= naps[0] <= 1.5
    assert 1 <= naps[1] <= 2


def test_retry_after_is_obeyed_up_to_a_minute(store: FailingStore, naps: list[float]) -> None:
    store.failures = [
        StoreUnavailableError("wait", retry_after=7.0),
        StoreUnavailableError("wait", retry_after=4000.0),
    ]
    store.upsert(DOCUMENTS, VECTORS)
    assert naps == [7.0, 60.0]


def test_patience_ends(store: FailingStore, naps: list[float]) -> None:
    store.failures = [StoreUnavailableError("down")] * 50
    with pytest.raises(StoreUnavailableError, match="down"):
        store.upsert(DOCUMENTS, VECTORS)
    assert len(store.calls) == 6
    assert len(naps) == 5


def test_what_is_not_retryable_is_not_retried(store: FailingStore, naps: list[float]) -> None:
    store.failures = [StoreError("refused")]
    with pytest.raises(StoreError, match="refused"):
        store.upsert(DOCUMENTS, VECTORS)
    assert naps == []


def test_a_write_that_is_too_large_is_halved(store: FailingStore) -> None:
    store.limit = 3
    report = store.upsert(DOCUMENTS, VECTORS)
    assert report.requests == 4
    assert store.count() == 8
    store.limit = 0
    with pytest.raises(StoreError, match="'d0' alone is too large"):
        store.upsert(DOCUMENTS, VECTORS)


def test_at_first_contact_nobody_waits_for_what_does_not_listen(naps: list[float]) -> None:
    class Silent(MemoryStore):
        silent = True

        def _describe(self) -> Collection | None:
            if self.silent:
                raise StoreUnavailableError("connection refused", unreachable=True)
            return super()._describe()

    with Silent("silent") as store:
        store.address = "qdrant://host:6333/silent"
        with pytest.raises(
            StoreUnavailableError, match="nothing answers at qdrant://host:6333/silent: connection"
        ):
            store.count()
        assert naps == []
        store.silent = False
        store.create(Schema(dense=8, sparse=False, colbert=None))
        store.silent = True  # stopped meanwhile, perhaps to be started again
        with pytest.raises(StoreUnavailableError, match="nothing answers"):
            store.count()
        assert len(naps) == 5
        store.drop()


def test_each_wait_is_told_in_the_log(
    store: FailingStore, naps: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    store.failures = [StoreUnavailableError("busy", retry_after=2)]
    store.upsert(DOCUMENTS, VECTORS)
    assert [(r.name, r.levelname, r.getMessage()) for r in caplog.records] == [
        ("trivec", "WARNING", "busy; trying again in 2.0 s (try 1 of 6 failed)")
    ]
