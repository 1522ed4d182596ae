"""The public surface, locked."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from pathlib import Path

import pytest

import trivec

ROOT = Path(__file__).parents[2]

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
    "Passages",
    "Reranker",
    "Schema",
    "ScoredPassage",
    "Scores",
    "StorageReport",
    "Store",
    "TrivecError",
    "Tuning",
    "Vector",
    "Vectors",
    "Weights",
    "__version__",
    "aingest",
    "aread_parents",
    "best_passages",
    "copy",
    "evaluate",
    "explain",
    "ingest",
    "measure_storage",
    "open_encoder",
    "open_store",
    "read_documents",
    "read_parents",
    "score",
    "tune",
]

FACADES: dict[str, list[str]] = {
    "trivec": NAMES,
    "trivec.filters": [
        *("ALWAYS", "NEVER", "And", "Comparison", "F", "Filter", "Not", "Op", "Or", "Scalar"),
        *("check_is_filter", "metadata_values", "parse_datetime", "split_path"),
    ],
    "trivec.ingestion.sources": [
        *("FORMATS", "LAYOUTS", "MADE_IDS", "PRESETS", "QUOTINGS", "ReadOptions", "RejectFile"),
        *("Source", "SourceOptions", "read_documents"),
    ],
    "trivec.encoders": [
        *("CachingEncoder", "CachingOptions", "Encoder", "EncoderUrl", "EncodingOptions"),
        *("OnnxEncoder", "PassageEncoder", "Precision", "RemoteEncoder"),
        *("RemoteEncodingOptions", "RemoteOptions"),
        *("TextEncoder", "Token", "TokenizingEncoder", "Truncation", "open_encoder"),
    ],
    "trivec.errors": [
        *("AuthenticationError", "CheckpointError", "CollectionNotFoundError"),
        *("DocumentRefusedError", "EncoderError", "EncoderUnavailableError"),
        *("IncompleteResultError", "InvalidDocumentError"),
        *("InvalidFilterError", "InvalidInputError", "InvalidOptionError", "InvalidVectorsError"),
        *("JournalError", "MissingDependencyError", "OutputError", "RequestTooLargeError"),
        *("SchemaMismatchError", "StoreError", "StoreFullError", "StoreUnavailableError"),
        *("TooManyRejectsError", "TrivecError", "UnavailableError"),
    ],
    "trivec.reranking": [
        *("Candidate", "CrossEncoder", "RemoteReranker", "RerankMode", "Reranker", "Rescorer"),
        "diverse",
    ],
    "trivec.serving": ["ServeOptions", "application"],
    "trivec.stores": [
        *("Backend", "Capability", "Collection", "FieldType", "Limits", "OptimizeReport", "Page"),
        "Pause",
        *("Search", "SearchOptions", "Steps", "Stepwise", "StorageChoice", "Store", "StoreOptions"),
        *("StoreUrl", "TokenCodes", "UpsertReport", "check_seconds", "open_store", "opener"),
        *("request_seconds", "rotated", "search_rows"),
    ],
    "trivec.testing": ["HashEncoder"],
    "trivec.testing.contract": ["StoreContract"],
    "trivec_langchain": [
        *("TrivecEmbeddings", "TrivecReranker", "TrivecRetriever", "TrivecTranslator"),
        *("TrivecVectorStore", "sparse_embeddings"),
    ],
    "trivec_llamaindex": [
        *("TrivecEmbedding", "TrivecRerank", "TrivecRetriever", "TrivecSparseEmbedding"),
        "TrivecVectorStore",
    ],
    "trivec_milvus": ["MilvusBackend", "MilvusOptions", "MilvusStore", "Names"],
    "trivec_qdrant": ["Names", "QdrantBackend", "QdrantOptions", "QdrantStore"],
    "trivec_ray": ["ingest"],
    "trivec_vespa": [
        *("VespaBackend", "VespaOptions", "VespaStore"),
        *("application_package", "write_application", "write_feed"),
    ],
}
"""The modules with an `__all__`, and the names that they export."""


@pytest.mark.parametrize("facade", FACADES)
def test_the_names_of_a_facade(facade: str) -> None:
    module = importlib.import_module(facade)
    names = FACADES[facade]
    assert module.__all__ == names
    assert len(set(names)) == len(names)
    for name in names:
        assert hasattr(module, name)


def test_the_names_of_the_package_are_sorted() -> None:
    assert sorted(NAMES) == NAMES


def _has_all(path: Path) -> bool:
    assigned = [
        target.id
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    ]
    return "__all__" in assigned


def test_only_facades_define_their_exports() -> None:
    wrong = []
    for root in ("core", "connectors"):
        for path in sorted((ROOT / root).rglob("*.py")):
            parts = path.relative_to(ROOT / root).with_suffix("").parts
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            if _has_all(path) and module not in FACADES:
                wrong.append(module)
    assert wrong == []


def test_every_module_has_a_docstring() -> None:
    for module in pkgutil.walk_packages(trivec.__path__, "trivec."):
        if not module.name.rsplit(".", 1)[-1].startswith("_"):
            loaded = importlib.import_module(module.name)
            assert loaded.__doc__, module.name
            for name in getattr(loaded, "__all__", []):
                assert hasattr(loaded, name), (module.name, name)
