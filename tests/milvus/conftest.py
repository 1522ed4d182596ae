"""Milvus in its two kinds: a file of milvus-lite, and the double with native token vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from trivec import Store, open_store

pytest.importorskip("pymilvus", reason="pymilvus is not installed")

collect_ignore = ["double.py"]  # a program, on private modules of milvus-lite

OpenMilvus = Callable[..., Store]


@pytest.fixture(scope="session")
def lite_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the URL of a file of milvus-lite, without the collection."""
    pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
    return f"milvus+lite:{tmp_path_factory.mktemp('lite')}/milvus.db"


@pytest.fixture(scope="session", params=["payload", "native"])
def milvus_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of Milvus in either storage, without the collection."""
    fixture = "lite_url" if request.param == "payload" else "milvus_double"
    return str(request.getfixturevalue(fixture))


@pytest.fixture(scope="session")
def keep_lite_open(lite_url: str) -> Iterator[None]:
    """Keep the file open for the whole run, since opening it anew takes half a second."""
    with open_store(f"{lite_url}/unused"):
        yield


@pytest.fixture
def open_milvus(keep_lite_open: None) -> Iterator[OpenMilvus]:
    """Open collections that are dropped at the end."""
    opened: list[Store] = []

    def open_one(url: str, name: str | None = None, **options: object) -> Store:
        store = open_store(f"{url}/{name or f't_{uuid4().hex[:12]}'}", **options)
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        store.drop()
        store.close()


@pytest.fixture
def double_path() -> Path:
    return Path(__file__).parent / "double.py"
