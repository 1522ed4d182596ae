"""BGE-M3's dense, sparse and ColBERT vectors in Qdrant, Milvus and Vespa, with one score.

What a search needs is imported with this package, the rest when it is first used.
"""

from typing import TYPE_CHECKING

from trivec._version import __version__
from trivec.colbert_storage import ColbertStorage
from trivec.document import Document
from trivec.encoders.registry import open_encoder
from trivec.errors import TrivecError
from trivec.filters import F, Filter
from trivec.hit import Hit
from trivec.lazy import imported_on_use
from trivec.schema import Schema
from trivec.scored_passage import ScoredPassage
from trivec.scores import Scores, Weights, score
from trivec.stores.registry import open_store
from trivec.stores.store import Store
from trivec.vectors import Vector, Vectors

if TYPE_CHECKING:
    from trivec.encoders.encoder import Encoder
    from trivec.ingestion.copying import CopyReport, copy
    from trivec.ingestion.ingest import aingest, ingest
    from trivec.ingestion.report import IngestReport
    from trivec.ingestion.sources import read_documents
    from trivec.insight.evaluation import Evaluation, evaluate
    from trivec.insight.explanation import Explanation, explain
    from trivec.insight.storage.measurement import measure_storage
    from trivec.insight.storage.report import StorageReport
    from trivec.insight.tuned import Tuning
    from trivec.insight.tuning import tune
    from trivec.passages.best import best_passages
    from trivec.passages.options import Passages
    from trivec.passages.parents import aread_parents, read_parents
    from trivec.reranking.cross_encoder import Reranker
else:
    __getattr__, __dir__ = imported_on_use(
        __name__,
        {
            "trivec.encoders.encoder": ("Encoder",),
            "trivec.ingestion.copying": ("CopyReport", "copy"),
            "trivec.ingestion.ingest": ("aingest", "ingest"),
            "trivec.ingestion.report": ("IngestReport",),
            "trivec.ingestion.sources": ("read_documents",),
            "trivec.insight.evaluation": ("Evaluation", "evaluate"),
            "trivec.insight.explanation": ("Explanation", "explain"),
            "trivec.insight.storage.measurement": ("measure_storage",),
            "trivec.insight.storage.report": ("StorageReport",),
            "trivec.insight.tuned": ("Tuning",),
            "trivec.insight.tuning": ("tune",),
            "trivec.passages.best": ("best_passages",),
            "trivec.passages.options": ("Passages",),
            "trivec.passages.parents": ("aread_parents", "read_parents"),
            "trivec.reranking.cross_encoder": ("Reranker",),
        },
    )

__all__ = [
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
