"""Cross-encoders on servers: of `trivec serve` and of other people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivec.arguments import expect
from trivec.encoders.remote.batches import ain_order, in_order, text_batches
from trivec.encoders.remote.connected import Connected
from trivec.encoders.remote.encoder import PORT
from trivec.encoders.remote.exchange import HttpAnswer, HttpRequest
from trivec.encoders.remote.foreign import http_client
from trivec.encoders.remote.http import HttpClient
from trivec.encoders.remote.json_values import by_index, vector
from trivec.encoders.remote.members import to_bytes
from trivec.encoders.remote.options import RemoteOptions
from trivec.encoders.remote.wire import RerankRequest, scores_from_json
from trivec.encoders.tokenizer import check_texts
from trivec.encoders.url import EncoderUrl
from trivec.errors import EncoderError, InvalidInputError, InvalidOptionError
from trivec.reranking.pair_scores import check_pairs, sigmoid_of
from trivec.rows import Float

_OWN = ("trivec", "trivecs")
_SCHEMES = (*_OWN, "tei+http", "tei+https", "infinity+http", "infinity+https")
_MOST_TEXTS = 32  # of a request; the default limit of both other servers

Job = tuple[str, list[int]]
"""The question of a request, and the rows of its texts."""


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


class RemoteReranker(Connected):
    """A cross-encoder behind `/rerank` of `trivec serve`, text-embeddings-inference or Infinity.

    It scores pairs as `Reranker` does, and is a `CrossEncoder` for `Rescorer` and the framework
    classes. The server decides how it cuts long pairs. Copies are the same reranker; a pickle opens
    it again. Nothing is sent before the first use.

    Args:
        url: Such as `trivec://localhost:7600`, `tei+http://localhost:8081` or
            `infinity+https://host:7997`; options may follow, as in `?batch_texts=16`.
        options: Those of `RemoteRerankerOptions`.

    Raises:
        InvalidOptionError: If the URL or an option is unknown.

    Example:
        Needs a server, such as `trivec serve --reranker BAAI/bge-reranker-v2-m3`:

        ```python
        reranker = RemoteReranker("trivec://localhost:7600")
        reranker.score_pairs([("Which animal is the largest?", "The blue whale.")])
        ```
    """

    def __init__(self, url: str, **options: object) -> None:
        expect(url, str, "url", "a URL, such as 'trivec://localhost:7600'")
        parsed = EncoderUrl.parse(url)
        if parsed.scheme not in _SCHEMES:
            raise InvalidOptionError(
                f"unknown reranker scheme {parsed.scheme!r}; known are {', '.join(_SCHEMES)}"
            )
        self._source = url, options
        self._given = given = RemoteRerankerOptions.of_url(parsed, options)
        self._own = parsed.scheme in _OWN
        super().__init__(
            parsed, _client(parsed, given) if self._own else http_client(parsed, given)
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened, self._source

    def score(self, text_pairs: Sequence[tuple[str, str]], /) -> list[float]:
        """Return one score per pair of a question and a text, as `score_pairs` does."""
        return [float(score) for score in self.score_pairs(list(text_pairs))]

    async def ascore(self, text_pairs: Sequence[tuple[str, str]], /) -> list[float]:
        """Return the scores of `score` without blocking the event loop."""
        return [float(score) for score in await self.ascore_pairs(list(text_pairs))]

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
        jobs = self._jobs(pairs)

        def scored(job: Job) -> NDArray[np.float32]:
            question, rows = job
            return self._scores(question, [pairs[row][1] for row in rows])

        found = in_order(scored, jobs, at_once=self._given.requests)
        return _by_row(len(pairs), jobs, found, sigmoid=sigmoid)

    async def ascore_pairs(
        self, pairs: Sequence[tuple[str, str]], *, sigmoid: bool = False
    ) -> NDArray[np.float32]:
        """Score each pair without blocking the event loop.

        Arguments, result and errors are those of `score_pairs`.
        """
        jobs = self._jobs(pairs)

        async def scored(job: Job) -> NDArray[np.float32]:
            question, rows = job
            return await self._ascores(question, [pairs[row][1] for row in rows])

        found = await ain_order(scored, jobs, at_once=self._given.requests)
        return _by_row(len(pairs), jobs, found, sigmoid=sigmoid)

    def _jobs(self, pairs: Sequence[tuple[str, str]]) -> list[Job]:
        """Return the requests for pairs, each with one question."""
        check_pairs(pairs)
        rows: dict[str, list[int]] = {}
        for index, question in enumerate(check_texts([question for question, _ in pairs])):
            rows.setdefault(question, []).append(index)
        jobs: list[Job] = []
        for question, numbers in rows.items():
            start = 0
            for batch in text_batches(
                check_texts([pairs[number][1] for number in numbers]),
                max_bytes=self._given.batch_bytes,
                max_texts=min(self._given.batch_texts, _MOST_TEXTS),
            ):
                jobs.append((question, numbers[start : start + len(batch)]))
                start += len(batch)
        return jobs

    def _scores(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the scores of some documents, before the sigmoid."""
        answer = self._client.exchange(self._request(question, texts))
        if _is_too_large(answer, texts):
            middle = len(texts) // 2
            halves = texts[:middle], texts[middle:]
            return np.concatenate([self._scores(question, half) for half in halves])
        return self._read(answer, len(texts))

    async def _ascores(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the scores of some documents, before the sigmoid."""
        answer = await self._client.aexchange(self._request(question, texts))
        if _is_too_large(answer, texts):
            middle = len(texts) // 2
            halves = texts[:middle], texts[middle:]
            return np.concatenate([await self._ascores(question, half) for half in halves])
        return self._read(answer, len(texts))

    def _request(self, question: str, texts: Sequence[str]) -> HttpRequest:
        prefix = f"/{self._url.path}" if self._url.path else ""
        return HttpRequest("POST", f"{prefix}/rerank", self._body(question, texts))

    def _body(self, question: str, texts: Sequence[str]) -> bytes:
        if self._own:
            return RerankRequest(question, texts).to_json()
        body: dict[str, Any] = {"query": question, "raw_scores": True}
        if self._url.scheme.startswith("tei"):
            body |= {"texts": list(texts), "truncate": True}
        else:
            body |= {"documents": list(texts), "return_documents": False}
            if self._given.model is not None:
                body["model"] = self._given.model
        return to_bytes(body)

    def _read(self, answer: HttpAnswer, count: int) -> NDArray[np.float32]:
        answer.checked()
        if not self._own:
            return _read(answer, count)
        try:
            return scores_from_json(answer.content, count)
        except InvalidInputError as error:
            raise EncoderError(f"{answer.where}: {error}") from error


def _opened(url: str, options: Mapping[str, object]) -> RemoteReranker:
    """Open a reranker that was pickled."""
    return RemoteReranker(url, **options)


def _client(url: EncoderUrl, options: RemoteOptions) -> HttpClient:
    """Return a client of a server of `trivec serve`."""
    return HttpClient(
        url.http(PORT, tls=url.scheme == "trivecs"),
        token=options.token,
        deadline=options.deadline,
    )


def _is_too_large(answer: HttpAnswer, texts: Sequence[str]) -> bool:
    """Return whether a server refused several texts that it may take in two halves."""
    return answer.status == 413 and len(texts) > 1


def _by_row(
    count: int, jobs: Sequence[Job], found: Sequence[NDArray[np.float32]], *, sigmoid: bool
) -> NDArray[np.float32]:
    """Return the scores of requests in the order of the pairs."""
    scores = np.zeros(count, np.float32)
    for (_, rows), values in zip(jobs, found, strict=True):
        scores[rows] = values
    return sigmoid_of(scores) if sigmoid else scores


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
