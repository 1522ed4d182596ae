"""Documents that are stored as passages, for the tests of both frameworks."""

from __future__ import annotations

import re
from collections.abc import Sequence

from trivec import Document, Store
from trivec.passages.splitting import Passage
from trivec.passages.stored import passage_documents
from trivec.testing import HashEncoder

PARENTS = [
    Document(
        "sea",
        "  Whales sing in the sea. The blue whale is a large whale.\n\nA whale song carries far. ",
        {"lang": "en", "year": 2024},
    ),
    Document("wood", "Foxes live in the wood. The red fox saw a whale.", {"lang": "en"}),
    Document("küste", "Robben ruhen am Strand. Ein Wal singt.", {"lang": "de", "tags": ["a", "b"]}),
    Document("a#b", "One owl.", {}),
]
ALONE = Document("alone", "A whale by itself.", {"lang": "en"})


def fill(store: Store, encoder: HashEncoder, parents: Sequence[Document] = PARENTS) -> None:
    """Store a passage for each sentence, and a document that is no passage."""
    documents = [ALONE]
    for parent in parents:
        found = [match.span() for match in re.finditer(r"\S[^.]*\.", parent.text)]
        passages = [Passage(start, end, 0, 0) for start, end in found]
        documents += passage_documents(parent, passages)
    vectors = encoder.encode_documents([document.text for document in documents])
    store.upsert(documents, vectors)
