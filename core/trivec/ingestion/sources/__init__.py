"""Documents from files: JSON Lines, CSV, Parquet, folders of text, also compressed."""

from trivec.ingestion.sources.rejects import RejectFile
from trivec.ingestion.sources.source import FORMATS, Source

__all__ = ["FORMATS", "RejectFile", "Source"]
