"""The questions with which storages are compared: judged, given, or drawn from the documents."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from trivec.document import Document
from trivec.errors import InvalidOptionError
from trivec.insight.judgements import Qrels, checked_grades, judged_queries
from trivec.insight.storage.sentences import sentences

DRAWN = 200  # questions drawn from documents, unless told otherwise
_FEWEST = 10  # questions drawn from documents that can say anything
_SENTENCES = 3  # of a document that a question is drawn from


@dataclass(frozen=True, slots=True)
class Questions:
    """Questions for a sample of documents.

    Args:
        texts: The questions, id to text.
        qrels: Their judgements; None where rankings are compared instead.
        shortened: For the id of a document its text without the sentence that became a question.
        notes: What to know about them.
    """

    texts: Mapping[str, str]
    qrels: Qrels | None = None
    shortened: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def chance(seed: int, id: str) -> int:
    """Return a random number for an id, the same in whatever order documents are read."""
    digest = blake2b(f"{seed} {id}".encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")


@dataclass(frozen=True, slots=True)
class Judged:
    """Judged questions whose relevant documents fit into a sample.

    Args:
        texts: The questions.
        qrels: Their judgements.
        given: How many judged questions there were.
    """

    texts: Mapping[str, str]
    qrels: Qrels
    given: int

    @classmethod
    def chosen(
        cls, queries: Mapping[str, str], qrels: Qrels, *, sample: int, most: int | None, seed: int
    ) -> Judged:
        """Choose questions at random, as many as fit.

        Args:
            queries: The questions, id to text; those without judgements are left out.
            qrels: For each question the grades of documents.
            sample: The most documents.
            most: The most questions; None for all that fit.
            seed: The seed of the choice.

        Raises:
            InvalidOptionError: If nothing is judged relevant, or the questions and judgements are
                malformed.
        """
        texts = judged_queries(queries, qrels)
        grades = checked_grades({id: qrels[id] for id in texts})
        relevant = {id: {d for d, g in grades[id].items() if g > 0} for id in texts}
        fitting: set[str] = set()
        needed: set[str] = set()
        for id in sorted(texts, key=lambda id: chance(seed, id)):
            if relevant[id] and len(needed | relevant[id]) <= sample:
                if most is not None and len(fitting) == most:
                    break
                needed |= relevant[id]
                fitting.add(id)
        if not fitting:
            raise InvalidOptionError(
                f"no question has a document that is judged relevant (a grade above 0) and fits "
                f"into a sample of {sample:,} documents"
            )
        chosen = {id: text for id, text in texts.items() if id in fitting}
        return cls(chosen, {id: grades[id] for id in chosen}, len(texts))

    @property
    def relevant(self) -> set[str]:
        """The ids of the relevant documents."""
        return {d for grades in self.qrels.values() for d, grade in grades.items() if grade > 0}

    def within(self, sample: Collection[str]) -> Questions:
        """Return the questions that have a relevant document in the sample.

        Args:
            sample: The ids of the documents in the sample.

        Raises:
            InvalidOptionError: If no question has one.
        """
        known = set(sample)
        kept = [
            id
            for id, grades in self.qrels.items()
            if any(grades[d] > 0 for d in known & set(grades))
        ]
        if not kept:
            raise InvalidOptionError(
                f"none of the {len(self.relevant)} documents that are judged relevant is in the "
                "collection; the ids of qrels must be those of the documents"
            )
        notes = []
        if len(kept) < self.given:
            notes.append(
                f"{len(kept):,} of {self.given:,} judged questions were taken: their relevant "
                "documents are in the sample"
            )
        if missing := len(self.relevant - known):
            notes.append(f"{missing:,} relevant documents are not in the collection")
        return Questions(
            {id: self.texts[id] for id in kept},
            {id: self.qrels[id] for id in kept},
            notes=tuple(notes),
        )


def held_out(documents: Sequence[Document], *, most: int | None, seed: int) -> Questions:
    """Draw questions from documents: of some documents a sentence, which is taken out of them.

    Args:
        documents: The sample.
        most: The most questions; `DRAWN` by default.
        seed: The seed of the choice.

    Raises:
        InvalidOptionError: If too few documents have three sentences.
    """
    texts: dict[str, str] = {}
    shortened: dict[str, str] = {}
    for document in _shuffled(documents, seed):
        if len(texts) == (DRAWN if most is None else most):
            break
        pieces = sentences(document.text)
        if len(pieces) < _SENTENCES:
            continue
        number = chance(seed + 1, document.id) % len(pieces)
        texts[document.id] = pieces[number].strip()
        shortened[document.id] = "".join(pieces[:number] + pieces[number + 1 :])
    if len(texts) < _FEWEST:
        raise InvalidOptionError(
            f"{len(texts)} documents of the sample have {_SENTENCES} sentences, of which one can "
            f"become a question; at least {_FEWEST} are needed. Give questions as queries "
            "(a file after the collection), with judgements if you have them"
        )
    note = (
        f"{len(texts):,} questions were drawn from the documents: a sentence each, held out of its "
        "document"
    )
    return Questions(texts, shortened=shortened, notes=(note,))


def given(queries: Mapping[str, str], *, most: int | None, seed: int) -> Questions:
    """Return questions without judgements, some of them at random if there are more than `most`."""
    chosen = sorted(queries, key=lambda id: chance(seed, id))[:most]
    return Questions({id: queries[id] for id in chosen})


def _shuffled(documents: Iterable[Document], seed: int) -> list[Document]:
    return sorted(documents, key=lambda document: chance(seed, document.id))
