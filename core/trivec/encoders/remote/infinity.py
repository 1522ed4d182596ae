"""Encoders on servers of Infinity, whose `/embeddings` has dense vectors alone."""

from __future__ import annotations

from trivec.encoders.remote.openai import OpenAiEncoder


class InfinityEncoder(OpenAiEncoder):
    """An encoder on a server of Infinity: dense vectors, scaled to length 1.

    Its form is that of the OpenAI API, without `/v1` before the paths unless the server was
    started with `--url-prefix`, which is then the path of the URL. For BAAI/bge-m3 it makes no
    lexical weights and no token vectors.

    Example:
        Needs a server:

        ```python
        encoder = open_encoder("infinity+http://localhost:7997")
        ```
    """
