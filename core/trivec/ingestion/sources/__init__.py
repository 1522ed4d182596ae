"""Documents from files: JSON Lines, CSV, TSV, Parquet and folders of text, also compressed."""

from trivec.ingestion.sources.members import LAYOUTS
from trivec.ingestion.sources.rejects import RejectFile
from trivec.ingestion.sources.source import FORMATS, Source
from trivec.ingestion.sources.tables import QUOTINGS

__all__ = ["FORMATS", "LAYOUTS", "QUOTINGS", "RejectFile", "Source"]
