"""`trivec serve`: its options, its token and its start."""

from __future__ import annotations

import socket
from dataclasses import fields
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer.main
from hostile_http import HostileServer, answer
from typer.testing import CliRunner

from trivec.cli import serve
from trivec.cli.app import app
from trivec.errors import InvalidOptionError
from trivec.serving import ServeOptions, process
from trivec.testing import HashEncoder


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Load `HashEncoder`, and return the applications that would be served."""
    apps: list[Any] = []

    def run(application: Any, bound: socket.socket, *, ready: Any) -> None:
        apps.append(application)
        ready()

    def load(*given: Any) -> HashEncoder:
        encoder = HashEncoder()
        vars(encoder)["device"] = given[1]
        return encoder

    monkeypatch.setattr(serve, "load_encoder", load)
    monkeypatch.setattr(process, "run", run)
    monkeypatch.delenv(serve.TOKEN, raising=False)
    return apps


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["serve", "m", "--port", "0", *arguments])
    return result.exit_code, result.output


def test_it_says_what_it_serves_and_where(started: list[Any]) -> None:
    code, output = run("--device", "cpu")
    assert code == 0
    assert "serving hash on cpu at http://127.0.0.1:" in output
    assert "can use this server" not in output


async def test_the_token_comes_from_a_file(started: list[Any], tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("s3cret\n")
    code, output = run("--host", "0.0.0.0", "--token-file", str(file))
    assert code == 0
    assert "s3cret" not in output
    assert "can use this server" not in output
    transport = httpx.ASGITransport(started[0])
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as http:
        assert (await http.get("/metrics")).status_code == 401
        headers = {"Authorization": "Bearer s3cret"}
        assert (await http.get("/metrics", headers=headers)).status_code == 200


def test_without_a_token_other_interfaces_warn(started: list[Any]) -> None:
    code, output = run("--host", "0.0.0.0")
    assert code == 0
    assert "everybody who reaches 0.0.0.0 can use this server" in " ".join(output.split())


def test_the_token_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(serve.TOKEN, "of the environment")
    assert serve.read_token(None) == "of the environment"
    file = tmp_path / "token"
    file.write_text("\n")
    with pytest.raises(InvalidOptionError, match="is empty"):
        serve.read_token(file)


def test_wrong_limits_end_before_a_model_is_loaded(started: list[Any]) -> None:
    code, output = run("--max-texts", "10", "--queue-texts", "5")
    assert code == 1
    assert "queue_texts=5 is less than one request may have" in " ".join(output.split())
    assert not started


def test_a_port_in_use(started: list[Any]) -> None:
    with process.bind("127.0.0.1", 0) as bound:
        bound.listen()
        code, output = run("--port", str(bound.getsockname()[1]))
    assert code == 1
    assert "in use" in output


def test_the_options_of_the_server_are_those_of_the_command(started: list[Any]) -> None:
    code, output = run("--max-texts", "3", "--queue-texts", "2")
    assert code == 1
    assert "queue_texts=2 is less than one request may have: max_texts=3" in " ".join(
        output.split()
    )
    command: Any = typer.main.get_command(app)
    options = {option.name: option for option in command.commands["serve"].params}
    declared = {field.name: field for field in fields(ServeOptions) if field.metadata}
    assert set(declared) == {"max_texts", "max_bytes", "queue_texts", "queue_bytes", "timeout"}
    for name, field in declared.items():
        assert (options[name].default, options[name].help) == (
            field.default,
            field.metadata["help"],
        )
    assert not {"token", "share"} & set(options)


async def test_a_reranker_behind_a_url(started: list[Any]) -> None:
    scores = {"scores": [0.5]}
    with HostileServer(lambda request: answer(200, scores)) as other:
        assert run("--reranker", f"trivec://127.0.0.1:{other.port}")[0] == 0
        transport = httpx.ASGITransport(started[0])
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as http:
            given = await http.post("/rerank", json={"query": "a", "texts": ["b"]})
    assert given.json() == scores
