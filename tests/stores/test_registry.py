"""Opening stores by URL."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import trivec.stores.registry
from trivec import open_store
from trivec.errors import InvalidOptionError, MissingDependencyError
from trivec.stores.memory import MemoryStore
from trivec.stores.url import StoreUrl


@pytest.mark.parametrize(
    ("url", "parsed"),
    [
        ("memory:/articles", StoreUrl("memory", "articles")),
        ("qdrant://host:6333/a", StoreUrl("qdrant", "a", host="host", port=6333)),
        ("vespas://h.example/a", StoreUrl("vespas", "a", host="h.example")),
        ("qdrant+edge:./data/a", StoreUrl("qdrant+edge", "a", path=Path("data"))),
        ("qdrant+edge:/abs/data/a", StoreUrl("qdrant+edge", "a", path=Path("/abs/data"))),
        ("milvus+lite:x y.db/a", StoreUrl("milvus+lite", "a", path=Path("x y.db"))),
    ],
)
def test_urls(url: str, parsed: StoreUrl) -> None:
    assert StoreUrl.parse(url) == parsed


@pytest.mark.parametrize(
    "url",
    [
        *("articles", "", "memory:", "qdrant+edge:folder/", "qdrant://host", "qdrant://host/a/b"),
        *("qdrant://host:x/a", "qdrant://host/a?b=c", "QDRANT://host/a"),
    ],
)
def test_bad_urls(url: str) -> None:
    with pytest.raises(InvalidOptionError):
        StoreUrl.parse(url)


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(InvalidOptionError) as caught:
        open_store("qdrant://user:hunter2@host/a")
    assert "hunter2" not in str(caught.value)


def test_an_unknown_scheme_lists_the_known_ones() -> None:
    with pytest.raises(InvalidOptionError, match=r"'nope'.*memory"):
        open_store("nope:/a")


def test_an_unknown_option_lists_the_known_ones() -> None:
    with pytest.raises(InvalidOptionError, match=r"colour.*batch_bytes"):
        open_store("memory:/a", colour="red")
    store = open_store("memory:/a", batch_bytes=10)
    assert isinstance(store, MemoryStore)


@pytest.mark.parametrize(
    ("scheme", "extra"), [("qdrants", "qdrant"), ("milvus+lite", "milvus"), ("milvus", "milvus")]
)
def test_a_missing_client_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, scheme: str, extra: str
) -> None:
    names = ("qdrant", "qdrants", "milvus", "milvus+lite")
    entries = {
        name: EntryPoint(name, "trivec_no_such_package:Store", "trivec.stores") for name in names
    }
    monkeypatch.setattr(trivec.stores.registry, "store_schemes", lambda: entries)
    with pytest.raises(MissingDependencyError, match=rf"pip install 'trivec\[{extra}\]'"):
        open_store(f"{scheme}://localhost/a")
