"""Documents from files: JSON Lines, CSV, TSV, Parquet and folders of text, also compressed."""

from trivec.ingestion.sources.options import LAYOUTS, MADE_IDS, ReadOptions, SourceOptions
from trivec.ingestion.sources.presets import PRESET_NAMES as PRESETS
from trivec.ingestion.sources.rejects import RejectFile
from trivec.ingestion.sources.source import FORMATS, Source, read_documents
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
