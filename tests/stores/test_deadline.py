"""How long one call may take, and what a server's Retry-After is taken for."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise

import numpy as np
import pytest

from trivec import Document, Hit, Schema, Store, Vector, Vectors
from trivec.collection import Collection
from trivec.deadline import limited, pause, request_seconds, seconds_left, stopped_by
from trivec.errors import InvalidOptionError, StoreUnavailableError
from trivec.retry import retry_after
from trivec.search import Search
from trivec.stores.memory import MemoryBackend
from trivec.stores.options import StoreOptions

QUERY = Vector(dense=np.ones(8, np.float32))


class BusyBackend(MemoryBackend):
    """A memory backend that is never available, and notes what time each request had left."""

    def __init__(self, retry_after: float | None) -> None:
        super().__init__("busy")
        self.left: list[float | None] = []
        self._error = StoreUnavailableError("busy", retry_after=retry_after)

    def write(
        self, collection: Collection, documents: Sequence[Document], vectors: Vectors
    ) -> None:
        self.left.append(seconds_left())
        raise self._error

    def search(
        self, collection: Collection, queries: Sequence[Vector], search: Search
    ) -> list[list[Hit]]:
        self.left.append(seconds_left())
        raise self._error


Busy = Callable[..., tuple[Store, list[float | None]]]


@pytest.fixture
def busy() -> Iterator[Busy]:
    """Yield what opens a busy store, and the list of what its requests had left."""
    made: list[Store] = []

    def make(
        *, deadline: float, retry_after: float | None = None
    ) -> tuple[Store, list[float | None]]:
        backend = BusyBackend(retry_after)
        store = Store(backend, StoreOptions(deadline=deadline))
        store.create(Schema(dense=8, sparse=False, colbert=None), exist_ok=True)
        made.append(store)
        return store, backend.left

    yield make
    for store in made:
        store.drop()
        store.close()


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, 10**400, "3", True, None])
def test_a_deadline_is_a_number_of_seconds(value: float) -> None:
    with pytest.raises(InvalidOptionError, match="deadline"):
        StoreOptions(deadline=value)


def test_a_call_ends_when_the_next_attempt_would_come_too_late(
    busy: Busy,
) -> None:
    store, left = busy(deadline=5.0, retry_after=30.0)
    started = time.monotonic()
    with pytest.raises(StoreUnavailableError, match="deadline leaves no time to try again"):
        store.upsert([Document("a", "")], Vectors(dense=np.ones((1, 8), np.float32)))
    assert time.monotonic() - started < 1
    assert len(left) == 1


def test_requests_and_waits_of_a_call_share_its_time(busy: Busy) -> None:
    store, left = busy(deadline=0.5, retry_after=0.1)
    started = time.monotonic()
    with pytest.raises(StoreUnavailableError):
        store.search(QUERY, mode="dense")
    assert 0.3 < time.monotonic() - started < 2
    seconds = [each for each in left if each is not None]
    assert len(seconds) == len(left) > 2
    assert all(0 < b <= a - 0.1 for a, b in pairwise(seconds))


async def test_the_asynchronous_call_has_the_same_time(busy: Busy) -> None:
    store, left = busy(deadline=0.5, retry_after=0.1)
    started = time.monotonic()
    with pytest.raises(StoreUnavailableError):
        await store.asearch(QUERY, mode="dense")
    assert 0.3 < time.monotonic() - started < 2
    assert all(one is not None and one <= 0.5 for one in left)
    assert len(left) > 2


def test_the_time_left_bounds_a_request() -> None:
    assert request_seconds(30.0) == 30.0
    with limited(5):
        assert 4 < request_seconds(30.0) <= 5
        assert request_seconds(0.5) == 0.5
        with limited(60):  # what has a time of its own
            assert request_seconds(30.0) == 30.0
    with limited(-1), pytest.raises(StoreUnavailableError, match="deadline has passed"):
        request_seconds(30.0)
    assert seconds_left() is None


def test_a_wait_ends_when_the_run_is_stopped() -> None:
    stop = threading.Event()
    threading.Timer(0.05, stop.set).start()
    started = time.monotonic()
    with stopped_by(stop), pytest.raises(StoreUnavailableError, match="stopped"):
        pause(30)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("0.5", 0.5),
        (" 12 ", 12.0),
        ("7200", 60.0),
        (3, 3.0),
        (1e300, 60.0),
        *((odd, None) for odd in ("-1", "-0.5", "nan", "inf", "-inf", "1e999", "", "1e9x")),
        *((odd, None) for odd in (None, math.nan, math.inf, -3.0, 10**400)),
        ("Wed, 21 Oct 2015 07:28:00 GMT", None),
        ("Wed, 99 Foo 2015 99:28:00 GMT", None),
        ("Wed, 21 Oct 9999999 07:28:00 GMT", None),
    ],
)
def test_retry_after(value: str | float | None, seconds: float | None) -> None:
    assert retry_after(value) == seconds


def test_retry_after_as_a_date() -> None:
    found = retry_after(format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True))
    assert found is not None
    assert 28 < found <= 30
    assert retry_after(format_datetime(datetime.now(UTC) + timedelta(days=9), usegmt=True)) == 60.0


@pytest.mark.parametrize("odd", [-1.0, math.nan, math.inf])
def test_an_odd_wait_of_a_connector_is_not_waited_for(
    busy: Busy, odd: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", waited.append)
    with pytest.raises(StoreUnavailableError, match="busy"):
        busy(deadline=120.0, retry_after=odd)[0].search(QUERY, mode="dense")
    assert len(waited) == 5
    assert all(0.5 <= one <= 10 for one in waited)


async def test_what_runs_outside_a_call_has_no_deadline() -> None:
    await asyncio.sleep(0)
    assert seconds_left() is None
