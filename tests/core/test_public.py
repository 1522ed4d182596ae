"""The public surface, locked."""

from __future__ import annotations

import importlib
import pkgutil

import trivec


def test_the_names_of_the_package() -> None:
    assert trivec.__all__ == sorted(trivec.__all__)
    for name in ("Document", "F", "Hit", "Scores", "Store", "Vector", "Vectors", "Weights"):
        assert name in trivec.__all__
    assert {"open_store", "score"} <= set(trivec.__all__)


def test_every_module_says_what_it_exports() -> None:
    for module in pkgutil.walk_packages(trivec.__path__, "trivec."):
        if not module.name.rsplit(".", 1)[-1].startswith("_"):
            loaded = importlib.import_module(module.name)
            assert loaded.__doc__, module.name
            for name in getattr(loaded, "__all__", []):
                assert hasattr(loaded, name), (module.name, name)
