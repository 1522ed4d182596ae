"""Documents from files: JSON, CSV, TSV, Parquet and folders, also compressed."""

from trivec.ingestion.sources.files import FORMATS
from trivec.ingestion.sources.options import LAYOUTS, MADE_IDS, ReadOptions, SourceOptions
from trivec.ingestion.sources.presets import PRESET_NAMES as PRESETS
from trivec.ingestion.sources.rejects import RejectFile
from trivec.ingestion.sources.source import Source, read_documents
from trivec.ingestion.sources.tables import QUOTINGS

__all__ = [
    "FORMATS",
    "LAYOUTS",
    "MADE_IDS",
    "PRESETS",
    "QUOTINGS",
    "ReadOptions",
    "RejectFile",
    "Source",
    "SourceOptions",
    "read_documents",
]
