"""Vespa as a store of trivec."""

from trivec_vespa.files import write_application, write_feed
from trivec_vespa.options import VespaOptions
from trivec_vespa.schema import application_package
from trivec_vespa.store import VespaBackend, VespaStore

__all__ = [
    "VespaBackend",
    "VespaOptions",
    "VespaStore",
    "application_package",
    "write_application",
    "write_feed",
]
