"""Opening stores by URL."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from typing import Any

import pytest
from installed import install, on_path

from trivec import Schema, open_store
from trivec.entry_points import requirement
from trivec.errors import InvalidOptionError, MissingDependencyError, StoreError
from trivec.stores.memory import MemoryBackend
from trivec.stores.registry import installed_backends, required_packages, store_schemes
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
        ("archive:~/a", StoreUrl("archive", "a", path=Path.home())),
        ("archive:/a", StoreUrl("archive", "a", path=Path("/"))),
        ("archive:a", StoreUrl("archive", "a")),
    ],
)
def test_urls(url: str, parsed: StoreUrl) -> None:
    assert StoreUrl.parse(url) == parsed


@pytest.mark.parametrize(
    "url",
    [
        *("articles", "", "memory:", "qdrant+edge:folder/", "qdrant://host", "qdrant://host/a/b"),
        *("qdrant://host:x/a", "qdrant://host/a?b=c", "QDRANT://host/a"),
        *(" memory:/a", "memory:/a\n", "archive:x/..", "archive:~nobody-here/a"),
    ],
)
def test_bad_urls(url: str) -> None:
    with pytest.raises(InvalidOptionError):
        StoreUrl.parse(url)


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("qdrant+edge://./a", "write 'qdrant+edge:./a'"),
        ("qdrant+edge://./data/a", "write 'qdrant+edge:./data/a'"),
        ("qdrant+edge:///data/a", "write 'qdrant+edge:/data/a'"),
        ("qdrant+edge://C:/data/a", "write 'qdrant+edge:C:/data/a'"),
        ("qdrant+local://data/a", "write 'qdrant+local:data/a'"),
        ("milvus+lite://file.db/a", "write 'milvus+lite:file.db/a'"),
        ("archive://data/a", "write 'archive:data/a'"),
        ("memory://a", "write 'memory:/a'"),
        ("qdrant+memory://a", "write 'qdrant+memory:/a'"),
        ("memory:data/a", "has no folder; write 'memory:/name'"),
        ("qdrant+edge:C:\\data\\a", "write 'qdrant+edge:C:/data/a'"),
        ("qdrant+edge:a", "such as 'qdrant+edge:./a'"),
        ("qdrant+edge:data/", "without the name of a collection; expected qdrant+edge:FOLDER/name"),
        ("milvus+lite:a", "such as 'milvus+lite:./milvus.db/a'"),
        ("qdrant:./a", "expected qdrant://host:port/a, or 'qdrant+edge:./a' for a folder"),
        ("milvus:./x.db/a", "expected milvus://host:19530/a, or 'milvus+lite:FILE.db/a'"),
        ("vespa:a", "expected vespa://host:port/a"),
        (
            "qdrant://host:6333",
            "without the name of a collection; expected qdrant://host:port/name",
        ),
        ("qdrant://host:99999/a", "a port from 1 to 65535"),
        ("qdrant://[::1/a", "an IPv6 address in brackets"),
        ("qdrant://ho st/a", "must have the form qdrant://host:port/name"),
        ("qdrant://./a", "must have the form qdrant://host:port/name"),
    ],
)
def test_a_bad_url_is_answered_with_the_right_form(url: str, advice: str) -> None:
    with pytest.raises(InvalidOptionError, match=re.escape(advice)):
        open_store(url)


@pytest.mark.parametrize("scheme", ["archive:", "qdrant+local:", "qdrant+edge:", "milvus+lite:"])
def test_a_folder_that_cannot_be_made_is_told(scheme: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    name = "x.db/name" if scheme == "milvus+lite:" else "folder/name"
    with (
        pytest.raises(StoreError),
        open_store(f"{scheme}{tmp_path}/file/{name}") as store,
    ):
        store.create(Schema(dense=4, sparse=False, colbert=None))


@pytest.mark.parametrize(
    "url",
    [
        *("qdrant://user:hunter2@host/a", "milvus://hunter2@host/a", "vespas://:hunter2@h:1/a"),
        *("qdrant://user:hunter2@host", "qdrant://user:hunter2@[/a", "qdrant://user:hun@hunter2@/"),
        *("qdrant://user:a/hunter2@host/a", "qdrant://user:a?hunter2@host/a", "//u:hunter2@h/a"),
        *("qdrant://user:hunter2/a", "qdrant://user:hunter2", "qdrant://user:12hunter2/a"),
        *("qdrant://user:hunter2%40host/a", "qdrant:/user:hunter2@host/a", "qdrant:hunter2@host"),
        *("archive:///a/#hunter2", "qdrant+edge://host/a?api_key=hunter2", "x+y://a/b=hunter2"),
        *("qdrant://host/a?b=c@d/hunter2", "x?/@]:0/hunter2"),
        *("qdrant:-/a#hunter2", "vespa:/key=hunter2"),
        *("https://user:hunter2@host/a", "https://host/a?api_key=hunter2", "user:hunter2@host"),
        *("qdrant://host/a?api_key=hunter2", "milvus://host:x/a?token=hunter2", "a?b=hunter2"),
        *("qdrant://]/a?api_key=hunter2", "qdrant://host/a#hunter2", "qdrant://host?hunter2"),
        *("qdrant://host:6333:hunter2/a", "qdrant://host/a/b?api_key=hunter2", "KEY=hunter2"),
        *("qdrant+edge://user:hunter2@host/a", "qdrant+edge://host/a?api_key=hunter2"),
        *("qdrant://user:hunter2@host/a\n", "qdrant://user:hunter2@ho\0st/a", "Q://u:hunter2@h/a"),
        *(
            "qdrant://user:hunter2@ho\ud800st/a",
            "qdrant://host/a?x=\u202ehunter2",
            "x+y://?hunter2",
        ),
        *("qdrant://user:hunter2@" + "h" * 5000 + "/a", "nope://user:hunter2@host/a"),
    ],
)
def test_a_secret_in_a_url_is_refused_and_repeated_nowhere(url: str) -> None:
    with pytest.raises(InvalidOptionError) as caught:
        open_store(url)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value, limit=0))
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "url",
    [
        *("qdrant://]/x", "qdrant://[/x", "qdrant://[x]/x", "qdrant://[v1.a]/x", "qdrant:///x"),
        *("qdrant://h:0/x", "qdrant://h:-1/x", "qdrant://h:\u0663/x", "qdrant://h:65536/x"),
        *("qdrant://h:" + "9" * 5000 + "/x", "qdrant://" + "a" * 64 + "/x", "qdrant://-/x"),
        *("qdrant://" + "a." * 200 + "/x", "qdrant://a..b/x", "qdrant://%41/x", "qdrant://a%/x"),
        *("qdrant://\u2100/x", "qdrant://\uff0f/x", "qdrant://xn--99999999/x", "qdrant://a,b/x"),
        *("archive:" + "d/" * 3000 + "x", "archive:" + "d" * 256 + "/x", "archive:d/" + "x" * 256),
        *("qdrant://h/x\0", "\ud800:/x", "memory:/\ud800", "[", "://", "//", ":", "qdrant:", "?@"),
    ],
)
def test_no_text_raises_anything_else(url: str) -> None:
    with pytest.raises(InvalidOptionError) as caught:
        open_store(url)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("url", [None, 5, 10**5000, b"memory:/x", Path("x"), ["x"]], ids=type)
def test_what_is_no_text_is_no_url(url: Any) -> None:
    with pytest.raises(InvalidOptionError, match="is not the URL of a store"):
        open_store(url)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("qdrant://localhost/x", "localhost"),
        ("qdrant://my_host-1.example./x", "my_host-1.example."),
        ("qdrant://127.0.0.1:1/x", "127.0.0.1"),
        ("qdrant://[::1]:65535/x", "::1"),
        ("qdrant://b\u00fccher.example/x", "xn--bcher-kva.example"),
    ],
)
def test_hosts(url: str, host: str) -> None:
    assert StoreUrl.parse(url).host == host


def test_folders_of_embedded_stores_have_any_name() -> None:
    url = StoreUrl.parse("archive:/a@b/c?d=e#f/x")
    assert (url.path, url.name) == (Path("/a@b/c?d=e#f"), "x")
    with pytest.raises(InvalidOptionError, match=r"'archive:/a@b\?c=d/\.\.'"):
        StoreUrl.parse("archive:/a@b?c=d/..")


def test_an_unknown_scheme_lists_the_known_ones() -> None:
    with pytest.raises(InvalidOptionError, match=r"'nope'.*memory"):
        open_store("nope:/a")


def test_an_unknown_option_lists_the_known_ones() -> None:
    with pytest.raises(InvalidOptionError, match=r"colour.*batch_bytes"):
        open_store("memory:/a", colour="red")
    store = open_store("memory:/a", batch_bytes=10)
    assert isinstance(store._handle.backend, MemoryBackend)


@pytest.mark.parametrize(
    ("scheme", "extra"), [("qdrants", "qdrant"), ("milvus+lite", "milvus"), ("milvus", "milvus")]
)
def test_a_missing_client_names_the_extra(tmp_path: Path, scheme: str, extra: str) -> None:
    assert requirement(store_schemes()[scheme]) == f"trivec[{extra}]"
    entry = f"{scheme} = trivec_no_such_package:Store [{extra}]"
    install(tmp_path, "trivec", entry_points=[entry])
    with (
        on_path(tmp_path),
        pytest.raises(MissingDependencyError, match=rf"pip install 'trivec\[{extra}\]'"),
    ):
        open_store("milvus+lite:./x.db/a" if "+" in scheme else f"{scheme}://localhost/a")


def test_a_package_from_outside_brings_a_store(lance: str) -> None:
    with open_store(lance) as store:
        store.create(Schema(dense=4, sparse=False, colbert=None))
        assert (store.count(), store.limits.database) == (0, "lance")
        store.drop()
    assert [backend.__name__ for backend in installed_backends()].count("LanceBackend") == 1


@pytest.mark.parametrize(
    ("entry", "advice"),
    [
        ("lance = trivec_lance:LanceBackend", "pip install 'trivec-lance'"),
        ("lance = trivec_lance:LanceBackend [gpu]", r"pip install 'trivec-lance\[gpu\]'"),
    ],
)
def test_a_missing_client_names_the_package_of_the_entry_point(
    tmp_path: Path, entry: str, advice: str
) -> None:
    install(tmp_path, "trivec-lance", entry_points=[entry], code="import lance_no_such_client")
    with on_path(tmp_path):
        with pytest.raises(MissingDependencyError, match=f"lance_no_such_client.*{advice}"):
            open_store("lance://localhost/articles")
        assert "LanceBackend" not in [backend.__name__ for backend in installed_backends()]


@pytest.mark.parametrize("code", ["", "LanceBackend = 5", "class LanceBackend: pass"])
def test_an_entry_point_that_is_no_backend(tmp_path: Path, code: str) -> None:
    entry = "lance = trivec_lance:LanceBackend"
    install(tmp_path, "trivec-lance", entry_points=[entry], code=code)
    with on_path(tmp_path), pytest.raises(InvalidOptionError, match="is not a trivec Backend"):
        open_store("lance://localhost/articles")


def test_required_packages(lance: str) -> None:
    dist = store_schemes()["lance"].dist
    assert dist is not None
    assert dist.name == "trivec-lance"
    assert required_packages(store_schemes()["lance"]) == ["trivec", "lance-client"]
    assert "numpy" in required_packages(store_schemes()["memory"])
    assert "pymilvus" not in required_packages(store_schemes()["qdrant"])
    assert "pymilvus" in required_packages(store_schemes()["milvus+lite"])
