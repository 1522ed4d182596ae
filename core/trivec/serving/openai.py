"""OpenAI's form of embeddings, which many clients speak: dense vectors only."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

import numpy as np

from trivec.arguments import described, shown
from trivec.encoders.tokenizer import check_texts
from trivec.plain import surrogate_problem
from trivec.rows import Float
from trivec.serving.refusal import Refusal

_TYPES = {401: "authentication_error", 503: "server_error", 500: "server_error"}
_KNOWN = ("input", "model", "encoding_format", "dimensions", "user")


def error_form(refusal: Refusal) -> object:
    """Return an error in OpenAI's form."""
    return {
        "error": {
            "message": refusal.reason,
            "type": _TYPES.get(refusal.status, "invalid_request_error"),
            "param": None,
            "code": None,
        }
    }


def inputs(body: Mapping[str, object]) -> list[str]:
    """Return the texts of a request.

    Raises:
        InvalidInputError: If one is not a text.
        Refusal: If there are none, or they are token ids.
    """
    given = body.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts:
        raise Refusal(400, f"input: expected a text or a list of texts, got {described(given)}")
    if isinstance(texts[0], int | list):
        raise Refusal(
            400,
            "input: expected texts, got token ids, which are those of another model's tokenizer; "
            "LangChain's OpenAIEmbeddings sends texts with check_embedding_ctx_length=False",
        )
    return check_texts(texts)


def check_options(body: Mapping[str, object], *, dimension: int | None) -> bool:
    """Return whether the vectors are wanted as base64 instead of lists of numbers.

    Args:
        body: The request.
        dimension: The dimension of the vectors that the server makes.

    Raises:
        Refusal: If the request asks for what the server does not do.
    """
    if dimension is None:
        raise Refusal(400, "the model of this server makes no dense vectors")
    for name in body:
        if name not in _KNOWN:
            raise Refusal(400, f"{shown(name)}: unknown; known are {', '.join(_KNOWN)}")
    wanted = body.get("dimensions")
    if wanted is not None and wanted != dimension:
        raise Refusal(
            400,
            f"dimensions: the model makes {dimension}, got {shown(wanted)}",
        )
    model = body.get("model", "")
    if not isinstance(model, str) or surrogate_problem(model):
        raise Refusal(400, f"model: expected a name, got {shown(model)}")
    form = body.get("encoding_format")
    if form not in (None, "float", "base64"):
        raise Refusal(400, f"encoding_format: expected float or base64, got {shown(form)}")
    return form == "base64"


def embeddings(dense: Float, *, model: str, tokens: int, as_base64: bool) -> object:
    """Return an answer in OpenAI's form.

    Args:
        dense: The vectors, float32 (n, dimension).
        model: The name of the model, as the client gave it.
        tokens: The number of tokens of all texts, or 0 if it is unknown.
        as_base64: Whether to write the vectors as base64 of little-endian float32.
    """
    vectors: Sequence[object] = [_base64(row) for row in dense] if as_base64 else dense.tolist()
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, vector in enumerate(vectors)
        ],
        "model": model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _base64(row: Float) -> str:
    return base64.b64encode(row.astype(np.dtype("<f4")).tobytes()).decode()
