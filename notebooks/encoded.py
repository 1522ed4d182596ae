"""The demo collection with its vectors, encoded once for all notebooks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from trivec import Document, Encoder, Vectors, open_store
from trivec.demo.collection import DemoCollection, Question, load_collection
from trivec.demo.model import demo_model
from trivec.demo.run import update
from trivec.folders import cache_folder


@dataclass(frozen=True)
class Encoded:
    """The encoder, the collection, and the vectors of its passages in the collection's order."""

    encoder: Encoder
    collection: DemoCollection
    vectors: Vectors

    @property
    def documents(self) -> list[Document]:
        """The passages."""
        return self.collection.documents

    def question(self, name: str) -> Question:
        """Return the question of this id."""
        return next(one for one in self.collection.questions if one.id == name)

    def answer(self, name: str) -> Document:
        """Return the first passage with the best grade for this question."""
        grades = self.collection.qrels[name]
        best = max(grades, key=lambda one: grades[one])
        return next(document for document in self.documents if document.id == best)


def load_encoded(model: str = "demo") -> Encoded:
    """Load the model, and encode those passages that no earlier notebook has encoded.

    They are kept in an archive in `TRIVEC_NOTEBOOK_DATA`, or else in trivec's cache folder.

    Args:
        model: "demo", a hub id such as "BAAI/bge-m3", or a folder.
    """
    encoder = Encoder.load(demo_model() if model == "demo" else model)
    collection = load_collection()
    folder = Path(os.environ.get("TRIVEC_NOTEBOOK_DATA") or cache_folder() / "notebooks")
    name = "".join(c if c.isalnum() else "-" for c in encoder.schema.model)
    with open_store(f"archive:{folder}/{name}") as archive:
        report, reused = update(collection, encoder, archive)
        page = archive.get([document.id for document in collection.documents], with_vectors=True)
    if page.vectors is None:
        raise RuntimeError(f"the archive in {folder} holds no vectors; delete the folder")
    print(f"{report.documents} passages encoded now, {reused} read from an earlier run's archive")
    return Encoded(encoder, collection, page.vectors)
