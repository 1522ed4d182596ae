"""What the server counts, for Prometheus."""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""The variable of the folder in which several processes count together; prometheus-client reads it
when it is imported."""

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        self._requests = Counter(
            "trivec_requests", "Answered requests.", ["route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "trivec_request_seconds",
            "Seconds from a request's headers to the end of its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._texts = Counter("trivec_texts", "Encoded texts.", ["kind"], registry=registry)
        self._tokens = Counter(
            "trivec_tokens",
            "Encoded tokens, of the texts whose tokens are known.",
            registry=registry,
        )
        self._batches = Counter("trivec_batches", "Shared computations.", registry=registry)
        self._queue = Gauge(
            "trivec_queue",
            "Requests, texts and bytes that are accepted and not yet answered.",
            ["unit"],
            registry=registry,
            multiprocess_mode="livesum",
        )

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answered request; status 499 is a client that did not wait."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def encoded(self, kind: str, texts: int, tokens: int | None) -> None:
        """Count texts that were encoded in one computation."""
        self._batches.inc()
        self._texts.labels(kind).inc(texts)
        if tokens is not None:
            self._tokens.inc(tokens)

    def waiting(self, requests: int, texts: int, size: int) -> None:
        """Set the length of the queue."""
        for unit, value in (("requests", requests), ("texts", texts), ("bytes", size)):
            self._queue.labels(unit).set(value)

    def text(self) -> bytes:
        """Return all counters in Prometheus' text format, of all processes if several serve."""
        registry = self._registry
        if SHARED in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
