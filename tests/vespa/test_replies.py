"""Answers with one member missing or wrong: an error of trivec, or no effect."""

from __future__ import annotations

import copy
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, TypeVar

import pytest
from two_documents import COLLECTION, EXPECTED, OPERATIONS, TwoDocuments
from vespa.application import Vespa

from trivec.errors import StoreError, StoreUnavailableError, TrivecError
from trivec_vespa import VespaStore
from trivec_vespa.client import Client
from trivec_vespa.deployment import active_schemas, check_nothing_is_lost, deploy
from trivec_vespa.schema import application_package
from trivec_vespa.transport import Answer, Transport
from trivec_vespa.workers import Workers

T = TypeVar("T")
WRONG: tuple[Any, ...] = (None, True, 5, -1, 0.5, 1e999, "", "x", [], {}, [None], {"x": 1})
CONTENT = {"text", "metadata", "matchfeatures", "totalCount"}
"""Members that may have any value of their type, with another result."""
HITS = {
    ("root", "children", row, *rest)
    for row in (0, 1)
    for rest in ((), ("fields",), ("fields", "id"))
}
"""Parts of hits that may be missing or others, since documents are deleted and written."""
ENVELOPE = {(), ("pathId",), ("id",), ("fields",), ("documents",)}
"""Members that an answer about documents must have."""

Path = tuple[str | int, ...]
Reply = Callable[[str, str], tuple[int, Any]]


def _nodes(value: Any, path: Path = ()) -> Iterator[Path]:
    yield path
    members: Any = ()
    if isinstance(value, dict):
        members = value.items()
    elif isinstance(value, list):
        members = enumerate(value)
    for key, member in members:
        yield from _nodes(member, (*path, key))


def _changed(value: Any, path: Path) -> Iterator[tuple[str, Any]]:
    """Yield an answer with each wrong value in place of one member, and without the member."""
    if not path:
        yield from ((repr(wrong), wrong) for wrong in WRONG)
        return
    for wrong in (*WRONG, ...):
        whole = copy.deepcopy(value)
        parent = whole
        for key in path[:-1]:
            parent = parent[key]
        if wrong is ...:
            del parent[path[-1]]
        else:
            parent[path[-1]] = wrong
        yield f"{path}: {wrong!r}", whole


@pytest.fixture
def reply(monkeypatch: pytest.MonkeyPatch) -> Callable[[Reply], None]:
    """Let a function answer all requests, each of which is made once only."""
    monkeypatch.setattr("trivec.retry.ATTEMPTS", 1)
    monkeypatch.setattr("trivec_vespa.documents._WAIT_SECONDS", 0.0)

    def by(function: Reply) -> None:
        def exchange(self: Transport, method: str, path: str, **options: Any) -> Answer:
            status, answer = function(method, path)
            content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            return Answer(status, content, None)

        monkeypatch.setattr(Transport, "exchange", exchange)

    return by


@pytest.mark.parametrize("operation", OPERATIONS)
def test_one_wrong_member(operation: str, reply: Callable[[Reply], None]) -> None:
    store = VespaStore(Vespa("http://127.0.0.1", 1), "c", deploy=False, connections=1)
    asked: dict[tuple[str, str], Any] = {}

    def call(changed: tuple[str, str] | None, answer: Any) -> object:
        vespa = TwoDocuments()

        def say(method: str, path: str) -> tuple[int, Any]:
            status, told = vespa.answer(method, path)
            asked.setdefault((method, path), (status, told))
            return (status, answer) if (method, path) == changed else (status, told)

        reply(say)
        store._handle.forget()
        return OPERATIONS[operation](store)

    assert call(None, None) == EXPECTED[operation]
    tried = refused = 0
    for request, (status, told) in list(asked.items()):
        for path in _nodes(told):
            for what, answer in _changed(told, path):
                tried += 1
                try:
                    result = call(request, answer)
                except TrivecError:
                    refused += 1
                else:
                    where = f"{request}, {what}"
                    envelope = ENVELOPE if status == 200 else {(), ("pathId",)}
                    assert "/document/" not in request[1] or path not in envelope, where
                    is_content = bool(CONTENT.intersection(map(str, path))) or path in HITS
                    assert result == EXPECTED[operation] or is_content, where
    store.close()
    assert refused > tried / 5


def test_a_visit_that_stays_at_one_place_ends(reply: Callable[[Reply], None]) -> None:
    vespa = TwoDocuments()

    def say(method: str, path: str) -> tuple[int, Any]:
        status, told = vespa.answer(method, path)
        return status, {**told, "continuation": "AAAA"} if path.endswith("/docid") else told

    reply(say)
    with VespaStore(Vespa("http://127.0.0.1", 1), "c", deploy=False) as store:
        for call in (lambda: list(store.scan()), store.drop):
            with pytest.raises(StoreError, match="stays at one place"):
                call()


LISTED = [f"http://config/x/content/{name}" for name in ("services.xml", "schemas/mine.sd")]


@pytest.mark.parametrize("wrong", [*WRONG, LISTED[1:], [*LISTED, 5], ["services.xml"], b"<html>"])
def test_no_list_of_files_is_no_empty_application(
    wrong: Any, reply: Callable[[Reply], None]
) -> None:
    reply(lambda method, path: (200, wrong))
    with (
        closing(Client(Vespa("http://127.0.0.1", 1), timeout=1)) as server,
        pytest.raises(StoreUnavailableError, match="the answer is not Vespa's"),
    ):
        active_schemas(server)


@pytest.mark.parametrize("text", [b"", b"5", b"<html>Sign in</html>", b"\xff schema x"])
def test_no_schema_is_no_schema_without_fields(text: bytes, reply: Callable[[Reply], None]) -> None:
    reply(lambda method, path: (200, LISTED if path.endswith("/content/") else text))
    package = application_package(COLLECTION.schema, COLLECTION.fields, "mine")
    with (
        closing(Client(Vespa("http://127.0.0.1", 1), timeout=1)) as server,
        pytest.raises(StoreUnavailableError, match="the answer is not Vespa's"),
    ):
        check_nothing_is_lost(server, package)


@pytest.mark.parametrize("wrong", [*WRONG, b"", b"<html>OK</html>"])
def test_a_deployment_is_acknowledged(wrong: Any, reply: Callable[[Reply], None]) -> None:
    package = application_package(COLLECTION.schema, COLLECTION.fields, "mine")
    reply(lambda method, path: (200, wrong))
    with (
        closing(Client(Vespa("http://127.0.0.1", 1), timeout=1)) as server,
        pytest.raises(StoreUnavailableError, match="the answer is not Vespa's"),
    ):
        deploy(server, package, changes=False)


def test_threads_are_kept_and_end() -> None:
    def threads() -> int:
        return sum(thread.name == "kept" for thread in threading.enumerate())

    def number(left: threading.Event) -> int:
        return 5

    told = threading.Event()

    def slow(left: threading.Event) -> None:
        if left.wait(5):
            told.set()

    def wrong(left: threading.Event) -> None:
        raise KeyError

    workers = Workers("kept")

    def call(work: Callable[[threading.Event], T], seconds: float) -> T:
        with workers.running(work) as outcome:
            return outcome.result(seconds)

    assert [call(number, 5) for _ in range(50)] == [5] * 50
    assert 1 <= threads() <= 3
    with pytest.raises(TimeoutError):
        call(slow, 0.05)
    assert told.wait(5)
    with pytest.raises(KeyError):
        call(wrong, 5)
    workers.close()
    end = time.monotonic() + 5
    while threads() and time.monotonic() < end:
        time.sleep(0.01)
    assert threads() == 0
