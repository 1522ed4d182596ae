"""Vespa as a store of trivec."""

from trivec_vespa.mapping import write_feed
from trivec_vespa.schema import application_package, write_application
from trivec_vespa.store import VespaStore

__all__ = ["VespaStore", "application_package", "write_application", "write_feed"]
