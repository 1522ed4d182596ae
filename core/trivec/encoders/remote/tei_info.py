"""What a server of text-embeddings-inference says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from trivec.arguments import shown
from trivec.encoders.remote.exchange import HttpAnswer
from trivec.encoders.remote.json_values import count_of, json_object, text_of
from trivec.errors import EncoderError


@dataclass(frozen=True, slots=True)
class TeiInfo:
    """What `GET /info` says of a server.

    Args:
        model: The model's name on the hub, or its folder on the server.
        revision: The model's commit, or "".
        dtype: The number format.
        pooling: Which states make the dense vector.
        max_length: The most tokens of a text.
        most_texts: The most texts of a request.
    """

    model: str
    revision: str
    dtype: str
    pooling: str
    max_length: int
    most_texts: int

    @classmethod
    def of(cls, answer: HttpAnswer) -> TeiInfo:
        """Read an answer.

        Raises:
            EncoderError: If it is of another kind of server, or of one that encodes no texts.
        """
        where = answer.where
        info = json_object(answer.json(), where)
        model = text_of(info, "model_id", where)
        kind = info.get("model_type")
        kind = kind if isinstance(kind, dict) else {}
        if "embedding" not in kind:
            problem = f"the answer is not that of text-embeddings-inference: {answer.message()}"
            if kind:
                problem = f"the server serves a {next(iter(kind))[:60]}, {shown(model)}, which "
                problem += "encodes no texts"
            raise EncoderError(f"{where}: {problem}")
        return cls(
            model=model,
            revision=text_of(info, "model_sha", where, default=""),
            dtype=text_of(info, "model_dtype", where),
            pooling=text_of(json_object(kind["embedding"], where), "pooling", where),
            max_length=count_of(info, "max_input_length", where),
            most_texts=count_of(info, "max_client_batch_size", where),
        )

    @property
    def name(self) -> str:
        """The model's name for a schema: that on the hub, else the name of its folder.

        >>> TeiInfo("/data/models--BAAI--bge-m3/snapshots/5617", "", "", "", 1, 1).name
        'BAAI/bge-m3'
        >>> TeiInfo("/data/bge-m3", "", "", "", 1, 1).name
        'bge-m3'
        """
        path = PurePosixPath(self.model)
        for part in path.parts:
            if part.startswith("models--"):
                return part.removeprefix("models--").replace("--", "/")
        return path.name if path.is_absolute() else self.model
