"""The contract of stores for one of the cases that tests run on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
from store_cases import StoreCase, VespaCase

from trivec import Store, Vectors
from trivec.testing.contract import StoreContract


class CaseContract(StoreContract):
    """The contract of the store of one case."""

    case: ClassVar[StoreCase]
    examples = 75

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        cls.tolerance = cls.case.tolerance
        cls.colbert = cls.case.colbert
        cls.single = cls.float64_fields = isinstance(cls.case, VespaCase)
        cls.storages = cls.case.storages

    @pytest.fixture(autouse=True)
    def _server(self, request: pytest.FixtureRequest) -> None:
        if self.case.fixture:
            request.getfixturevalue(self.case.fixture)

    def open(self, folder: Path, name: str) -> Store:
        return self.case.open(folder, name)

    def stored(self, vectors: Vectors) -> Vectors:
        return self.case.stored(vectors)

    def colbert_tolerance(self, bits: int) -> float:
        codec = self.case.codecs.get(bits)
        return codec.scores if codec else super().colbert_tolerance(bits)

    def token_tolerance(self, bits: int) -> float:
        codec = self.case.codecs.get(bits)
        return codec.vectors if codec else super().token_tolerance(bits)
