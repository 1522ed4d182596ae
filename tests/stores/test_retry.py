"""What a store does when its database fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pytest

from trivec import Document, Schema, Store, Vectors
from trivec.collection import Collection
from trivec.errors import RequestTooLargeError, StoreError, StoreUnavailableError
from trivec.fields import FieldType
from trivec.stores.memory import MemoryBackend

DOCUMENTS = [Document(f"d{i}", "text") for i in range(8)]
VECTORS = Vectors(dense=np.eye(8, dtype=np.float32))


class FailingBackend(MemoryBackend):
    """A memory backend whose writes fail as told: exceptions in turn, then a size limit."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.failures: list[Exception] = []
        self.limit = 100
        self.calls: list[list[str]] = []

    def write(
        self, collection: Collection, documents: Sequence[Document], vectors: Vectors
    ) -> None:
        self.calls.append([d.id for d in documents])
        if self.failures:
            raise self.failures.pop(0)
        if len(documents) > self.limit:
            raise RequestTooLargeError(f"{len(documents)} are too many")
        super().write(collection, documents, vectors)


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record the waits instead of waiting."""
    waited: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", waited.append)
    return waited


@pytest.fixture
def backend() -> FailingBackend:
    return FailingBackend("failing")


@pytest.fixture
def store(backend: FailingBackend) -> Iterator[Store]:
    store = Store(backend)
    store.create(Schema(dense=8, sparse=False, colbert=None))
    yield store
    store.drop()


def test_an_unavailable_database_is_asked_again_with_the_same_ids(
    store: Store, backend: FailingBackend, naps: list[float]
) -> None:
    backend.failures = [StoreUnavailableError("busy"), StoreUnavailableError("busy")]
    store.upsert(DOCUMENTS, VECTORS)
    assert backend.calls == [[d.id for d in DOCUMENTS]] * 3
    assert store.count() == 8
    assert 0.5 <= naps[0] <= 1.5
    assert 1 <= naps[1] <= 2


def test_retry_after_is_obeyed_up_to_a_minute(
    store: Store, backend: FailingBackend, naps: list[float]
) -> None:
    backend.failures = [
        StoreUnavailableError("wait", retry_after=7.0),
        StoreUnavailableError("wait", retry_after=4000.0),
    ]
    store.upsert(DOCUMENTS, VECTORS)
    assert naps == [7.0, 60.0]


def test_patience_ends(store: Store, backend: FailingBackend, naps: list[float]) -> None:
    backend.failures = [StoreUnavailableError("down")] * 50
    with pytest.raises(StoreUnavailableError, match="down"):
        store.upsert(DOCUMENTS, VECTORS)
    assert len(backend.calls) == 6
    assert len(naps) == 5


def test_what_is_not_retryable_is_not_retried(
    store: Store, backend: FailingBackend, naps: list[float]
) -> None:
    backend.failures = [StoreError("refused")]
    with pytest.raises(StoreError, match="refused"):
        store.upsert(DOCUMENTS, VECTORS)
    assert naps == []


def test_a_write_that_is_too_large_is_halved(store: Store, backend: FailingBackend) -> None:
    backend.limit = 3
    report = store.upsert(DOCUMENTS, VECTORS)
    assert report.requests == 4
    assert store.count() == 8
    backend.limit = 0
    with pytest.raises(StoreError, match="'d0' alone is too large"):
        store.upsert(DOCUMENTS, VECTORS)


def test_at_first_contact_nobody_waits_for_what_does_not_listen(naps: list[float]) -> None:
    class Silent(MemoryBackend):
        silent = True

        def describe(self, declared: Mapping[str, FieldType]) -> Collection | None:
            if self.silent:
                raise StoreUnavailableError("connection refused", unreachable=True)
            return super().describe(declared)

    backend = Silent("silent")
    with Store(backend, address="qdrant://host:6333/silent") as store:
        with pytest.raises(
            StoreUnavailableError, match="nothing answers at qdrant://host:6333/silent: connection"
        ):
            store.count()
        assert naps == []
        backend.silent = False
        store.create(Schema(dense=8, sparse=False, colbert=None))
        backend.silent = True  # stopped meanwhile, perhaps to be started again
        with pytest.raises(StoreUnavailableError, match="nothing answers"):
            store.count()
        assert len(naps) == 5
        store.drop()


def test_each_wait_is_told_in_the_log(
    store: Store, backend: FailingBackend, naps: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    backend.failures = [StoreUnavailableError("busy", retry_after=2)]
    store.upsert(DOCUMENTS, VECTORS)
    assert [(r.name, r.levelname, r.getMessage()) for r in caplog.records] == [
        ("trivec", "WARNING", "busy; trying again in 2.0 s (try 1 of 6 failed)")
    ]
