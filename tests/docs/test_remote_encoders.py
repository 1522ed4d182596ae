"""The page on encoders on servers runs as it is written, with a server on another port."""

from __future__ import annotations

import re
import shlex
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from thread_server import thread_server
from typer.testing import CliRunner

from trivec.cli import serve
from trivec.cli.app import app
from trivec.serving import application, process
from trivec.stores import memory
from trivec.testing import HashEncoder

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "remote-encoders.md"
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```", re.DOTALL | re.MULTILINE)
ROWS = '{"id": "1", "text": "The blue whale is the largest animal."}\n'


class Lengths:
    """A reranker: the score of a pair is the number of its characters."""

    model = "lengths"

    def score_pairs(self, pairs: Sequence[tuple[str, str]]) -> Any:
        return np.array([len(query) + len(text) for query, text in pairs], np.float32)


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str]]]:
    """Yield the blocks of the page, with the port of a running server."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(memory, "_tables", {})
    (tmp_path / "articles.jsonl").write_text(ROWS, encoding="utf-8")
    with thread_server(application(HashEncoder(), Lengths())) as port:
        text = PAGE.read_text(encoding="utf-8").replace("localhost:7600", f"localhost:{port}")
        yield BLOCK.findall(text)


def test_the_python_runs(
    page: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "page", ModuleType("page"))
    names: dict[str, Any] = {"__name__": "page"}
    blocks = [code for language, code in page if language == "python"]
    assert len(blocks) == 5
    for code in blocks:
        exec(compile(code, str(PAGE), "exec"), names)
    names["encoder"].close()
    names["reranker"].close()
    names["other"].close()
    printed = capsys.readouterr().out
    assert printed.startswith("The blue whale is the largest animal.\n")
    assert "maker/other" in printed


def commands(blocks: list[tuple[str, str]]) -> Iterator[tuple[dict[str, str], list[str]]]:
    """Yield the environment and the arguments of each call of `trivec`."""
    for language, block in blocks:
        for line in block.splitlines() if language == "sh" else ():
            words = shlex.split(line, comments=True)
            environment: dict[str, str] = {}
            while words and "=" in words[0]:
                name, _, value = words.pop(0).partition("=")
                environment[name] = value
            if words[:1] == ["trivec"]:
                yield environment, words[1:]


def test_the_commands_run(
    page: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    served: list[object] = []
    bind = process.bind
    monkeypatch.setattr(serve, "load_encoder", lambda *given: HashEncoder())
    monkeypatch.setattr(serve, "load_reranker", lambda *given: Lengths())
    monkeypatch.setattr(process, "bind", lambda host, port: bind(host, 0))
    monkeypatch.setattr(process, "run_each", lambda work, bound: served.append(work))

    def run(application: object, bound: socket.socket, *, ready: object) -> None:
        served.append(application)

    monkeypatch.setattr(process, "run", run)
    secret = tmp_path / "secret"
    secret.write_text("s3cret", encoding="utf-8")
    called: list[str] = []
    for environment, words in commands(page):
        arguments = [str(secret) if word == "/run/secrets/trivec" else word for word in words]
        result = CliRunner().invoke(app, arguments, env=environment)
        assert result.exit_code == 0, (words, result.output)
        called.append(words[0])
    assert called.count("serve") == len(served) == 5
    assert called[-4:] == ["ingest", "search", "explain", "search"]
