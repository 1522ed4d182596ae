"""Cross-encoders on other people's servers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivec.arguments import described, expect
from trivec.encoders.remote.answers import by_index, vector
from trivec.encoders.remote.batches import in_order, text_batches
from trivec.encoders.remote.foreign import http_client
from trivec.encoders.remote.http import HttpAnswer, HttpRequest
from trivec.encoders.remote.options import RemoteOptions
from trivec.encoders.tokenizer import check_texts
from trivec.encoders.url import EncoderUrl
from trivec.errors import InvalidInputError, InvalidOptionError
from trivec.rows import Float

_SCHEMES = ("tei+http", "tei+https", "infinity+http", "infinity+https")


@dataclass(frozen=True, kw_only=True)
class RemoteRerankerOptions(RemoteOptions):
    """Options of `RemoteReranker`.

    Args:
        model: The name under which a server of Infinity knows the model.
    """

    model: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        expect(self.model, (str, type(None)), "model", "the name of a model")


class RemoteReranker:
    """A cross-encoder behind `POST /rerank` of text-embeddings-inference or Infinity.

    It scores pairs as `Reranker` does, and is a `CrossEncoder` for `Rescorer` and the framework
    classes. The server decides how it cuts long pairs.

    Args:
        url: Such as `tei+http://localhost:8081` or `infinity+https://host:7997`; options may
            follow, as in `?batch_texts=16`.
        options: Those of `RemoteRerankerOptions`.

    Raises:
        InvalidOptionError: If the URL or an option is unknown.

    Example:
        Needs a server, such as `text-embeddings-router --model-id BAAI/bge-reranker-v2-m3`:

        ```python
        reranker = RemoteReranker("tei+http://localhost:8081")
        reranker.score_pairs([("Which animal is the largest?", "The blue whale.")])
        ```
    """

    def __init__(self, url: str, **options: object) -> None:
        expect(url, str, "url", "a URL, such as 'tei+http://localhost:8081'")
        self._url = EncoderUrl.parse(url)
        if self._url.scheme not in _SCHEMES:
            raise InvalidOptionError(
                f"unknown reranker scheme {self._url.scheme!r}; known are {', '.join(_SCHEMES)}"
            )
        self._given = RemoteRerankerOptions.of_url(self._url, options)
        self._client = http_client(self._url, self._given)

    def __repr__(self) -> str:
        return f"RemoteReranker({str(self._url)!r})"

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._client.close()

    def score(self, text_pairs: Sequence[tuple[str, str]], /) -> list[float]:
        """Return one score per pair of a question and a text, as `score_pairs` does."""
        return [float(score) for score in self.score_pairs(list(text_pairs))]

    def score_pairs(
        self, pairs: Sequence[tuple[str, str]], *, sigmoid: bool = False
    ) -> NDArray[np.float32]:
        """Score each pair of a question and a document.

        Args:
            pairs: n pairs (question, document).
            sigmoid: Whether to map the scores to the range 0 to 1.

        Returns:
            float32 (n,), higher is better.

        Raises:
            EncoderUnavailableError: If the server cannot be reached, or is busy for too long.
            EncoderError: If it refuses, or answers wrongly.
            InvalidInputError: If an item is not a pair of strings, or a string holds half of a
                surrogate pair.
        """
        expect(pairs, (list, tuple), "pairs", "a list of (question, document)")
        rows: dict[str, list[int]] = {}
        for index, pair in enumerate(pairs):
            if not isinstance(pair, list | tuple) or len(pair) != 2:
                raise InvalidInputError(
                    f"pair {index}: expected (question, document), got {described(pair)}"
                )
            rows.setdefault(pair[0], []).append(index)
        check_texts(list(rows))
        scores = np.zeros(len(pairs), np.float32)
        jobs: list[tuple[str, list[int]]] = []
        for question, numbers in rows.items():
            start = 0
            for batch in text_batches(
                check_texts([pairs[number][1] for number in numbers]),
                max_bytes=self._given.batch_bytes,
                max_texts=min(self._given.batch_texts, 32),  # the default of both servers
            ):
                jobs.append((question, numbers[start : start + len(batch)]))
                start += len(batch)

        def answer(job: tuple[str, list[int]]) -> NDArray[np.float32]:
            question, numbers = job
            return self._scores(question, [pairs[number][1] for number in numbers])

        for (_, numbers), found in zip(
            jobs, in_order(answer, jobs, at_once=self._given.requests), strict=True
        ):
            scores[numbers] = found
        return _sigmoid(scores) if sigmoid else scores

    def _scores(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the scores of some documents, before the sigmoid."""
        body: dict[str, Any] = {"query": question, "raw_scores": True}
        if self._url.scheme.startswith("tei"):
            body |= {"texts": list(texts), "truncate": True}
        else:
            body |= {"documents": list(texts), "return_documents": False}
            if self._given.model is not None:
                body["model"] = self._given.model
        prefix = f"/{self._url.path}" if self._url.path else ""
        data = json.dumps(body, ensure_ascii=False).encode()
        answer = self._client.exchange(HttpRequest("POST", f"{prefix}/rerank", data))
        if answer.status == 413 and len(texts) > 1:
            middle = len(texts) // 2
            halves = texts[:middle], texts[middle:]
            return np.concatenate([self._scores(question, half) for half in halves])
        return _read(answer.checked(), len(texts))


def _read(answer: HttpAnswer, count: int) -> Float:
    """Return the scores of an answer in the order of the request, float32 (count,).

    Raises:
        EncoderError: If it does not hold one finite score for each text.
    """
    value = answer.json()
    ranks = by_index(
        value.get("results") if isinstance(value, dict) else value, count, answer.where
    )
    scores = [rank.get("relevance_score", rank.get("score")) for rank in ranks]
    return vector(scores, answer.where)


def _sigmoid(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    # Written with tanh, which does not overflow on very low scores.
    result: NDArray[np.float32] = (0.5 + 0.5 * np.tanh(scores / 2)).astype(np.float32)
    return result
