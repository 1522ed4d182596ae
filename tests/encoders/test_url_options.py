"""Options in the URL of an encoder: their types, secrets, and URLs that mean harm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, Literal, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from trivec import open_encoder
from trivec.cli.app import app
from trivec.encoders.remote.encoder import RemoteEncoder
from trivec.encoders.remote.openai import OpenAiOptions
from trivec.encoders.remote.options import RemoteOptions
from trivec.encoders.remote.tei import TeiOptions
from trivec.encoders.url import EncoderUrl
from trivec.errors import InvalidOptionError
from trivec.reranking import RemoteReranker
from trivec.testing import HashEncoder

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "openai+http://localhost:8000/v1?model=BAAI/bge-m3&dimensions=256",
            OpenAiOptions(model="BAAI/bge-m3", dimensions=256),
        ),
        ("openai+http://host?dimensions=none", OpenAiOptions()),
        (
            "tei+http://host:8080?heads=BAAI/bge-m3&name=BAAI/bge-m3",
            TeiOptions(heads="BAAI/bge-m3", name="BAAI/bge-m3"),
        ),
        ("tei+http://host?heads=false", TeiOptions(heads=False)),
        ("tei+http://host?heads=False&query_instruction=", TeiOptions(heads=False)),
        (
            "trivec://host:7600?batch_texts=16&deadline=2.5&requests=%31",
            RemoteOptions(batch_texts=16, deadline=2.5, requests=1),
        ),
        ("trivec://host?deadline=3&&", RemoteOptions(deadline=3.0)),
        ("trivec://[::1]:7600/path?name=a%26b%3D%40c+d", RemoteOptions(name="a&b=@c+d")),
        ("trivec://host?name=größe", RemoteOptions(name="größe")),
        ("trivec://host?", RemoteOptions()),
    ],
)
def test_options_have_their_types(url: str, expected: RemoteOptions) -> None:
    assert type(expected).of_url(EncoderUrl.parse(url), {}) == expected


def test_options_by_name_are_added() -> None:
    url = EncoderUrl.parse("trivec://host?batch_texts=16")
    options = RemoteOptions.of_url(url, {"requests": 2, "token": SECRET})
    assert options == RemoteOptions(batch_texts=16, requests=2, token=SECRET)
    assert str(url) == "trivec://host"
    encoder = open_encoder("trivec://host?batch_texts=16", name="mine")
    assert isinstance(encoder, RemoteEncoder)
    assert encoder._options == RemoteOptions(batch_texts=16, name="mine")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("trivec://host?batch_texts=many", "batch_texts='many': expected int"),
        ("trivec://host?batch_texts=1.0", "batch_texts='1.0': expected int"),
        ("trivec://host?batch_texts=true", "expected int"),
        ("trivec://host?batch_texts=", "expected int"),
        ("trivec://host?batch_texts=0", "batch_texts=0 must be an integer of at least 1"),
        (f"trivec://host?batch_texts={'9' * 5000}", "expected int"),
        ("trivec://host?batch_texts=١٦", "expected int"),
        ("trivec://host?deadline=nan", "deadline='nan': expected float"),
        ("trivec://host?deadline=1e999", "expected float"),
        ("trivec://host?deadline=-1", "deadline"),
        ("trivec://host?batch=1", "unknown option batch; known are token, name"),
        ("trivec://host?name=a&name=b", "name is given twice"),
        ("trivec://host?name", "expected options such as"),
        ("trivec://host?=a", "expected options such as"),
        ("trivec://host?__class__.x=a", "expected options such as"),
        ("trivec://host?name=%00", "cannot be printed"),
        ("trivec://host?name=a%0Ab", "cannot be printed"),
        ("trivec://host?name=%ff", "is not UTF-8"),
        ("trivec://host?name=a#b", "credentials do not belong"),
        ("trivec://host?name=a@b", "written as %40"),
        ("tei+http://host?heads=none&dimensions=3", "unknown option dimensions"),
    ],
)
def test_options_that_are_wrong(url: str, message: str) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        open_encoder(url)


def test_an_option_given_twice() -> None:
    with pytest.raises(InvalidOptionError, match="name is given in the URL and by name"):
        open_encoder("trivec://host?name=a", name="a")


@pytest.mark.parametrize(
    "url",
    [
        f"trivec://host?token={SECRET}",
        f"openai+https://api.openai.com/v1?model=m&token={SECRET}",
        f"trivec://host?name=a&%74oken={SECRET}",
        f"trivec://host?api_key={SECRET}",
        f"trivec://host?{SECRET}",
        f"trivec://host?name=a@{SECRET}",
        f"trivec://me:{SECRET}?name=a",
        f"trivec://me?{SECRET}@host",
    ],
)
def test_secrets_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(InvalidOptionError) as raised:
        open_encoder(url)
    assert SECRET not in str(raised.value)
    if "token=" in url and "%" not in url:
        assert "the environment variable TRIVEC_ENCODER_TOKEN" in str(raised.value)


def test_the_reranker_takes_them() -> None:
    reranker = RemoteReranker("infinity+http://host:7997?model=BAAI/bge-reranker-v2-m3")
    assert reranker._given.model == "BAAI/bge-reranker-v2-m3"
    with pytest.raises(InvalidOptionError, match="does not belong in a URL"):
        RemoteReranker(f"tei+http://host?token={SECRET}")


@dataclass(frozen=True, kw_only=True)
class OwnOptions(RemoteOptions):
    folder: Path | None = None
    exact: bool = False
    mode: Literal["fast", "good"] = "fast"
    password: str | None = field(default=None, repr=False)
    parts: tuple[str, ...] = ()


class OwnEncoder(HashEncoder):
    options_class = OwnOptions

    def __init__(self, options: OwnOptions) -> None:
        super().__init__()
        self.given = options

    @classmethod
    def from_url(cls, url: EncoderUrl, options: Any) -> Self:
        return cls(options)


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    def schemes() -> Mapping[str, EntryPoint]:
        return {"own": EntryPoint("own", "test_url_options:OwnEncoder", "trivec.encoders")}

    monkeypatch.setattr("trivec.encoders.registry.encoder_schemes", schemes)
    monkeypatch.setattr("trivec.entry_points.load_entry_point", lambda *_: OwnEncoder)


@pytest.mark.usefixtures("own")
def test_the_class_of_another_package() -> None:
    encoder: Any = open_encoder("own://host?folder=/data/m3&exact=True&mode=good")
    assert encoder.given == OwnOptions(folder=Path("/data/m3"), exact=True, mode="good")
    for query, message in (
        ("exact=yes", "exact='yes': expected True or False"),
        ("mode=best", "mode='best': expected 'fast' or 'good'"),
        ("parts=dense", "parts cannot stand in a URL; give it by name"),
        (f"password={SECRET}", "password does not belong in a URL"),
    ):
        with pytest.raises(InvalidOptionError, match=message):
            open_encoder(f"own://host?{query}")


def test_the_command_line(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"id": "1", "text": "a whale"}\n', encoding="utf-8")

    def encode(*options: str) -> str:
        command = ["encode", str(rows), "-o", str(tmp_path / "out.safetensors"), *options]
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 1
        return " ".join(done.stderr.split())

    message = encode("--model", f"openai+http://127.0.0.1:1/v1?token={SECRET}")
    assert "TRIVEC_ENCODER_TOKEN" in message
    assert SECRET not in message
    message = encode("--model", "trivec://host?name=a", "--model-name", "b")
    assert "name is given in the URL and by name" in message
    message = encode("--model", "trivec://host", "--max-length", "9")
    assert "--max-length 9 is for a model in this process" in message


@given(st.text(alphabet="abn=&%?@#/:+. 0é\x00\n[]", max_size=30))
def test_any_text_is_options_or_an_error(text: str) -> None:
    try:
        url = EncoderUrl.parse(f"trivec://host?{text}")
        RemoteOptions.of_url(url, {})
    except InvalidOptionError:
        return
    assert set(url.options) <= {"name"}
