"""The contract of stores: what every backend promises, as tests that run against yours.

Subclass `StoreContract` in a test module of your own and say how a store is opened. The contract
needs pytest, and hypothesis for its random filters: `pip install 'trivec[testing]'`.
"""

from trivec.errors import MissingDependencyError

try:
    import pytest
except ImportError as error:
    raise MissingDependencyError(
        "the contract of stores needs pytest; run: pip install 'trivec[testing]'"
    ) from error

_WITH_ASSERTIONS = (
    *("base", "documents", "values", "search", "ties", "filters", "strange_filters"),
    *("collections", "handles", "views", "faults", "secrets", "asynchronous", "storage"),
    *("groups", "evidence"),
)
pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in _WITH_ASSERTIONS))

from trivec.testing.contract.store import StoreContract  # noqa: E402 - after the registration

__all__ = ["StoreContract"]
