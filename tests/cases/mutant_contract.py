"""The contract of stores on mutants, and with flags that are right and wrong.

Many of these tests fail; tests/contract/test_mutants.py says which, and runs them.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, cast

from mutants import CAUGHT_BY
from plain_backend import PlainBackend

from trivec import Store
from trivec.testing.contract import StoreContract


def _contract(mutant: type[PlainBackend]) -> type[StoreContract]:
    def open(self: StoreContract, folder: Path, name: str) -> Store:
        return Store(mutant(name))

    members = {"open": open, "secrets": ("open sesame",), "__module__": __name__}
    return cast(type[StoreContract], type(f"Test{mutant.__name__}", (StoreContract,), members))


class Forgetful(PlainBackend):
    """Every store has a collection of its own."""

    numbers = itertools.count()

    def __init__(self, name: str) -> None:
        super().__init__(f"{name}-{next(self.numbers)}")


class TestForgetful(StoreContract):
    persistent = False
    concurrent = False

    def open(self, folder: Path, name: str) -> Store:
        return Store(Forgetful(name))


class TestModest(StoreContract):
    persistent = False
    not_yet: ClassVar[Mapping[str, str]] = {
        "test_delete_by_id": "nobody wrote it",
        "test_k_may_exceed_the_collection[rrf]": "nor this",
    }

    def open(self, folder: Path, name: str) -> Store:
        return Store(PlainBackend(name))


FLAGS = {
    "TestForgetful::test_closed_and_reopened_everything_is_found": "expected failure",
    "TestForgetful::test_both_stores_can_drop_a_collection": "expected failure",
    "TestForgetful::test_each_call_goes_by_the_new_description[get]": "expected failure",
    "TestForgetful::test_delete_by_id": "passed",
    "TestModest::test_closed_and_reopened_everything_is_found": "failed",
    "TestModest::test_delete_by_id": "failed",
    "TestModest::test_k_may_exceed_the_collection[rrf]": "failed",
    "TestModest::test_k_may_exceed_the_collection[dense]": "passed",
}
"""Tests with flags, and what comes of them: a test that passes against its flag fails."""


globals().update({f"Test{mutant.__name__}": _contract(mutant) for mutant in CAUGHT_BY})
