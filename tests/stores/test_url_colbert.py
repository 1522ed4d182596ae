"""`?colbert=…`: the only option that may follow the name in a URL."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from trivec import ColbertStorage, Schema, Store, open_store
from trivec.errors import InvalidOptionError, SchemaMismatchError
from trivec.stores.registry import local_files
from trivec.stores.url import StoreUrl

SCHEMA = Schema(dense=8, sparse=True, colbert=8)
SMALL = ColbertStorage(bits=1, pool=2)


@pytest.fixture
def url() -> Iterator[str]:
    url = f"memory:/{uuid4().hex}"
    yield url
    open_store(url).drop()


@pytest.mark.parametrize(
    ("address", "parsed"),
    [
        ("memory:/a", StoreUrl("memory", "a", colbert=SMALL)),
        ("qdrant://host:6333/a", StoreUrl("qdrant", "a", "host", 6333, colbert=SMALL)),
        ("vespas://h.example/a", StoreUrl("vespas", "a", "h.example", colbert=SMALL)),
        ("qdrant+edge:/data/a", StoreUrl("qdrant+edge", "a", path=Path("/data"), colbert=SMALL)),
        ("milvus+lite:/x.db/a", StoreUrl("milvus+lite", "a", path=Path("/x.db"), colbert=SMALL)),
        ("archive:/b?c=d/a", StoreUrl("archive", "a", path=Path("/b?c=d"), colbert=SMALL)),
    ],
)
def test_every_scheme_takes_it(address: str, parsed: StoreUrl) -> None:
    url = StoreUrl.parse(f"{address}?colbert=bits=1,pool=2")
    assert url == parsed
    assert (url.address, str(url)) == (address, f"{address}?colbert=bits=1,pool=2")


@pytest.mark.parametrize(
    ("text", "storage"),
    [
        ("bits=4", ColbertStorage(bits=4)),
        ("prune=1/3", ColbertStorage(prune=1 / 3)),
        ("bits=1, pool=2 ,prune=0.25", ColbertStorage(1, 2, 0.25)),
        ("prune=1e-06", ColbertStorage(prune=1e-06)),
        ("bits=16", ColbertStorage()),
    ],
)
@pytest.mark.parametrize("address", ["memory:/a", "archive:/b/c/a", "qdrant://host/a"])
def test_a_url_is_written_and_read(address: str, text: str, storage: ColbertStorage) -> None:
    parsed = StoreUrl.parse(f"{address}?colbert={text}")
    assert (parsed.address, parsed.colbert) == (address, storage)
    assert StoreUrl.parse(str(parsed)) == parsed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bits=3", "bits=3; expected 32, 16, 8, 4, 2 or 1"),
        ("pool=0", "pool=0; expected how many token vectors become one, 1 to 8"),
        ("prune=1", "prune=1.0; expected the share"),
        ("prune=-1/3", "expected the share"),
        ("prune=1/0", "prune is a number or a fraction"),
        ("bits=1,bits=2", "expected some of bits=…, pool=… and prune=…"),
        ("", "expected such as '?colbert=bits=1,pool=2'"),
        ("bits", "expected such as '?colbert=bits=1,pool=2'"),
        ("bits=one", "expected such as '?colbert=bits=1,pool=2'"),
        ("bits=1,prun=1/3", "expected such as '?colbert=bits=1,pool=2'"),
        ("dims=64", "expected such as '?colbert=bits=1,pool=2'"),
        ("bits=1&pool=2", "expected such as '?colbert=bits=1,pool=2'"),
        ("bits=1#pool", "expected such as '?colbert=bits=1,pool=2'"),
        ("bits=" + "9" * 5000, "bits and pool are integers"),
    ],
)
@pytest.mark.parametrize("address", ["memory:/a", "archive:{}/b/a", "qdrant://host:6333/a"])
def test_bad_options_are_refused_and_nothing_is_written(
    tmp_path: Path, address: str, text: str, message: str
) -> None:
    address = address.format(tmp_path)
    with pytest.raises(InvalidOptionError, match=re.escape(message)) as caught:
        open_store(f"{address}?colbert={text}")
    assert str(caught.value).startswith(f"{address!r}")
    assert len(str(caught.value)) < 600
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "url",
    [
        *("qdrant://host/a?api_key=hunter2", "archive:/b/a?api_key=hunter2", "memory:/a?x=hunter2"),
        *("qdrant://host/a?colbert=bits=1&api_key=hunter2", "memory:/a?colbert=hunter2"),
        *("archive:/a?colbert=bits=1&api_key=hunter2", "qdrant://h/a?colbert=api_key=hunter2"),
        *("qdrant://host/a?api_key=hunter2&colbert=bits=1", "memory:/a?k=hunter2?colbert=bits=1"),
        *("qdrant://me:hunter2@host/a?colbert=bits=1", "qdrant://hunter2?colbert=bits=1@host/a"),
        *("qdrant://me:hunter2@host/a?colbert=bits=3", "qdrant+edge://h/a?colbert=hunter2/x"),
        *("qdrant://host/a?colbert=bits=1,hunter2", "qdrant://host/a?colbert=bits=1/hunter2"),
        "qdrant://host/a#hunter2?colbert=bits=1",
    ],
)
def test_a_secret_in_an_option_is_refused_and_repeated_nowhere(url: str) -> None:
    if url.startswith("qdrant://hunter2?"):  # where a host is
        url = url.replace("qdrant://", "qdrant://me:")
    with pytest.raises(InvalidOptionError) as caught:
        open_store(url)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value, limit=0))


@pytest.mark.parametrize("url", ["archive:/b/a?pool=2", "memory:/a?bits=1", "qdrant://h/a?bits=1"])
def test_any_other_option_is_refused(url: str) -> None:
    with pytest.raises(InvalidOptionError, match="credentials and options do not belong in a URL"):
        StoreUrl.parse(url)


def test_a_question_mark_in_a_path_is_a_part_of_it() -> None:
    for folder in ("/what?", "/b?c=d", "/b?colbert=d", "/b?c/d?"):
        assert StoreUrl.parse(f"archive:{folder}/a") == StoreUrl("archive", "a", path=Path(folder))
    assert StoreUrl.parse("archive:/b/what?").name == "what?"


def test_a_store_keeps_token_vectors_as_its_url_says(url: str) -> None:
    with open_store(f"{url}?colbert=bits=1,pool=2") as store:
        assert (store.address, store.name) == (url, url.partition("/")[2])
        store.create(SCHEMA)
        assert store.describe().colbert == SMALL
        assert repr(store) == f"Store('{url}', colbert='bits=1,pool=2')"
    with open_store(url) as any_storage:
        assert any_storage.describe().colbert == SMALL


@pytest.mark.parametrize("option", ["bits=1,pool=2", "pool=2, bits=1", SMALL])
def test_the_keyword_takes_text_and_objects(url: str, option: Any) -> None:
    for address in (url, f"{url}?colbert=bits=1,pool=2"):
        with open_store(address, colbert=option) as store:
            store.create(SCHEMA, exist_ok=True)
            assert store.describe().colbert == SMALL


@pytest.mark.parametrize("option", ["bits=3", "", "bits=1,bits=2", "bits=one", "x=1", 1, b"bits=1"])
@pytest.mark.parametrize("query", ["", "?colbert=bits=1"])
def test_a_bad_keyword_is_refused(url: str, query: str, option: Any) -> None:
    with pytest.raises(InvalidOptionError, match=r"colbert|bits"):
        open_store(f"{url}{query}", colbert=option)


def test_two_values_for_one_collection_are_refused_before_it_is_created(url: str) -> None:
    with pytest.raises(InvalidOptionError, match="'bits=1,pool=2' and as 'bits=1'"):
        open_store(f"{url}?colbert=bits=1,pool=2", colbert="bits=1")
    with open_store(f"{url}?colbert=bits=1") as store:
        with pytest.raises(InvalidOptionError, match="'bits=2' and as 'bits=1'"):
            store.create(SCHEMA, colbert=ColbertStorage(bits=2))
        with pytest.raises(InvalidOptionError, match="'bits=2' and as 'bits=1'"):
            store.view(creates=True, colbert="bits=2")
    check_missing(url)


def check_missing(url: str) -> None:
    with open_store(url) as store:
        assert store.view(creates=True).count() == 0
        store.create(SCHEMA)  # it did not exist


@pytest.mark.parametrize(
    ("scheme", "option", "message"),
    [
        ("archive", "bits=4", r"bits=4 needs .* multiple of 2, got 7"),
        ("qdrant+edge", "bits=1", "bits=1"),  # fewer bits than Qdrant offers
    ],
)
def test_a_storage_that_does_not_fit_leaves_no_folder(
    tmp_path: Path, scheme: str, option: str, message: str
) -> None:
    with (
        open_store(f"{scheme}:{tmp_path}/x/a?colbert={option}") as store,
        pytest.raises(InvalidOptionError, match=message),
    ):
        store.create(Schema(dense=8, sparse=False, colbert=7))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("other", ["bits=2,pool=2", "bits=1", "bits=16"])
def test_reopening_with_another_value_is_an_error(tmp_path: Path, other: str) -> None:
    url = f"archive:{tmp_path}/a"
    with open_store(f"{url}?colbert=bits=1,pool=2") as store:
        store.create(SCHEMA)

    def refused(store: Store) -> None:
        message = f"as 'bits=1,pool=2', expected '{other}'"
        with pytest.raises(SchemaMismatchError, match=re.escape(message)):
            store.count()
        with pytest.raises(SchemaMismatchError, match=re.escape(message)):
            store.create(SCHEMA, exist_ok=True)

    with open_store(f"{url}?colbert={other}") as store:
        refused(store)
    with open_store(url, colbert=other) as store:
        refused(store)


def test_files_are_those_of_the_collection(tmp_path: Path) -> None:
    assert local_files(f"archive:{tmp_path}/a?colbert=bits=1,prune=1/3") == (tmp_path / "a",)
    assert local_files("memory:/a?colbert=bits=1") == ()
