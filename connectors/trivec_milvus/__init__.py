"""Dense, sparse and ColBERT vectors in Milvus, with the same scores as everywhere else."""

from trivec.errors import MissingDependencyError

try:
    from trivec_milvus.options import MilvusOptions
    from trivec_milvus.schema import Names
    from trivec_milvus.store import MilvusBackend, MilvusStore
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] != "pymilvus":
        raise
    raise MissingDependencyError(
        "MilvusStore needs pymilvus, which is not installed; run: pip install 'trivec[milvus]'"
    ) from error

__all__ = ["MilvusBackend", "MilvusOptions", "MilvusStore", "Names"]
