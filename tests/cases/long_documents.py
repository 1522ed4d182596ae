"""Documents that are stored as passages, for the tests of both frameworks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

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

WRONG_OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"per_group": 2}, "per_group=2 needs group_by"),
    ({"per_group": 0, "group_by": "parent"}, "per_group=0"),
    ({"evidence": -1}, "evidence=-1"),
    ({"evidence": "2"}, "evidence='2'"),
    ({"group_by": 3}, "group_by"),
    ({"group_by": ""}, "group_by"),
    ({"group_by": "a..b"}, "group_by"),
    ({"parents": "yes"}, "parents"),
    ({"parents": 1}, "parents"),
    ({"parents": True, "group_by": "lang"}, "group_by='lang' and parents=True"),
]
"""Options of searches that do not fit, with a part of the message of each."""


def fill(store: Store, encoder: HashEncoder, parents: Sequence[Document] = PARENTS) -> None:
    """Store a passage for each sentence, and a document that is no passage."""
    documents = [ALONE]
    for parent in parents:
        found = [match.span() for match in re.finditer(r"\S[^.]*\.", parent.text)]
        passages = [Passage(start, end, 0, 0) for start, end in found]
        documents += passage_documents(parent, passages)
    vectors = encoder.encode_documents([document.text for document in documents])
    store.upsert(documents, vectors)
