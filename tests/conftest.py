"""Fixtures that several test folders use."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from installed import LANCE, install, on_path
from milvus_server import milvus_server
from store_cases import DATABASES, FIELDS

from trivec import Store, open_store
from trivec.document import PRIVATE_KEY
from trivec.testing import HashEncoder
from trivec.testing.contract.event_loop import longest_gap

LoopGap = Callable[[Callable[[], Awaitable[object]]], Awaitable[float]]

LONG = ("notebooks", "soak", "ray", "wheel")  # folders whose tests take a minute and more each


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest tests, so that at the end no worker waits for another."""
    items.sort(key=lambda item: item.path.parent.name not in LONG)


@pytest.fixture
def encoder() -> HashEncoder:
    return HashEncoder()


@pytest.fixture
def loop_gap() -> LoopGap:
    """Return the longest time, in seconds, that work kept the event loop from its turn."""
    return longest_gap


@pytest.fixture
def store() -> Iterator[Store]:
    """Yield a store whose collection does not exist yet, for what is not about a database."""
    with open_store(f"memory:/{uuid4().hex}") as opened:
        yield opened
        opened.drop()


@pytest.fixture(params=DATABASES)
def every_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Yield a store whose collection does not exist yet, of each database in turn.

    Modules about databases make it their `store`.
    """
    case = DATABASES[request.param]
    if case.fixture:
        request.getfixturevalue(case.fixture)
    with case.open(tmp_path, f"frameworks_{uuid4().hex[:12]}") as opened:
        yield opened
        opened.drop()


@pytest.fixture
def fields(store: Store) -> dict[str, Any]:
    """Return what the tests filter on, for stores that filter on declared fields only.

    It is the same for both frameworks, so that their collections are one application of Vespa.
    """
    if not store.limits.declared_fields_only:
        return {}
    return {f"{PRIVATE_KEY}.ref_doc_id": str, "kind": str, "n": int, "tag": str, **FIELDS}


@pytest.fixture(scope="session")
def milvus_double(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of a Milvus server that keeps native token vectors."""
    with milvus_server(tmp_path_factory.mktemp("milvus-double")) as url:
        os.environ["TRIVEC_TEST_MILVUS_DOUBLE"] = url
        yield url
        del os.environ["TRIVEC_TEST_MILVUS_DOUBLE"]


@pytest.fixture
def lance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of a collection in a database that comes from an installed package."""
    folder = tmp_path_factory.mktemp("trivec-lance")
    requires = ("trivec", "lance-client<3,>=2", "lance-gpu; extra == 'gpu'")
    entries = ("lance = trivec_lance:LanceBackend", "lances = trivec_lance:LanceBackend")
    install(folder, "trivec-lance", requires=requires, entry_points=entries, code=LANCE)
    install(folder, "lance-client", version="2.7")
    with on_path(folder):
        yield "lance://localhost/articles"
