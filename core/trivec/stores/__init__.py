"""Collections in databases: `Store` for users, `Backend` for the authors of connectors."""

from trivec.collection import Capability, Collection, OptimizeReport, Page, UpsertReport
from trivec.deadline import check_seconds, request_seconds
from trivec.fields import FieldType
from trivec.rotation import rotated
from trivec.search import Search, SearchOptions
from trivec.stores.backend import Backend, Stepwise
from trivec.stores.limits import Limits
from trivec.stores.memory import search_rows
from trivec.stores.options import StoreOptions
from trivec.stores.registry import open_store, opener
from trivec.stores.steps import Pause, Steps
from trivec.stores.storage import StorageChoice
from trivec.stores.store import Store
from trivec.stores.url import StoreUrl
from trivec.token_codes import TokenCodes

__all__ = [
    "Backend",
    "Capability",
    "Collection",
    "FieldType",
    "Limits",
    "OptimizeReport",
    "Page",
    "Pause",
    "Search",
    "SearchOptions",
    "Steps",
    "Stepwise",
    "StorageChoice",
    "Store",
    "StoreOptions",
    "StoreUrl",
    "TokenCodes",
    "UpsertReport",
    "check_seconds",
    "open_store",
    "opener",
    "request_seconds",
    "rotated",
    "search_rows",
]
