"""The public surface, locked."""

from __future__ import annotations

import importlib
import pkgutil

import trivec

NAMES = [
    "ColbertStorage",
    "CopyReport",
    "Document",
    "Encoder",
    "Evaluation",
    "Explanation",
    "F",
    "Filter",
    "Hit",
    "IngestReport",
    "Reranker",
    "Schema",
    "Scores",
    "Store",
    "TrivecError",
    "Tuning",
    "Vector",
    "Vectors",
    "Weights",
    "__version__",
    "aingest",
    "copy",
    "evaluate",
    "explain",
    "ingest",
    "open_store",
    "score",
    "tune",
]


def test_the_names_of_the_package() -> None:
    assert trivec.__all__ == NAMES == sorted(NAMES)
    for name in NAMES:
        assert hasattr(trivec, name)


def test_every_module_says_what_it_exports() -> None:
    for module in pkgutil.walk_packages(trivec.__path__, "trivec."):
        if not module.name.rsplit(".", 1)[-1].startswith("_"):
            loaded = importlib.import_module(module.name)
            assert loaded.__doc__, module.name
            for name in getattr(loaded, "__all__", []):
                assert hasattr(loaded, name), (module.name, name)
