"""Scripted doubles of other people's encoder servers, in their documented wire form.

The states and vectors of the doubles come from a function that the test gives; everything else is
what the servers' own documents say about requests, answers, statuses and limits.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.floating]
Reply: TypeAlias = tuple[int, object]
States = Callable[[str], Floats]


@dataclass
class Refusal(Exception):
    """An answer with an error's status."""

    status: int
    body: object
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Double:
    """A server that answers as `routes` say, and remembers the requests.

    Attributes:
        requests: (method and path, body, headers) of each request that reached a route.
        refusals: Answers given instead of the next ones, in turn.
    """

    token: str | None = None
    requests: list[tuple[str, Any, dict[str, str]]] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)

    def answer(self, route: str, body: Any) -> object:
        """Return what a route answers; a subclass says it."""
        raise Refusal(404, {"message": f"no {route}"})

    def respond(self, route: str, body: Any, headers: dict[str, str]) -> object:
        self.requests.append((route, body, headers))
        if self.token is not None and headers.get("authorization") != f"Bearer {self.token}":
            raise Refusal(401, {"message": "Unauthorized"})
        if self.refusals:
            raise self.refusals.pop(0)
        return self.answer(route, body)

    def bodies(self, route: str) -> list[Any]:
        return [body for path, body, _ in self.requests if path == route]

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serve on a free port of this machine; yield "host:port"."""
        double = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:
                pass

            def do_GET(self) -> None:
                self._respond(None)

            def do_POST(self) -> None:
                length = int(self.headers["content-length"])
                self._respond(json.loads(self.rfile.read(length)))

            def _respond(self, body: Any) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                more: Mapping[str, str] = {}
                try:
                    route = f"{self.command} {unquote(self.path)}"
                    status, answer = 200, double.respond(route, body, headers)
                except Refusal as refusal:
                    status, answer, more = refusal.status, refusal.body, refusal.headers
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                for name, value in more.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=lambda: server.serve_forever(0.01), daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


@dataclass
class Tei(Double):
    """text-embeddings-inference, by docs/openapi.json of version 1.7.

    Args:
        states: Returns the states of a text, (tokens, hidden).
        tokenizer: The server's `tokenizers.Tokenizer`.
        model: What /info calls the model.
        max_length: The most tokens of a text.
        pooling: "cls" or "mean", or None for a reranker.
        normalised: Whether something between normalises the states, which the server does not.
        prompt: What the server puts before each text (--default-prompt).
    """

    states: States | None = None
    tokenizer: Any = None
    model: str = "BAAI/bge-m3"
    max_length: int = 8192
    batch: int = 32
    pooling: str | None = "cls"
    normalised: bool = False
    dtype: str = "float32"
    prompt: str = ""

    def answer(self, route: str, body: Any) -> object:
        if route == "GET /info":
            return self.info()
        if route == "POST /tokenize":
            special = body.get("add_special_tokens", True)
            return [self._tokens(text, special) for text in self._inputs(body)]
        if route == "POST /embed" and self.pooling:
            assert body.get("normalize", True)
            return [self._pooled(text).tolist() for text in self._inputs(body)]
        if route == "POST /embed_all" and self.pooling:
            return [self._states(text, body).tolist() for text in self._inputs(body)]
        if route == "POST /rerank" and not self.pooling:
            return self._ranks(body)
        if route in ("POST /embed", "POST /embed_all", "POST /rerank"):
            raise Refusal(424, {"error": "Model is of another type", "error_type": "Backend"})
        return super().answer(route, body)

    def info(self) -> dict[str, object]:
        classes = {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
        return {
            "model_id": self.model,
            "model_sha": "5617a9f61b028005a4858fdac845db406aefb181",
            "model_dtype": self.dtype,
            "model_type": {"embedding": {"pooling": self.pooling}}
            if self.pooling
            else {"reranker": classes},
            "max_concurrent_requests": 512,
            "max_input_length": self.max_length,
            "max_batch_tokens": 16384,
            "max_batch_requests": None,
            "max_client_batch_size": self.batch,
            "auto_truncate": False,
            "tokenization_workers": 2,
            "version": "1.7.1",
            "sha": None,
            "docker_label": None,
        }

    def _inputs(self, body: Any) -> list[str]:
        inputs = body["inputs"] if isinstance(body["inputs"], list) else [body["inputs"]]
        if len(inputs) > self.batch:
            raise Refusal(
                413,
                {
                    "error": f"batch size {len(inputs)} > maximum allowed batch size {self.batch}",
                    "error_type": "Validation",
                },
            )
        # Token ids are converted to text, whose special tokens stand for themselves.
        texts = [
            text
            if isinstance(text, str)
            else self.tokenizer.decode(text, skip_special_tokens=False)
            for text in inputs
        ]
        if not all(texts):
            raise Refusal(413, {"error": "`inputs` cannot be empty", "error_type": "Validation"})
        # Ids of special tokens only, for which the double's function takes the empty text.
        return [t if isinstance(i, str) else "" for t, i in zip(texts, inputs, strict=True)]

    def _tokens(self, text: str, special: bool) -> list[dict[str, object]]:
        encoding = self.tokenizer.encode(self.prompt + text, add_special_tokens=special)
        return [
            {"id": i, "text": token, "special": bool(special), "start": start, "stop": stop}
            for i, token, special, (start, stop) in zip(
                encoding.ids,
                encoding.tokens,
                encoding.special_tokens_mask,
                encoding.offsets,
                strict=True,
            )
        ]

    def _states(self, text: str, body: Any) -> Floats:
        assert self.states is not None
        states = self.states(self.prompt + text)
        if len(states) > self.max_length and not body.get("truncate", False):
            error = f"`inputs` must have less than {self.max_length} tokens. Given: {len(states)}"
            raise Refusal(413, {"error": error, "error_type": "Validation"})
        if self.normalised:
            states = states / np.linalg.norm(states, axis=1, keepdims=True)
        return states.astype(np.float32)

    def _pooled(self, text: str) -> Floats:
        assert self.states is not None
        states = self.states(text)
        pooled: Floats = states[0] if self.pooling == "cls" else states.mean(0)
        return (pooled / np.linalg.norm(pooled)).astype(np.float32)

    def _ranks(self, body: Any) -> list[dict[str, float]]:
        texts: list[str] = body["texts"]
        if len(texts) > self.batch:
            raise Refusal(413, {"error": "batch size", "error_type": "Validation"})
        raw = {text: pair_score(body["query"], text) for text in texts}
        scores = [
            raw[text] if body["raw_scores"] else 1 / (1 + np.exp(-raw[text])) for text in texts
        ]
        ranks = [{"index": i, "score": float(score)} for i, score in enumerate(scores)]
        return sorted(ranks, key=lambda rank: -rank["score"])


def pair_score(query: str, text: str) -> float:
    """Return the score that the doubles give to a pair, before the sigmoid."""
    common = set(query.split()) & set(text.split())
    return len(common) - 0.01 * len(text)


@dataclass
class OpenAi(Double):
    """The OpenAI API's /v1/embeddings, or Infinity's /embeddings and /rerank.

    Args:
        vector: Returns the dense vector of a text.
        model: The model that it serves.
        prefix: What stands before the paths.
        base64: Whether it knows encoding_format="base64".
        most: The most texts of a request.
    """

    vector: Callable[[str], Floats] | None = None
    model: str = "BAAI/bge-m3"
    prefix: str = "/v1"
    base64: bool = True
    most: int = 2048

    def answer(self, route: str, body: Any) -> object:
        if route == f"GET {self.prefix}/models":
            return {"object": "list", "data": [self._model()]}
        if route == f"POST {self.prefix}/embeddings":
            return self._embeddings(body)
        if route == f"POST {self.prefix}/rerank":
            return self._ranks(body)
        return super().answer(route, body)

    def _model(self) -> dict[str, object]:
        return {
            "id": self.model,
            "object": "model",
            "owned_by": "infinity",
            "created": 1700000000,
            "stats": {},
            "backend": "torch",
            "capabilities": ["embed", "rerank"],
        }

    def _embeddings(self, body: Any) -> object:
        texts: Sequence[str] = body["input"]
        if len(texts) > self.most or not all(texts):
            error = {"message": "'$.input' is invalid.", "type": "invalid_request_error"}
            raise Refusal(400, {"error": error})
        assert self.vector is not None
        data = []
        for index, text in enumerate(texts):
            vector = self.vector(text).astype("<f4")[: body.get("dimensions")]
            embedding: object = vector.tolist()
            if body.get("encoding_format") == "base64" and self.base64:
                embedding = base64.b64encode(vector.tobytes()).decode()
            data.append({"object": "embedding", "index": index, "embedding": embedding})
        data.reverse()  # the order is in the index
        tokens = {"prompt_tokens": 8, "total_tokens": 8}
        return {"object": "list", "data": data, "model": self.model, "usage": tokens}

    def _ranks(self, body: Any) -> object:
        assert not body.get("return_documents")
        results = [
            {"relevance_score": pair_score(body["query"], text), "index": index}
            if body.get("raw_scores")
            else {"relevance_score": 0.5, "index": index}
            for index, text in enumerate(body["documents"])
        ]
        results.reverse()
        tokens = {"prompt_tokens": 8, "total_tokens": 8}
        return {"object": "rerank", "results": results, "model": self.model, "usage": tokens}


@dataclass
class Sie(Double):
    """SIE's /v1/encode and /v1/models, by the HTTP API reference of May 2026.

    Args:
        vectors: Returns the dense vector (dimension,), the lexical weights and the token vectors
            (tokens, dimension) of a text.
        model: The model with vectors.
        outputs: What the model makes.
        dims: The sizes of its vectors; that of "sparse" is the size of the vocabulary.
        state: Whether the model is loaded.
    """

    vectors: Callable[[str], tuple[Floats, Mapping[int, float], Floats]] | None = None
    model: str = "BAAI/bge-m3"
    outputs: Sequence[str] = ("dense", "sparse", "multivector", "score")
    dims: Mapping[str, int] = field(default_factory=dict[str, int])
    state: str = "available"
    revision: str | None = "5617a9f61b028005a4858fdac845db406aefb181"

    def answer(self, route: str, body: Any) -> object:
        if route == "GET /v1/models":
            reranker = {**self._info(), "name": "BAAI/bge-reranker-v2-m3", "outputs": ["score"]}
            return {"models": [reranker, self._info()]}
        if route == f"GET /v1/models/{self.model}":
            return self._info()
        if route == f"POST /v1/encode/{self.model}":
            return self._encode(body)
        if route.startswith(("GET /v1/models/", "POST /v1/encode/")):
            error = {"code": "MODEL_NOT_FOUND", "message": f"Model {route!r} not found"}
            raise Refusal(404, {"detail": error})
        return super().answer(route, body)

    def _info(self) -> dict[str, object]:
        return {
            "name": self.model,
            "inputs": ["text"],
            "outputs": list(self.outputs),
            "dims": dict(self.dims),
            "loaded": self.state == "loaded",
            "state": self.state,
            "last_error": {"code": "GATED", "message": "the model is gated"}
            if self.state == "failed"
            else None,
            "max_sequence_length": 8192,
            "profiles": {"default": {"is_default": True}},
            "revision": self.revision,
            "capabilities": None,
        }

    def _encode(self, body: Any) -> object:
        params = body.get("params") or {}
        wanted = params.get("output_types") or ["dense"]
        if not body["items"] or not set(wanted) <= set(self.outputs):
            error = {"code": "INVALID_INPUT", "message": "output types are not supported"}
            raise Refusal(400, {"detail": error})
        self.state = "loaded"
        dtype = params.get("output_dtype", "float32")
        items = [self._item(item, wanted, dtype) for item in body["items"]]
        return {"model": self.model, "items": items, "timing": {"total_ms": 1.5}}

    def _item(self, item: Mapping[str, Any], wanted: Sequence[str], dtype: str) -> object:
        assert self.vectors is not None
        dense, sparse, tokens = self.vectors(item["text"])
        made: dict[str, object] = {
            "dense": {"dims": len(dense), "dtype": dtype, "values": dense.tolist()},
            "sparse": {
                "dims": self.dims.get("sparse"),
                "dtype": dtype,
                "indices": list(sparse)[::-1],
                "values": list(sparse.values())[::-1],
            },
            "multivector": {
                "token_dims": tokens.shape[1],
                "num_tokens": len(tokens),
                "dtype": dtype,
                "values": tokens.tolist(),
            },
        }
        given = {"id": item["id"]} if "id" in item else {}
        return {**given, **{output: made[output] for output in wanted}}
