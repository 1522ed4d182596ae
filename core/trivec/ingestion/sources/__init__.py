"""Documents from files: JSON, CSV, TSV, Parquet and folders, also compressed."""

from trivec.ingestion.sources.files import FORMATS
from trivec.ingestion.sources.members import LAYOUTS
from trivec.ingestion.sources.rejects import RejectFile
from trivec.ingestion.sources.source import Source
from trivec.ingestion.sources.tables import QUOTINGS

__all__ = ["FORMATS", "LAYOUTS", "QUOTINGS", "RejectFile", "Source"]
