"""The contract passes on a small correct backend: what mutants of it fail is theirs."""

from pathlib import Path

from plain_backend import PlainBackend

from trivec import ColbertStorage, Store
from trivec.stores import Limits
from trivec.testing.contract import StoreContract
from trivec.testing.contract.storage import StorageRules


class TestPlain(StoreContract):
    secrets = ("open sesame",)

    def open(self, folder: Path, name: str) -> Store:
        return Store(PlainBackend(name))


class SmallBackend(PlainBackend):
    """A backend that holds few token vectors of a document, in few bits."""

    limits = Limits(colbert_rows=64, colbert_bits=(16, 4))


class TestSmall(StorageRules):
    storages = (ColbertStorage(16, pool=3), ColbertStorage(4, pool=2, prune=1 / 3))

    def open(self, folder: Path, name: str) -> Store:
        return Store(SmallBackend(name))
