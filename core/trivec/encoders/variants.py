"""Names of models with options, such as "BAAI/bge-m3?truncate_dim=256"."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from trivec.arguments import at_least_one, expect, shown
from trivec.encoders.files import local_folder
from trivec.encoders.hub import base_name, split_revision
from trivec.errors import InvalidOptionError
from trivec.url_options import query_options


@dataclass(frozen=True, slots=True)
class ModelVariant:
    """A checkpoint and the options that make other vectors of it.

    Args:
        model: A folder, or the name of a model on the hub.
        heads: The checkpoint that the sparse and the ColBERT head come from, None for its own. A
            revision may follow, as in "BAAI/bge-m3@5617a9f".
        truncate_dim: The length of the dense vectors, None for the checkpoint's own.

    Example:
        >>> str(ModelVariant("me/tuned", heads="BAAI/bge-m3", truncate_dim=256))
        'me/tuned?heads=BAAI/bge-m3&truncate_dim=256'
        >>> ModelVariant.parse("me/tuned?truncate_dim=256").truncate_dim
        256
    """

    model: str
    heads: str | None = None
    truncate_dim: int | None = None

    @classmethod
    def parse(
        cls,
        model: str | Path,
        *,
        heads: str | Path | None = None,
        truncate_dim: int | None = None,
    ) -> ModelVariant:
        """Return the variant that a name with options means, or a name and separate options.

        Args:
            model: A folder, or a name with or without options after a question mark.
            heads: As in `Encoder.load`.
            truncate_dim: As in `Encoder.load`.

        Raises:
            InvalidOptionError: If an option is unknown, malformed, or given twice.
        """
        form = "the name of a model on the hub, or its folder"
        expect(model, (str, Path), "model", form)
        expect(heads, (str, Path, type(None)), "heads", form)
        for option, given in (("model", model), ("heads", heads)):
            if given == "":
                raise InvalidOptionError(f"{option}='': expected {form}")
        model = str(model)
        base, mark, query = model.partition("?")
        if not mark or local_folder(model) is not None:
            base, query = model, ""
        options = query_options(query, f"model {shown(model)}")
        for name, value in options.items():
            if name not in ("heads", "truncate_dim") or not value:
                raise InvalidOptionError(
                    f"model {shown(model)} has the option {name}={shown(value)}; expected "
                    "heads=MODEL or truncate_dim=N"
                )
            if (heads if name == "heads" else truncate_dim) is not None:
                raise InvalidOptionError(f"model {shown(model)}: {name} is given twice")
        if "truncate_dim" in options:
            digits = options["truncate_dim"]
            if not digits.isdecimal() or len(digits) > 9:
                raise InvalidOptionError(
                    f"model {shown(model)}: truncate_dim={shown(digits)} is no number of dimensions"
                )
            truncate_dim = int(digits)
        if truncate_dim is not None:
            truncate_dim = at_least_one(truncate_dim, "truncate_dim")
        heads = options.get("heads", heads)
        return cls(base, None if heads is None else str(heads), truncate_dim)

    def named(self, *, without_dim: int | None = None) -> ModelVariant:
        """Return the variant with the names that a `Schema` has for its checkpoints.

        Revisions are not part of them. A `truncate_dim` of `without_dim`, the checkpoint's own, is
        left out.
        """
        heads = None if self.heads is None else base_name(split_revision(self.heads)[0])
        kept = None if self.truncate_dim == without_dim else self.truncate_dim
        return ModelVariant(base_name(self.model), heads, kept)

    def resolved(self) -> ModelVariant:
        """Return the variant with absolute paths of the checkpoints that are folders."""
        heads = None if self.heads is None else _absolute(self.heads)
        return replace(self, model=_absolute(self.model), heads=heads)

    def __str__(self) -> str:
        options = {"heads": self.heads, "truncate_dim": self.truncate_dim}
        given = [
            f"{name}={quote(str(v), safe='/@')}" for name, v in options.items() if v is not None
        ]
        return f"{self.model}?{'&'.join(given)}" if given else self.model


def model_name(model: str | Path) -> str:
    """Return the name that the schema gives to the model that `Encoder.load` is given.

    This is the name on the hub, also for a folder of the hub's cache; for any other folder it is
    the folder's name. Options follow after a question mark.

    >>> model_name("BAAI/bge-m3"), model_name("BAAI/bge-m3?truncate_dim=256")
    ('BAAI/bge-m3', 'BAAI/bge-m3?truncate_dim=256')
    """
    return str(ModelVariant.parse(model).named())


def _absolute(model: str) -> str:
    folder = local_folder(model)
    return model if folder is None else str(folder.resolve())
