"""BGE-M3's dense, sparse and ColBERT vectors in Qdrant, Milvus and Vespa, with one score."""

from trivec._version import __version__
from trivec.colbert_storage import ColbertStorage
from trivec.document import Document
from trivec.encoders.encoder import Encoder
from trivec.encoders.registry import open_encoder
from trivec.errors import TrivecError
from trivec.filters import F, Filter
from trivec.hit import Hit
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
from trivec.reranking.cross_encoder import Reranker
from trivec.schema import Schema
from trivec.scores import Scores, Weights, score
from trivec.stores.registry import open_store
from trivec.stores.store import Store
from trivec.vectors import Vector, Vectors

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
    "Reranker",
    "Schema",
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
    "copy",
    "evaluate",
    "explain",
    "ingest",
    "measure_storage",
    "open_encoder",
    "open_store",
    "read_documents",
    "score",
    "tune",
]
