"""Runs the contract of stores on mutants; no test module, so that only `run` collects it.

Each mutant has a class, which opens its stores.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

from mutants import CAUGHT_BY
from plain_backend import PlainBackend

from trivec import Store
from trivec.testing.contract import StoreContract


def _contract(mutant: type[PlainBackend]) -> type[StoreContract]:
    def open(self: StoreContract, folder: Path, name: str) -> Store:
        return Store(mutant(name))

    members = {"open": open, "secrets": ("open sesame",), "__module__": __name__}
    return cast(type[StoreContract], type(f"Test{mutant.__name__}", (StoreContract,), members))


globals().update({f"Test{mutant.__name__}": _contract(mutant) for mutant in CAUGHT_BY})
