"""Secrets, such as keys and passwords, show nowhere."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Callable

import numpy as np
import pytest

from trivec.document import Document
from trivec.errors import TrivecError
from trivec.filters import F
from trivec.stores.store import Store
from trivec.testing.contract.base import ContractBase
from trivec.testing.contract.corpus import SMALL
from trivec.testing.contract.library import Library
from trivec.vectors import Vector, Vectors

_SECRET = re.compile(r"(^|_)(key|token|password|secret|credentials)$")


class SecretRules(ContractBase):
    """Keys and passwords show in no representation, message or log."""

    def test_options_that_are_secret_are_not_shown(self, store: Store) -> None:
        handle = store._handle
        for option in dataclasses.fields(handle.options):
            if _SECRET.search(option.name):
                assert not option.repr, f"{option.name}: declare it with field(repr=False)"

    def test_secrets_show_nowhere(
        self, library: Library, fresh: Store, caplog: pytest.LogCaptureFixture
    ) -> None:
        texts = [repr(fresh), fresh.address, repr(fresh._handle.options)]
        texts += [repr(fresh._handle.backend), fresh._handle.backend.endpoint]
        one = Vectors(dense=np.ones((1, 4)))
        other = Vector(dense=np.ones(5, np.float32))
        calls: list[Callable[[], object]] = [
            lambda: fresh.count(),  # which does not exist
            lambda: fresh.create(SMALL, fields={"lang": str}),
            lambda: fresh.create(SMALL, fields={"lang": str}),
            lambda: fresh.upsert([Document("a", "", {"lang": 1})], one),
            lambda: fresh.search(other, mode="dense"),
            lambda: fresh.count(F("lang") == 1),
            lambda: fresh.delete_where(F("lang").exists() | ~F("lang").exists()),
        ]
        raised = 0
        with caplog.at_level(logging.DEBUG):
            for call in calls:
                try:
                    call()
                except TrivecError as error:
                    raised += 1
                    link: BaseException | None = error
                    while link is not None:
                        texts += [str(link), repr(link)]
                        link = link.__cause__ or link.__context__
        assert raised == len(calls) - 1
        for secret in self.secrets:
            for text in (*texts, caplog.text):
                assert secret not in text
