"""The contract as one class."""

from __future__ import annotations

from trivec.testing.contract.asynchronous import AsyncRules
from trivec.testing.contract.collections import CollectionRules
from trivec.testing.contract.documents import DocumentRules
from trivec.testing.contract.evidence import EvidenceRules
from trivec.testing.contract.faults import FaultRules
from trivec.testing.contract.filters import FilterRules
from trivec.testing.contract.groups import GroupRules
from trivec.testing.contract.handles import HandleRules
from trivec.testing.contract.search import SearchRules
from trivec.testing.contract.secrets import SecretRules
from trivec.testing.contract.storage import StorageRules
from trivec.testing.contract.strange_filters import StrangeFilterRules
from trivec.testing.contract.ties import TieRules
from trivec.testing.contract.values import ValueRules
from trivec.testing.contract.views import ViewRules


class StoreContract(
    AsyncRules,
    ViewRules,
    HandleRules,
    FaultRules,
    SecretRules,
    EvidenceRules,
    StorageRules,
    CollectionRules,
    TieRules,
    StrangeFilterRules,
    FilterRules,
    GroupRules,
    SearchRules,
    ValueRules,
    DocumentRules,
):
    """The promises of every store, as tests: subclass it, say how a store is opened, run pytest.

    The tests share collections; no test depends on another one, and each can run alone. The exact
    reference store `memory:` is what searches are compared with. The flags are class attributes:

    Attributes:
        tolerance (float): How far scores and vectors may be from those that were written: 1e-6 for
            float32, 2e-3 for 16 bits. With more than 1e-6, documents whose scores are nearer to
            each other than that may change places.
        persistent (bool): Whether a store that is opened again finds what a closed one wrote.
        concurrent (bool): Whether two open stores of one collection see each other's writes.
        single (bool): Whether there is room for one collection only, so that all tests use one
            name in turn.
        float64_fields (bool): Whether a declared float is kept in 64 bits, so that the backend
            refuses an integer that would be rounded.
        colbert (ColbertStorage | None): How the collections keep token vectors; None for the
            default.
        storages (Sequence[ColbertStorage]): How token vectors are kept in the tests that compare
            with `memory:`, as far as the database offers the bits: by default all bits, pooled by
            1, 2 and 3, and some pruned. A database that takes seconds to create a collection
            names fewer.
        secrets (tuple[str, ...]): Keys and passwords that `open` uses, which must show nowhere.
        not_yet (Mapping[str, str]): Tests that fail for now, by name or by name and parameters
            such as "test_filters_hold_in_every_mode[rrf-list]", and why.
        examples (int): How many random filters each of four tests checks.

    `persistent` and `concurrent` set to False, and `not_yet`, are strict: the tests must fail, and
    one that passes fails, so that no flag outlives its reason. What `store.limits` says needs no
    flag: limits are tested where there are some, and a store with `declared_fields_only` must
    refuse filters on other fields.

    Example:
        >>> class TestMemory(StoreContract):
        ...     def open(self, folder, name):
        ...         return open_store(f"memory:/{name}")
    """
