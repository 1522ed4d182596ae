"""The contract passes on a small correct backend: what mutants of it fail is theirs."""

from pathlib import Path

from plain_backend import PlainBackend

from trivec import Store
from trivec.testing.contract import StoreContract


class TestPlain(StoreContract):
    secrets = ("open sesame",)

    def open(self, folder: Path, name: str) -> Store:
        return Store(PlainBackend(name))
