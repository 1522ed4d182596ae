"""A cross-encoder: it reads a question and a document together and returns one score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trivec.arguments import at_least_one, expect
from trivec.encoders.batching import CPU_BATCH_TOKENS, token_batches
from trivec.encoders.extras import require_torch
from trivec.encoders.packing import PackedTexts
from trivec.encoders.precision import Precision
from trivec.encoders.processes import Reloadable, reloadable, survives_fork
from trivec.encoders.tokenizer import TextTokenizer, check_texts
from trivec.errors import CheckpointError
from trivec.reranking.pair_scores import check_pairs, sigmoid_of
from trivec.reranking.pairs import PairTokenizer

if TYPE_CHECKING:
    from torch import Tensor

    from trivec.encoders.backbone import Backbone

MAX_LENGTH = 1024  # tokens of a pair; recommended by BAAI/bge-reranker-v2-m3's model card


class Reranker(Reloadable):
    """A sequence classification model with one output, such as BAAI/bge-reranker-v2-m3.

    Any number of threads can use one reranker. Make it with `Reranker.load`.

    Attributes:
        model (str): The model's name.
        device (str): Where it runs.
        precision (Precision): The number format of its matrix products.
        max_length (int): The default for the most tokens of a pair that are read.

    Example:
        Needs the model, 2.3 GB on the first use:

        ```python
        reranker = Reranker.load("BAAI/bge-reranker-v2-m3")
        reranker.score_pairs([("Which animal is the largest?", "The blue whale.")])
        ```
    """

    def __init__(
        self,
        backbone: Backbone,
        classify: Callable[[Tensor], Tensor],
        tokenizer: PairTokenizer,
        *,
        model: str,
        precision: Precision,
        max_length: int | None = None,
        batch_tokens: int = CPU_BATCH_TOKENS,
    ) -> None:
        self.model = model
        self.device = str(backbone.device)
        self.precision = precision
        self._model_length = backbone.architecture.max_length
        self.max_length = min(self._model_length, max_length or MAX_LENGTH)
        self._backbone = backbone
        self._classify = classify
        self._tokenizer = tokenizer
        self._batch_tokens = batch_tokens

    @classmethod
    @reloadable
    @survives_fork
    def load(
        cls,
        model: str | Path = "BAAI/bge-reranker-v2-m3",
        *,
        device: str = "auto",
        precision: str = "auto",
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        max_length: int | None = None,
        batch_tokens: int | None = None,
    ) -> Reranker:
        """Load a model from a folder or from the Hugging Face hub, without running code from it.

        Args:
            model: A local folder, or the name of a model on the hub.
            device: As in `Encoder.load`.
            precision: As in `Encoder.load`.
            revision: Branch, tag or commit on the hub.
            cache_dir: Where the hub's files are kept; the hub's default if None.
            local_files_only: Whether to use the files on disk without asking the hub.
            max_length: The most tokens of a pair if a call does not say, up to what the model can
                take; by default the checkpoint's own limit, at most 1,024.
            batch_tokens: The most tokens of one forward pass; a longer pair is a pass by itself.

        Raises:
            CheckpointError: If files are missing, shapes are wrong, or tensors or settings would
                be ignored; the message names all of them.
            InvalidOptionError: If an option is out of range, or the device does not exist.
        """
        expect(model, (str, Path), "model", "the name of a model on the hub, or its folder")
        if max_length is not None:
            max_length = at_least_one(max_length, "max_length")
        if batch_tokens is not None:
            batch_tokens = at_least_one(batch_tokens, "batch_tokens")
        require_torch("Reranker.load")
        from trivec.encoders.checkpoint import open_checkpoint
        from trivec.encoders.hub import fetch
        from trivec.encoders.placement import place

        folder = fetch(model, revision=revision, cache_dir=cache_dir, local_only=local_files_only)
        checkpoint = open_checkpoint(folder, model=model, purpose="reranker")
        architecture, settings = checkpoint.architecture, checkpoint.settings
        tokenizer = PairTokenizer(
            TextTokenizer.load(folder, architecture.vocabulary, lower_case=settings.lower_case)
        )
        if tokenizer.types > architecture.types:
            raise CheckpointError(
                f"the tokenizer in {folder} uses {tokenizer.types} token types, the model has "
                f"{architecture.types}; they belong to different models"
            )
        if max_length is not None:
            tokenizer.check_length(max_length)
        placement = place(device, precision)
        first = placement.exact_linear(*checkpoint.classifier[:2])
        second = placement.exact_linear(*checkpoint.classifier[2:])
        return cls(
            placement.backbone(checkpoint),
            lambda states: second(first(states).tanh()),
            tokenizer,
            model=checkpoint.name,
            precision=placement.precision,
            max_length=max_length or min(MAX_LENGTH, checkpoint.max_length),
            batch_tokens=batch_tokens or placement.batch_tokens,
        )

    def __repr__(self) -> str:
        return (
            f"Reranker(model={self.model!r}, device={self.device!r}, "
            f"precision={self.precision.value!r}, max_length={self.max_length})"
        )

    def score_pairs(
        self,
        pairs: Sequence[tuple[str, str]],
        *,
        sigmoid: bool = False,
        max_length: int | None = None,
    ) -> NDArray[np.float32]:
        """Score each pair of a question and a document.

        Long texts are cut as by FlagEmbedding's `FlagReranker`: the question to three quarters of
        `max_length`, then the document to the remaining tokens.

        Args:
            pairs: n pairs (question, document).
            sigmoid: Whether to map the scores to the range 0 to 1.
            max_length: The most tokens of a pair, up to what the model can take; by default
                `self.max_length`.

        Returns:
            float32 (n,), higher is better.

        Raises:
            InvalidInputError: If an item is not a pair of strings, or a string holds half of a
                surrogate pair.
            InvalidOptionError: If `max_length` leaves no room for a text.
        """
        check_pairs(pairs)
        longest = self.max_length
        if max_length is not None:
            longest = min(at_least_one(max_length, "max_length"), self._model_length)
        questions = check_texts([question for question, _ in pairs])
        documents = check_texts([document for _, document in pairs])
        ids = self._tokenizer(questions, documents, longest)
        scores = np.zeros(len(pairs), np.float32)
        for rows in token_batches(ids.lengths(), self._batch_tokens):
            scores[rows] = self._score(ids.packed(rows))
        return sigmoid_of(scores) if sigmoid else scores

    @survives_fork
    def _score(self, texts: PackedTexts) -> NDArray[np.float32]:
        import torch

        states = self._backbone(texts)
        with torch.inference_mode():
            firsts = states[torch.from_numpy(texts.indptr[:-1]).to(states.device)]
            scores: NDArray[np.float32] = self._classify(firsts)[:, 0].cpu().numpy()
        return scores
