"""Ingestion on a Ray cluster; needs ray[data]."""

from trivec.errors import MissingDependencyError

try:
    import ray.data as _ray_data  # noqa: F401
except ImportError as error:
    raise MissingDependencyError(
        "trivec_ray needs ray with Ray Data; run: pip install 'trivec[ray]'"
    ) from error

from trivec_ray.ingest import ingest

__all__ = ["ingest"]
