"""Where Milvus is and how to enter: environment variables, TLS, secrets."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from trivec import open_store
from trivec.errors import InvalidOptionError
from trivec.stores.url import StoreUrl
from trivec_milvus import MilvusOptions
from trivec_milvus.client import Address


def _address(url: str = "milvus://host/x", **options: Any) -> Address:
    return Address.of(StoreUrl.parse(url), MilvusOptions(**options))


@pytest.mark.parametrize("said", ["1", "true", "yes", "on", "True", "YES", " On "])
def test_tls_by_the_environment(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("MILVUS_TLS", said)
    assert _address().secure
    assert not _address(tls=False).secure


@pytest.mark.parametrize("said", ["0", "false", "no", "off", "False", " NO ", "OFF", "", " "])
def test_no_tls_by_the_environment(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("MILVUS_TLS", said)
    assert not _address().secure
    assert _address(tls=True).secure


@pytest.mark.parametrize("said", ["n", "f", "2", "none", "tru", "enabled", "yes please"])
def test_what_is_neither_yes_nor_no(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("MILVUS_TLS", said)
    with pytest.raises(InvalidOptionError, match=r"MILVUS_TLS=.*1, true, yes, on, or 0"):
        _address()
    with pytest.raises(InvalidOptionError, match=r"tls: expected True or False, got str"):
        _address(tls=said)


def test_certificates_are_read_before_anybody_connects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for content in (None, b"", b"no certificate", b"\xff\x00"):
        file = tmp_path / "ca.pem"
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(InvalidOptionError, match=r"ca_file \(MILVUS_CA_FILE\).*ca\.pem"):
            open_store("milvus://127.0.0.1:9/x", ca_file=file)
    monkeypatch.setenv("MILVUS_CA_FILE", str(tmp_path))
    with pytest.raises(InvalidOptionError, match="MILVUS_CA_FILE"):
        _address()


@pytest.mark.parametrize(
    ("url", "options", "warned"),
    [
        ("milvus://example.org/x", {"token": "s3cret"}, True),
        ("milvus://10.0.0.7/x", {"user": "me", "password": "s3cret"}, True),
        ("milvus://[fe80::1]/x", {"token": "s3cret"}, True),
        ("milvus://localhost.example.org/x", {"token": "s3cret"}, True),
        ("milvus://example.org/x", {}, False),
        ("milvus://example.org/x", {"token": "s3cret", "tls": True}, False),
        ("milvus://localhost/x", {"token": "s3cret"}, False),
        ("milvus://127.8.0.1/x", {"token": "s3cret"}, False),
        ("milvus://[::1]/x", {"token": "s3cret"}, False),
    ],
)
def test_secrets_that_leave_the_machine_as_they_are(
    caplog: pytest.LogCaptureFixture, url: str, options: dict[str, Any], warned: bool
) -> None:
    _address(url, **options).warn_of_plain_secrets()
    assert [r.levelno for r in caplog.records] == [logging.WARNING] * warned
    assert ("without encryption" in caplog.text) is warned
    assert "s3cret" not in caplog.text


def test_a_store_warns_once(
    milvus_double: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("trivec_milvus.client.is_loopback", lambda host: False)
    with open_store(f"{milvus_double}/nothing", token="s3cret") as store:
        for _ in range(2):
            with pytest.raises(Exception, match="does not exist"):
                store.count()
    assert caplog.text.count("without encryption") == 1
