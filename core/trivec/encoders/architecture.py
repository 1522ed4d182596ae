"""The dimensions of an XLM-RoBERTa or BERT encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trivec.arguments import shown

MODEL_TYPES = ("xlm-roberta", "roberta", "bert")

# Far above all published encoders, and far below the sizes that would exhaust memory.
_RANGES = {
    "vocab_size": (1, 10_000_000),
    "hidden_size": (1, 65_536),
    "num_hidden_layers": (1, 1_000),
    "num_attention_heads": (1, 65_536),
    "intermediate_size": (1, 1_000_000),
    "max_position_embeddings": (1, 10_000_000),
    "type_vocab_size": (1, 1_000),
    "num_labels": (0, 100_000),  # transformers creates a name for each
}
_MAY_BE_NULL = ("num_labels",)


def number_problems(config: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each number of config.json that is out of range.

    A missing number means transformers' default.

    Example:
        >>> number_problems({"num_hidden_layers": -1, "hidden_size": True})
        ['hidden_size is True, expected an integer from 1 to 65536', \
'num_hidden_layers is -1, expected an integer from 1 to 1000']
    """
    problems = []
    for name, (least, most) in _RANGES.items():
        value = config.get(name, least)
        if not _is_integer(value, least, most) and not (value is None and name in _MAY_BE_NULL):
            problems.append(f"{name} is {shown(value)}, expected an integer from {least} to {most}")
    padding = config.get("pad_token_id")
    if padding is not None and not problems:
        rows = [
            config[name] for name in ("vocab_size", "max_position_embeddings") if name in config
        ]
        last = min(rows, default=1_000) - 1
        if not _is_integer(padding, 0, last):
            problems.append(
                f"pad_token_id is {shown(padding)}, expected null or an integer from 0 to {last}, "
                "a row of both embeddings"
            )
    epsilon = config.get("layer_norm_eps", 1e-5)
    if isinstance(epsilon, bool) or not isinstance(epsilon, int | float) or not 0 < epsilon < 1:
        problems.append(f"layer_norm_eps is {shown(epsilon)}, expected a number from 0 to 1")
    if not isinstance(config.get("hidden_act", "gelu"), str):
        problems.append(f"hidden_act is {shown(config['hidden_act'])}, expected a name")
    return problems


def _is_integer(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


@dataclass(frozen=True, slots=True)
class Architecture:
    """The dimensions of a BERT-like encoder.

    Args:
        vocabulary: Rows of the word embedding.
        hidden: Width of a token's state.
        layers: Number of layers.
        heads: Attention heads of a layer.
        intermediate: Width of the feed-forward part.
        positions: Rows of the position embedding.
        types: Rows of the token type embedding.
        epsilon: The number that LayerNorm adds to the variance.
        activation: The feed-forward part's activation, named as in transformers.
        padding: XLM-RoBERTa's padding id, from which its positions count; None for BERT.

    Example:
        >>> tiny = Architecture(9, 4, 1, 2, 8, 16, 1, 1e-5, "gelu", padding=1)
        >>> tiny.max_length, tiny.shapes()["encoder.layer.0.intermediate.dense.weight"]
        (14, (8, 4))
    """

    vocabulary: int
    hidden: int
    layers: int
    heads: int
    intermediate: int
    positions: int
    types: int
    epsilon: float
    activation: str
    padding: int | None

    @classmethod
    def from_config(cls, config: Any) -> Architecture:  # noqa: ANN401 - of transformers, untyped
        """Read a transformers configuration.

        Raises:
            ValueError: If it describes another type of model.
        """
        if config.model_type not in MODEL_TYPES:
            raise ValueError(
                f"the model type is {config.model_type!r}, expected {' or '.join(MODEL_TYPES)}"
            )
        positions = getattr(config, "position_embedding_type", None) or "absolute"
        if positions != "absolute":
            raise ValueError(f"position_embedding_type is {positions!r}, expected 'absolute'")
        for name in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"):
            if getattr(config, name) < 1:
                raise ValueError(f"{name} is {getattr(config, name)}, expected at least 1")
        if config.hidden_size % config.num_attention_heads:
            raise ValueError(
                f"hidden_size {config.hidden_size} is not a multiple of num_attention_heads "
                f"{config.num_attention_heads}"
            )
        padding = getattr(config, "pad_token_id", None)
        result = cls(
            vocabulary=config.vocab_size,
            hidden=config.hidden_size,
            layers=config.num_hidden_layers,
            heads=config.num_attention_heads,
            intermediate=config.intermediate_size,
            positions=config.max_position_embeddings,
            types=config.type_vocab_size,
            epsilon=config.layer_norm_eps,
            activation=config.hidden_act,
            padding=None if config.model_type == "bert" else 1 if padding is None else padding,
        )
        if result.max_length < 3:
            raise ValueError(
                f"max_position_embeddings {result.positions} leaves room for {result.max_length} "
                "tokens, expected at least 3"
            )
        return result

    @property
    def max_length(self) -> int:
        """The most tokens of a text, its first and last special token included."""
        return self.positions - (0 if self.padding is None else self.padding + 1)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the names and shapes of all tensors, named as in an `XLMRobertaModel`."""
        hidden, wide = (self.hidden,), (self.intermediate,)
        shapes: dict[str, tuple[int, ...]] = {
            "embeddings.word_embeddings.weight": (self.vocabulary, self.hidden),
            "embeddings.position_embeddings.weight": (self.positions, self.hidden),
            "embeddings.token_type_embeddings.weight": (self.types, self.hidden),
            "embeddings.LayerNorm.weight": hidden,
            "embeddings.LayerNorm.bias": hidden,
        }
        layer = {
            "attention.self.query": hidden + hidden,
            "attention.self.key": hidden + hidden,
            "attention.self.value": hidden + hidden,
            "attention.output.dense": hidden + hidden,
            "attention.output.LayerNorm": hidden,
            "intermediate.dense": wide + hidden,
            "output.dense": hidden + wide,
            "output.LayerNorm": hidden,
        }
        for number in range(self.layers):
            for name, shape in layer.items():
                shapes[f"encoder.layer.{number}.{name}.weight"] = shape
                shapes[f"encoder.layer.{number}.{name}.bias"] = shape[:1]
        return shapes
