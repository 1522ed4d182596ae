"""For the tests of programs and backends: an encoder without a model, and the contract of stores.

`StoreContract` is in `trivec.testing.contract`, which needs pytest.
"""

from trivec.testing.hash_encoder import HashEncoder

__all__ = ["HashEncoder"]
