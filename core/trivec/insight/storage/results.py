"""The measurements of storages: the bytes of token vectors, and how well they rank."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from trivec.colbert_storage import ColbertStorage
from trivec.errors import InvalidOptionError
from trivec.insight.statistics import Interval

RankedMode = Literal["colbert", "hybrid"]
"""A mode whose order depends on the token vectors."""

RANKED_MODES: tuple[RankedMode, ...] = ("colbert", "hybrid")


@dataclass(frozen=True, slots=True)
class Quality:
    """How well one mode ranks with one storage, in one metric.

    Args:
        mean: The mean over the questions.
        share: The mean as a share of that with full float32.
        interval: The 95 % bootstrap interval of the share, paired: of the differences from full
            float32 on the same questions.
    """

    mean: float
    share: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class StorageResult:
    """The bytes of one storage, and what it costs in quality.

    Args:
        storage: How token vectors are kept.
        token_bytes: The mean bytes of a document's token vectors.
        document_bytes: The mean bytes of all three parts of a document. Dense vectors count as
            float32, and each lexical weight as 8 bytes.
        qualities: For each mode the quality in each metric.
    """

    storage: ColbertStorage
    token_bytes: float
    document_bytes: float
    qualities: Mapping[RankedMode, Mapping[str, Quality]] = field(repr=False)

    def quality(self, mode: RankedMode = "hybrid", metric: str | None = None) -> Quality:
        """Return the quality of a mode.

        Args:
            mode: "hybrid" or "colbert".
            metric: One of the report's metrics; by default the first one.

        Raises:
            InvalidOptionError: If the mode or the metric was not measured.
        """
        by_metric = self.qualities.get(mode)
        if by_metric is None:
            raise InvalidOptionError(f"mode={mode!r}; expected one of {', '.join(self.qualities)}")
        if metric is None:
            metric = next(iter(by_metric))
        if metric not in by_metric:
            raise InvalidOptionError(f"metric {metric!r} was not measured: {', '.join(by_metric)}")
        return by_metric[metric]

    def terabytes(self, documents: int) -> float:
        """Return the terabytes (10**12 bytes) of all three parts of so many documents."""
        return self.document_bytes * documents / 1e12


@dataclass(frozen=True, slots=True)
class StorageResults:
    """The measurements of all storages on the same documents and questions.

    Args:
        results: One result per storage, the largest first; the first one is full float32, which
            the others are compared with.
        metrics: The names of the metrics. With judgements: nDCG@10. Without: "overlap@10", the
            share of the 10 best that full float32 has too, and "rank correlation", Spearman's over
            all candidates; these compare rankings, and do not say which one is better.
        judged: Whether the quality was measured with judgements.
        questions: The number of questions.
        documents: The number of documents in the sample.
        available: The number of documents that the sample was taken from.
        tokens: The mean number of token vectors of a document.
        notes: What else to know about the sample and the questions, each a sentence.
    """

    results: tuple[StorageResult, ...]
    metrics: tuple[str, ...]
    judged: bool
    questions: int
    documents: int
    available: int
    tokens: float
    notes: tuple[str, ...] = ()

    @property
    def full(self) -> StorageResult:
        """The result of full float32."""
        return self.results[0]

    def result(self, storage: ColbertStorage | str) -> StorageResult:
        """Return the result of a storage, given as such or as text like "bits=1,pool=2".

        Raises:
            InvalidOptionError: If it was not measured.
        """
        wanted = ColbertStorage.of(storage)
        for result in self.results:
            if result.storage == wanted:
                return result
        raise InvalidOptionError(
            f"{wanted} was not measured: {'; '.join(str(r.storage) for r in self.results)}"
        )

    def best(self, min_share: float = 0.99, *, mode: RankedMode = "hybrid") -> StorageResult:
        """Return the smallest storage that keeps a share of the quality of full float32.

        The low end of its interval must reach the share. So with few questions, which say little,
        the answer is large.

        Args:
            min_share: The share of the first metric. Without judgements it is an overlap of the 10
                best, which falls much faster than quality does: ask for less there, such as 0.85.
            mode: "hybrid" or "colbert".
        """
        enough = [r for r in self.results if r.quality(mode).interval.low >= min_share]
        return min([*enough, self.full], key=lambda result: result.token_bytes)

    def frontier(self, mode: RankedMode = "hybrid") -> tuple[StorageResult, ...]:
        """Return the results that no other one beats in bytes and quality both, largest first."""
        kept: list[StorageResult] = []
        for result in sorted(self.results, key=lambda r: (r.token_bytes, -r.quality(mode).share)):
            if not kept or result.quality(mode).share > kept[-1].quality(mode).share:
                kept.append(result)
        return tuple(reversed(kept))
