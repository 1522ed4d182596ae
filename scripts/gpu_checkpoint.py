"""A random checkpoint of BGE-M3's dimensions, and texts of given lengths for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
MIXED = [21, 60, 128, 200, 320, 512]  # tokens of the texts of "21 to 512 tokens"


@dataclass(frozen=True, slots=True)
class Size:
    """The dimensions of the checkpoint and of the work."""

    layers: int
    hidden: int
    vocabulary: int
    lengths: tuple[int, ...]
    tokens: int  # of all texts of a measurement
    sweep: tuple[int, ...]  # values of batch_tokens
    product: int  # rows of the matrix product
    rounds: int
    row_seconds: float  # after which no further round begins
    client_processes: int
    client_seconds: float
    positions: int = 8194

    def flop(self, lengths: list[int]) -> float:
        """Return the operations of a forward pass: linear layers and attention."""
        linear = self.layers * 2 * 12 * self.hidden**2
        attention = self.layers * 4 * self.hidden
        return float(sum(n * linear + n * n * attention for n in lengths))


FULL = Size(
    layers=24,
    hidden=1024,
    vocabulary=250_002,
    lengths=(32, 200, 1000, 8192),
    tokens=2**17,
    sweep=(4096, 8192, 16384, 32768, 65536, 131072),
    product=32768,
    rounds=3,
    row_seconds=4,
    client_processes=4,
    client_seconds=6,
)
SMALL = Size(
    layers=2,
    hidden=128,
    vocabulary=1000,
    lengths=(32, 200, 1000),
    tokens=2**11,
    sweep=(512, 1024, 2048),
    product=512,
    rounds=1,
    row_seconds=1,
    client_processes=2,
    client_seconds=1,
)


def save_checkpoint(folder: Path, size: Size, device: torch.device) -> None:
    """Make a random checkpoint on a device, and save it in BGE-M3's format in float16.

    Its words are w0, w1 and so on, between blanks: the tokenizer is quicker than BGE-M3's.
    """
    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=size.vocabulary,
        hidden_size=size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=size.hidden // 64,
        intermediate_size=4 * size.hidden,
        max_position_embeddings=size.positions,
        type_vocab_size=1,
        pad_token_id=1,
        layer_norm_eps=1e-5,
    )
    with device:
        model: Any = XLMRobertaModel(config, add_pooling_layer=False)
    model.half().save_pretrained(folder)
    names = [*SPECIAL, *(f"w{i}" for i in range(size.vocabulary - len(SPECIAL)))]
    words = {word: number for number, word in enumerate(names)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token="<s>",
        cls_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        sep_token="</s>",
        unk_token="<unk>",
    ).save_pretrained(folder)
    for name, outputs in (("sparse_linear", 1), ("colbert_linear", size.hidden)):
        layer = torch.nn.Linear(size.hidden, outputs).half()
        torch.save(layer.state_dict(), folder / f"{name}.pt")


def cases(size: Size) -> Iterator[tuple[str, list[int]]]:
    """Yield names of texts and their lengths in tokens, of about `size.tokens` tokens together."""
    for length in size.lengths:
        yield f"{length:,} tokens", [length] * max(1, size.tokens // length)
    yield "21 to 512 tokens", MIXED * max(1, size.tokens // sum(MIXED))


def words_of(lengths: list[int], size: Size) -> list[str]:
    """Return random texts of these lengths, the two special tokens included."""
    rng = np.random.default_rng(0)
    words = size.vocabulary - len(SPECIAL)
    return [" ".join(f"w{i}" for i in rng.integers(0, words, n - 2)) for n in lengths]
