"""The variant of a checkpoint that is loaded or exported: its files, its schema and its limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trivec.encoders.checkpoint import Checkpoint, open_checkpoint
from trivec.encoders.hub import commit_of, fetch, fetch_heads
from trivec.encoders.local import MAX_LENGTH, variant_options
from trivec.encoders.variants import ModelVariant
from trivec.schema import Schema


def open_variant(
    variant: ModelVariant,
    *,
    revision: str | None,
    cache_dir: str | Path | None,
    local_files_only: bool,
    instructed: bool = False,
) -> Checkpoint:
    """Fetch and check the checkpoint of a variant, with the heads of another one if it names them.

    Args:
        variant: The variant.
        revision: Branch, tag or commit on the hub.
        cache_dir: Where the hub's files are kept; the hub's default if None.
        local_files_only: Whether to use the files on disk without asking the hub.
        instructed: As in `open_checkpoint`.

    Raises:
        CheckpointError: If a checkpoint is missing, or anything in it is wrong.
    """
    folder = fetch(
        variant.model, revision=revision, cache_dir=cache_dir, local_only=local_files_only
    )
    heads = None
    if variant.heads is not None:
        heads = fetch_heads(variant.heads, cache_dir=cache_dir, local_only=local_files_only)
    return open_checkpoint(folder, model=variant.model, instructed=instructed, heads=heads)


@dataclass(frozen=True, slots=True)
class VariantSettings:
    """What the options of a variant make of its checkpoint.

    Args:
        schema: The vectors.
        heads: The name of the checkpoint of the heads, with its commit if it is in the hub's
            cache; None for its own.
        max_length: The most tokens of a text if a call does not say.
        own_length: The same without the option `max_length`.
    """

    schema: Schema
    heads: str | None
    max_length: int
    own_length: int

    @classmethod
    def of(
        cls,
        checkpoint: Checkpoint,
        variant: ModelVariant,
        *,
        name: str | None,
        max_length: int | None,
    ) -> VariantSettings:
        """Return the settings of a variant.

        Args:
            checkpoint: Its checkpoint.
            variant: The variant.
            name: The model's name in the schema; by default that of the variant.
            max_length: As in `Encoder.load`.

        Raises:
            InvalidOptionError: If `truncate_dim` is more than the numbers of a dense vector.
        """
        named = variant.named(without_dim=checkpoint.dense)
        own_length = min(MAX_LENGTH, checkpoint.max_length)
        return cls(
            schema=Schema(
                dense=checkpoint.dimension(variant.truncate_dim),
                sparse=checkpoint.sparse is not None,
                colbert=None if checkpoint.colbert is None else len(checkpoint.colbert[0]),
                model=name or str(named),
            ),
            heads=_with_commit(named.heads, checkpoint.heads),
            max_length=min(max_length or own_length, checkpoint.architecture.max_length),
            own_length=own_length,
        )

    @property
    def options(self) -> Mapping[str, str]:
        """The settings beside the schema that change the vectors, as `Encoder.options` has them."""
        return variant_options(self.heads, self.max_length, self.own_length)


def _with_commit(heads: str | None, folder: Path | None) -> str | None:
    commit = None if folder is None else commit_of(folder)
    return heads if commit is None else f"{heads}@{commit}"
