"""BGE-M3's dense, sparse and ColBERT vectors in Qdrant, Milvus and Vespa, with one score."""

from trivec._version import __version__
from trivec.copying import CopyReport, copy
from trivec.document import Document
from trivec.encoder import Encoder
from trivec.errors import TrivecError
from trivec.evaluation import Evaluation, evaluate
from trivec.explanation import Explanation, explain
from trivec.filter import F, Filter
from trivec.hit import Hit
from trivec.ingest import aingest, ingest
from trivec.registry import open_store
from trivec.report import IngestReport
from trivec.schema import Schema
from trivec.scores import Scores, Weights, score
from trivec.store import Store
from trivec.tuning import Tuning, tune
from trivec.vectors import Vector, Vectors

__all__ = [
    "CopyReport",
    "Document",
    "Encoder",
    "Evaluation",
    "Explanation",
    "F",
    "Filter",
    "Hit",
    "IngestReport",
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
