"""Documents that are stored as passages: ingestion, re-ingestion, deletion and what goes wrong."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from trivec import (
    ColbertStorage,
    Document,
    F,
    Passages,
    Store,
    Vectors,
    aingest,
    aread_parents,
    copy,
    ingest,
    open_store,
    read_parents,
)
from trivec.encoders.protocol import Token
from trivec.errors import (
    AuthenticationError,
    DocumentRefusedError,
    InvalidDocumentError,
    InvalidInputError,
    InvalidOptionError,
    JournalError,
    StoreError,
    StoreUnavailableError,
    TooManyRejectsError,
)
from trivec.ingestion.report import Rejected
from trivec.testing import HashEncoder

SENTENCES = (
    "The blue whale sings at night. ",
    "แมวดำนอนอยู่บนเสื่อ ",
    "القطة السوداء تنام على الحصير. ",
    "黒い猫がマットの上で寝ている。",
    "काली बिल्ली चटाई पर सोती है। ",
    "\n\n",
    "   \t",
    "Ünïcödé 👩‍👩‍👧 e\u0301 ",
    "...",
    "x",
)


def words(count: int, name: str = "w") -> str:
    return " ".join(f"{name}{i}" for i in range(count))


def text_of(rng: random.Random) -> str:
    return "".join(rng.choices(SENTENCES, k=rng.choice([0, 1, 2, 5, 40])))


@pytest.fixture
def store(store: Store, encoder: HashEncoder) -> Store:
    store.create(encoder.schema, fields={"parent": str})
    return store


def everything(store: Store) -> dict[str, Document]:
    return {document.id: document for page in store.scan() for document in page.documents}


def parents(store: Store) -> set[str]:
    return {document.metadata["parent"] for document in everything(store).values()}


def fail_writes(
    store: Store, monkeypatch: pytest.MonkeyPatch, refused: Callable[[list[str]], Exception | None]
) -> None:
    backend = store._handle.backend
    write = backend.write

    def writing(collection: Any, documents: Sequence[Document], vectors: Vectors) -> None:
        if error := refused([document.id for document in documents]):
            raise error
        write(collection, documents, vectors)

    monkeypatch.setattr(backend, "write", writing)


def test_passages_are_documents_that_know_their_place(store: Store, encoder: HashEncoder) -> None:
    text = "\n" + "The blue whale sings at night. " * 12
    report = ingest([Document("a", text, {"year": 2026})], encoder, store, passages=16)
    stored = everything(store)
    assert (report.records, report.documents, report.passages) == (1, 1, len(stored))
    assert len(stored) == 6
    for n in range(6):
        passage = stored[f"a#{n}"]
        start, end = passage.metadata["span"]
        assert passage.text == text[start:end] == passage.text.strip()
        assert (passage.metadata["parent"], passage.metadata["year"]) == ("a", 2026)
        assert len(encoder.tokens(passage.text)) <= 17
    assert store.count(F("parent") == "a") == 6
    hit = store.search(encoder.encode_query("whale"), k=1)[0]
    assert hit.document.id.startswith("a#")


@pytest.mark.parametrize("late", [False, True])
def test_the_vectors_are_those_of_the_passages(
    store: Store, encoder: HashEncoder, late: bool
) -> None:
    documents = [Document("long", words(200)), Document("short", "one two"), Document("none", "!")]
    options = Passages(tokens=16, overlap=4, late=late)
    ingest(documents, encoder, store, passages=options, part_bytes=300)
    for passage in everything(store).values():
        vectors = store.get([passage.id], with_vectors=True).vectors
        assert vectors is not None
        assert vectors.colbert is not None
        expected = encoder.encode_documents([passage.text])[0]
        got = vectors[0]
        assert got.sparse == expected.sparse
        # In its context a passage has no vector of its own for the end of a text.
        ends = 0 if late and passage.text != "!" else 1
        assert expected.colbert is not None
        assert len(vectors.colbert.values) == len(expected.colbert) - 1 + ends


def test_late_chunking_reads_each_text_once(store: Store, encoder: HashEncoder) -> None:
    documents = [Document(f"d{i}", words(100)) for i in range(5)]
    ingest(documents, encoder, store, passages="tokens=16,late=true", part_bytes=200)
    assert encoder.encoded == 5
    assert read_parents(store, ["d3"]) == [documents[3]]


def test_late_chunking_of_a_very_long_text_takes_several_calls(
    store: Store, encoder: HashEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trivec.ingestion.passages.LATE_TOKENS", 50)
    document = Document("d", words(400))
    ingest([document], encoder, store, passages="tokens=16,overlap=0,late=true")
    assert encoder.encoded == 9  # 3 passages of 16 words at a time
    assert read_parents(store, ["d"]) == [document]


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("part_bytes", [64 * 1024, 150])
def test_documents_come_back_after_random_edits_and_deletions(
    store: Store, encoder: HashEncoder, tmp_path: Path, late: bool, part_bytes: int
) -> None:
    for seed in range(4):
        rng = random.Random(f"{seed} {late} {part_bytes}")
        store.clear()
        options: dict[str, Any] = {
            "passages": Passages(tokens=16, overlap=rng.choice([0, 2, 15]), late=late),
            "part_bytes": part_bytes,
            "journal": tmp_path / f"{seed}",
            "prune": True,
        }
        pool = ["a", "a#0", "a#1#", "é", "日本", "#", "b" * 508]
        source = {id: Document(id, text_of(rng), {"n": 0}) for id in pool}
        for round in range(6):
            for id in rng.sample(pool, 3):
                action = rng.choice(["text", "metadata", "both", "remove"])
                old = source.pop(id, Document(id, ""))
                if action == "remove" and len(source) > 1:
                    continue
                text = old.text if action == "metadata" else text_of(rng)
                source[id] = Document(id, text, {"n": round} if action != "text" else old.metadata)
            ingest(source.values(), encoder, store, **options)
            assert read_parents(store, pool) == [source[id] for id in pool if id in source]
            assert parents(store) == set(source)
            assert ingest(source.values(), encoder, store, **options).unchanged == len(source)
        before = everything(store)
        id = rng.choice(list(source))
        store.delete([id])
        gone = {passage.id for passage in before.values() if passage.metadata["parent"] == id}
        assert everything(store).keys() == before.keys() - gone
        assert read_parents(store, [id]) == []


# --- what changes --------------------------------------------------------------------------------


@pytest.mark.parametrize("journal", [True, False])
@pytest.mark.parametrize("part_bytes", [64 * 1024, 60])
def test_a_parent_grows_shrinks_and_becomes_empty(
    store: Store, encoder: HashEncoder, tmp_path: Path, journal: bool, part_bytes: int
) -> None:
    for size in (100, 40, 2000, 0, 1, 300):
        document = Document("a", words(size, f"s{size}v"))
        report = ingest(
            [document, Document("b", "other")],
            encoder,
            store,
            passages=16,
            part_bytes=part_bytes,
            journal=tmp_path / "journal" if journal else None,
        )
        assert read_parents(store, ["a"]) == [document]
        assert store.count() == report.passages + (report.unchanged and 1)


def test_of_two_versions_in_a_source_the_last_one_stays(
    store: Store, encoder: HashEncoder, tmp_path: Path
) -> None:
    rng = random.Random(1)
    for number in range(20):
        sizes = [rng.choice([0, 1, 30, 100, 400]) for _ in range(rng.randint(2, 4))]
        versions = [Document("a", words(size, f"v{i}x")) for i, size in enumerate(sizes)]
        source: list[Document] = []
        for i, version in enumerate(versions):
            source += [
                version,
                *(Document(f"o{i}{j}", words(9)) for j in range(rng.choice([0, 40]))),
            ]
        for _ in range(2):
            ingest(
                source, encoder, store, passages=16, part_bytes=200, journal=tmp_path / f"{number}"
            )
            assert read_parents(store, ["a"]) == [versions[-1]]
            assert store.count(F("parent") == "a") == len(_numbers(store, "a"))
        store.clear()


def _numbers(store: Store, id: str) -> set[int]:
    (parent,) = read_parents(store, [id])
    count = next(d for d in everything(store).values() if d.id == f"{parent.id}#0")
    return set(range(count.metadata["_trivec"]["passages"]))


def test_changed_metadata_is_written_without_encoding(
    store: Store, encoder: HashEncoder, tmp_path: Path
) -> None:
    journal, text = tmp_path / "journal", words(500)
    others = [Document(f"o{i}", words(30)) for i in range(10)]
    ingest([Document("a", text, {"v": 1}), *others], encoder, store, passages=16, journal=journal)
    before, vectors = encoder.encoded, store.get(["a#3"], with_vectors=True).vectors
    changed = Document("a", text, {"v": 2})
    report = ingest(
        [changed, *others], encoder, store, passages=16, journal=journal, part_bytes=100
    )
    assert (report.documents, report.touched, report.unchanged) == (1, 1, 10)
    assert encoder.encoded == before
    assert read_parents(store, ["a"]) == [changed]
    after = store.get(["a#3"], with_vectors=True).vectors
    assert after is not None
    assert vectors is not None
    assert after[0].sparse == vectors[0].sparse
    assert all(d.metadata["v"] == 2 for d in everything(store).values() if d.id[0] == "a")


@pytest.mark.parametrize("damage", ["lost", "changed", "another's", "one more"])
def test_changed_metadata_is_encoded_where_the_store_has_other_passages(
    store: Store, encoder: HashEncoder, tmp_path: Path, damage: str
) -> None:
    journal, text = tmp_path / "journal", words(100)
    ingest([Document("a", text, {"v": 1})], encoder, store, passages=16, journal=journal)
    passage = store.get(["a#2"]).documents[0]
    one = encoder.encode_documents([""])
    if damage == "lost":
        store.delete(["a#2"])
    elif damage == "changed":
        store.upsert([Document("a#2", "other", passage.metadata)], one)
    elif damage == "another's":
        store.upsert([Document("a#2", passage.text)], one)
    else:
        last = {"passage": 99, "passages": 100}
        more = Document("a#99", "", {"parent": "a", "span": [0, 0], "_trivec": last})
        near = Document("a#9", "", {**more.metadata, "_trivec": {"passage": 9, "passages": 100}})
        store.upsert([more, near], Vectors.concatenate([one, one]))
    before, changed = encoder.encoded, Document("a", text, {"v": 2})
    if damage == "another's":
        with pytest.raises(InvalidDocumentError, match=r"'a'.*overwrite the document 'a#2'"):
            ingest([changed], encoder, store, passages=16, journal=journal)
        return
    report = ingest([changed], encoder, store, passages=16, journal=journal)
    assert (report.documents, report.touched) == (1, 0)
    assert encoder.encoded > before
    assert read_parents(store, ["a"]) == [changed]
    assert store.count() == report.passages


def test_prune_deletes_all_passages_of_what_vanished(
    store: Store, encoder: HashEncoder, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"passages": 16, "journal": tmp_path / "journal", "prune": True}
    documents = [Document(id, words(50)) for id in ("a", "a#1", "b", "b#0")]
    ingest(documents, encoder, store, **options)
    mine = Document("b#77", "of the user")
    store.upsert([mine], encoder.encode_documents([mine.text]))
    report = ingest(documents[1::2], encoder, store, **options)
    assert (report.pruned, report.unchanged) == (2, 2)
    assert read_parents(store, ["a", "a#1", "b", "b#0"]) == documents[1::2]
    left = everything(store)
    assert left.pop("b#77") == mine
    assert {passage.metadata["parent"] for passage in left.values()} == {"a#1", "b#0"}


@pytest.mark.parametrize("lost", ["a#0", "a#6"])
def test_a_parent_that_the_store_lost_is_written_again(
    store: Store, encoder: HashEncoder, tmp_path: Path, lost: str
) -> None:
    documents = [Document("a", words(100)), Document("b", words(20))]
    journal = tmp_path / "journal"
    assert ingest(documents, encoder, store, passages=16, journal=journal).passages == 9
    store.delete([lost])
    report = ingest(documents, encoder, store, passages=16, journal=journal)
    assert (report.missing, report.documents, report.unchanged) == (1, 1, 1)
    assert read_parents(store, ["a", "b"]) == documents


def test_deletions_that_the_store_lost_are_made_again(
    store: Store, encoder: HashEncoder, tmp_path: Path
) -> None:
    journal, long = tmp_path / "journal", Document("a", words(100, "old"))
    ingest([long], encoder, store, passages=16, journal=journal)
    page = store.get([f"a#{n}" for n in range(2, 5)], with_vectors=True)
    assert page.vectors is not None
    short = [Document("a", words(20)), Document("b", words(20)), Document("c" * 510, "x")]
    ingest(short, encoder, store, passages=16, journal=journal)
    store.upsert(page.documents, page.vectors)  # as if they had never been deleted
    mine = Document("b#2", "of the user")
    store.upsert([mine], encoder.encode_documents([mine.text]))
    report = ingest(short, encoder, store, passages=16, journal=journal)
    assert (report.missing, report.documents, report.unchanged) == (1, 1, 2)
    assert read_parents(store, ["a"]) == short[:1]
    assert everything(store).keys() == {"a#0", "a#1", "b#0", "b#1", "b#2", f"{'c' * 510}#0"}


# --- identity ------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", [17, "tokens=16,overlap=3", "tokens=16,late=true", None])
def test_a_journal_belongs_to_one_splitting(
    store: Store, encoder: HashEncoder, tmp_path: Path, other: Any
) -> None:
    documents, journal = [Document("a", words(50))], tmp_path / "journal"
    ingest(documents, encoder, store, passages=16, journal=journal)
    before = everything(store)
    with pytest.raises(JournalError, match="passages was 'tokens=16,overlap=2' and is"):
        ingest(documents, encoder, store, passages=other, journal=journal)
    assert everything(store) == before
    same = ingest(
        documents, encoder, store, passages=Passages(tokens=16, overlap=2), journal=journal
    )
    assert same.unchanged == 1


def test_a_journal_of_whole_documents_stays_valid_and_is_none_of_passages(
    store: Store, encoder: HashEncoder, tmp_path: Path
) -> None:
    documents, journal = [Document("a", words(50))], tmp_path / "journal"
    ingest(documents, encoder, store, journal=journal)
    with pytest.raises(JournalError, match="passages was 'nothing' and is 'tokens=16,overlap=2'"):
        ingest(documents, encoder, store, passages=16, journal=journal)
    assert ingest(documents, encoder, store, journal=journal, passages=None).unchanged == 1


def test_another_splitting_without_a_journal_leaves_nothing_of_the_first(
    store: Store, encoder: HashEncoder
) -> None:
    document = Document("a", words(300))
    for tokens in (16, 64, 32, 300):
        report = ingest([document], encoder, store, passages=tokens)
        assert store.count() == report.passages
        assert read_parents(store, ["a"]) == [document]


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (Document("a", "x", {"parent": "p"}), "'a': its metadata has the key 'parent'.*rename"),
        (Document("a", "x", {"parent": None}), "'a'.*'parent'"),
        (Document("a", "x", {"span": [0, 1]}), "'a'.*'span'.*rename"),
        (Document("a", "x", {"_trivec": {"passage": 1}}), "'a'.*'_trivec'"),
        (Document("a", "x", {"_trivec": {"after": ""}}), "'a'.*'_trivec'"),
        (Document("a", "x", {"_trivec": "mine"}), "'a'.*'_trivec'"),
        (Document("a" * 511, "x"), "its passage 0 takes 513 bytes.*at most 512"),
        (Document("é" * 256, "x"), "its passage 0 takes 514 bytes"),
        (Document("a" * 510, words(200)), "its passage 12 takes 513 bytes"),
    ],
)
@pytest.mark.parametrize("late", [False, True])
def test_documents_that_cannot_be_passages(
    store: Store, encoder: HashEncoder, tmp_path: Path, document: Document, message: str, late: bool
) -> None:
    source = [Document("b", words(30)), document, Document("c", words(30))]
    options: dict[str, Any] = {
        "passages": Passages(tokens=16, late=late),
        "journal": tmp_path / "journal",
    }
    with pytest.raises(InvalidDocumentError, match=message):
        ingest(source, encoder, store, **options)
    assert parents(store) == {"b"}  # what came before it
    rejected: list[Rejected] = []
    report = ingest(
        source, encoder, store, on_error="skip", rejected=rejected.append, max_rejects=1, **options
    )
    assert (report.failed, len(rejected), rejected[0].where) == (1, 1, document.id)
    assert parents(store) == {"b", "c"}
    with pytest.raises(TooManyRejectsError):
        ingest(source, encoder, store, on_error="skip", max_rejects=0, **options)


def test_ids_of_510_bytes_are_written(store: Store, encoder: HashEncoder) -> None:
    documents = [Document("a" * 510, words(100)), Document("é" * 254, words(200))]
    ingest(documents, encoder, store, passages=16)
    ids = [document.id for document in documents]
    assert read_parents(store, ids) == documents
    store.delete(ids)
    assert store.count() == 0


@pytest.mark.parametrize("number", [0, 3, 6])
@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"parent": "a"},
        {"parent": "other", "span": [0, 1], "_trivec": {"passage": 3, "passages": 9}},
        {"parent": "a", "span": [0, 1], "_trivec": {"passage": 9, "passages": 10}},
        {"parent": "a", "span": [0, 1], "_trivec": {"passage": True, "passages": 10}},
        {"parent": "a", "span": "0-1", "_trivec": {"passage": 3, "passages": 9}},
    ],
)
def test_a_document_of_the_user_is_not_overwritten(
    store: Store, encoder: HashEncoder, number: int, metadata: dict[str, Any]
) -> None:
    mine = Document(f"a#{number}", "mine", metadata)
    store.upsert([mine], encoder.encode_documents(["mine"]))
    source = [Document("b", words(20)), Document("a", words(100)), Document("c", words(20))]
    for part_bytes in (64 * 1024, 70):
        with pytest.raises(InvalidDocumentError, match=f"'a': its passage {number} would.*'a#"):
            ingest(source, encoder, store, passages=16, part_bytes=part_bytes)
        report = ingest(source, encoder, store, passages=16, part_bytes=part_bytes, on_error="skip")
        assert [failure.where for failure in report.failures] == ["a"]
        left = everything(store)
        assert left.pop(mine.id) == mine
        assert {passage.metadata["parent"] for passage in left.values()} == {"b", "c"}
    store.delete(["a"])
    assert store.get([mine.id]).documents == [mine]


def test_a_document_with_a_later_number_is_left_alone(store: Store, encoder: HashEncoder) -> None:
    mine = Document("a#1", "mine")
    store.upsert([mine], encoder.encode_documents(["mine"]))
    for _ in range(2):
        ingest([Document("a", "one passage")], encoder, store, passages=16)
        assert store.get(["a#1"]).documents == [mine]
    store.delete(["a"])
    assert everything(store) == {"a#1": mine}


def test_a_grown_parent_that_collides_stays_as_it_was(
    store: Store, encoder: HashEncoder, tmp_path: Path
) -> None:
    first, journal = Document("a", words(20)), tmp_path / "journal"
    ingest([first], encoder, store, passages=16, journal=journal)
    mine = Document("a#5", "mine")
    store.upsert([mine], encoder.encode_documents(["mine"]))
    grown = [Document("a", words(100, "new"))]
    for _ in range(2):
        report = ingest(grown, encoder, store, passages=16, journal=journal, on_error="skip")
        assert report.failed == 1
        assert read_parents(store, ["a"]) == [first]
    store.delete(["a#5"])
    ingest(grown, encoder, store, passages=16, journal=journal)
    assert read_parents(store, ["a"]) == grown


@pytest.mark.parametrize("error", [StoreError("no"), InvalidDocumentError("bad")])
@pytest.mark.parametrize("refused", ["a#0", "a#3", "a#6"])
@pytest.mark.parametrize("part_bytes", [64 * 1024, 70])
def test_a_parent_is_refused_as_a_whole(
    store: Store,
    encoder: HashEncoder,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    error: Exception,
    refused: str,
    part_bytes: int,
) -> None:
    source = [Document("b", words(50)), Document("a", words(100)), Document("c", words(50))]
    options: dict[str, Any] = {
        "passages": 16,
        "part_bytes": part_bytes,
        "journal": tmp_path / "journal",
    }
    old = [Document("a", words(200, "old")), *source[::2]]

    def left_of_a() -> list[bool]:
        """Return of each passage whether it is of the old text."""
        stored = everything(store).values()
        return ["old" in each.text for each in stored if each.metadata["parent"] == "a"]

    ingest(old, encoder, store, **options)
    with monkeypatch.context() as patch:
        fail_writes(store, patch, lambda ids: error if refused in ids else None)
        rejected: list[Rejected] = []
        report = ingest(
            source, encoder, store, on_error="skip", rejected=rejected.append, **options
        )
        assert (report.documents, report.unchanged, report.failed) == (0, 2, 1)
        assert [each.where for each in rejected] == ["a"]
        assert '"text":"w0 w1 ' in rejected[0].content
        assert left_of_a() in ([], [True] * 13)
        with pytest.raises((DocumentRefusedError, InvalidDocumentError), match=r"'a'|bad"):
            ingest(source, encoder, store, **options)
        assert left_of_a() in ([], [True] * 13)
    report = ingest(source, encoder, store, **options)
    assert (report.documents, report.unchanged) == (1, 2)
    assert read_parents(store, ["a", "b", "c"]) == [source[1], source[0], source[2]]
    assert store.count() == 4 + 7 + 4


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("part_bytes", [64 * 1024, 70])
def test_a_text_that_the_encoder_refuses_rejects_its_parent(
    store: Store, tmp_path: Path, late: bool, part_bytes: int
) -> None:
    class Refusing(HashEncoder):
        def _vectors(self, words: Sequence[list[str]], *, end: list[str]) -> Vectors:
            if any("w77" in row for row in words):
                raise InvalidInputError("a text is refused")
            return super()._vectors(words, end=end)

    encoder = Refusing()
    source = [Document("b", words(50)), Document("a", words(100)), Document("c", words(50))]
    options: dict[str, Any] = {
        "passages": Passages(tokens=16, late=late),
        "part_bytes": part_bytes,
        "journal": tmp_path / "journal",
    }
    report = ingest(source, encoder, store, on_error="skip", **options)
    assert [failure.where for failure in report.failures] == ["a"]
    assert (report.documents, parents(store)) == (2, {"b", "c"})
    with pytest.raises(InvalidDocumentError, match=r"'a'.*a text is refused"):
        ingest(source, encoder, store, **options)
    assert parents(store) == {"b", "c"}


def test_a_run_that_ends_in_the_middle_of_a_parent_is_repaired(
    store: Store, encoder: HashEncoder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    old, new = Document("a", words(100, "old")), Document("a", words(80, "new"))
    options: dict[str, Any] = {"passages": 16, "part_bytes": 70, "journal": tmp_path / "journal"}
    monkeypatch.setattr("trivec.retry._wait", lambda state: 0.0)
    gone = StoreUnavailableError("gone")
    for last in (new, old):  # the source may also go back to what it was
        ingest([old], encoder, store, **options)
        with monkeypatch.context() as patch:
            fail_writes(store, patch, lambda ids: gone if "a#3" in ids else None)
            with pytest.raises(StoreUnavailableError):
                ingest([new], encoder, store, on_error="skip", **options)
        assert read_parents(store, ["a"]) == []
        ingest([last], encoder, store, **options)
        assert read_parents(store, ["a"]) == [last]
        assert {id for id in everything(store) if "old" in everything(store)[id].text} <= {
            f"a#{n}" for n in range(7) if last is old
        }


def test_a_parent_that_was_half_written_and_vanished_is_pruned(
    store: Store, encoder: HashEncoder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"passages": 16, "part_bytes": 70, "journal": tmp_path / "journal"}
    monkeypatch.setattr("trivec.retry._wait", lambda state: 0.0)
    with monkeypatch.context() as patch:
        gone = StoreUnavailableError("gone")
        fail_writes(store, patch, lambda ids: gone if "a#3" in ids else None)
        with pytest.raises(StoreUnavailableError):
            ingest([Document("a", words(100))], encoder, store, **options)
    assert parents(store) == {"a"}
    store.delete(["a#0"])  # as if it had not arrived
    ingest([Document("b", "kept")], encoder, store, prune=True, **options)
    assert parents(store) == {"b"}


@pytest.mark.parametrize("seed", range(20))
def test_surplus_that_was_deleted_in_part_is_found_again(
    store: Store, encoder: HashEncoder, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """A database may have deleted any part of the last request when a run is killed."""
    rng = random.Random(seed)
    ingest([Document("a", words(16 * 40))], encoder, store, passages=16)
    backend, requests = store._handle.backend, rng.randint(0, 2)
    delete = backend.delete

    def deleting(collection: Any, ids: list[str]) -> None:
        nonlocal requests
        requests -= 1
        if requests < 0:
            delete(collection, rng.sample(ids, rng.randint(0, len(ids) - 1)))
            raise AuthenticationError("as if killed")
        delete(collection, ids)

    short = Document("a", words(16 * rng.randint(1, 15)))
    with monkeypatch.context() as patch:
        patch.setattr(backend, "delete", deleting)
        with pytest.raises(AuthenticationError):
            ingest([short], encoder, store, passages=16)
    report = ingest([Document("a", words(3))], encoder, store, passages=16)
    assert store.count() == report.passages == 1


# --- encoders ------------------------------------------------------------------------------------


class CutTokens(HashEncoder):
    """Returns tokens of the beginning of a text only, as a server does."""

    whole_tokens = None  # type: ignore[assignment]

    def tokens(self, text: str) -> list[Token]:
        *found, end = super().tokens(text)
        return [*found[:50], end]


def test_an_encoder_that_cuts_refuses_longer_texts(store: Store) -> None:
    fits, long = Document("fits", f"... {words(50)} !!!\n"), Document("long", words(51))
    report = ingest([fits, long], CutTokens(), store, passages=16, on_error="skip")
    assert [failure.where for failure in report.failures] == ["long"]
    assert "more tokens than" in report.failures[0].problem
    assert read_parents(store, ["fits", "long"]) == [fits]


def test_an_encoder_must_return_tokens(store: Store, encoder: HashEncoder, tmp_path: Path) -> None:
    class Plain:
        schema = encoder.schema
        encode_documents = encoder.encode_documents
        encode_queries = encoder.encode_queries
        encode_query = encoder.encode_query
        aencode_documents = encoder.aencode_documents
        aencode_queries = encoder.aencode_queries
        aencode_query = encoder.aencode_query

    class Tokens(Plain):
        tokens = encoder.tokens

    class Short(Tokens):
        max_length = 128

    document = [Document("a", "b")]
    with pytest.raises(InvalidOptionError, match="no method `tokens`"):
        ingest(document, Plain(), store, passages=16, journal=tmp_path / "journal")
    with pytest.raises(InvalidOptionError, match=r"late=True.*no method `encode_passages`"):
        ingest(document, Tokens(), store, passages="16,late=true", journal=tmp_path / "journal")
    with pytest.raises(InvalidOptionError, match=r"tokens=127 are more than.* 126 "):
        ingest(document, Short(), store, passages=127, journal=tmp_path / "journal")
    assert not (tmp_path / "journal").exists()
    assert ingest(document, Short(), store, passages=126).passages == 1


@pytest.mark.parametrize("bad", [0, -1, True, 2.5, "x", "tokens=16,overlap=16", [256], {}])
def test_bad_options(store: Store, encoder: HashEncoder, bad: Any) -> None:
    with pytest.raises(InvalidOptionError, match=r"[Pp]assages"):
        ingest([Document("a", "b")], encoder, store, passages=bad)
    with pytest.raises(InvalidOptionError, match=r"[Pp]assages"):
        asyncio.run(aingest([Document("a", "b")], encoder, store, passages=bad))


# --- the rest ------------------------------------------------------------------------------------


def test_aingest_and_aread_parents(store: Store, encoder: HashEncoder) -> None:
    documents = [Document("a", words(100)), Document("b", "")]

    async def run() -> list[Document]:
        report = await aingest(iter(documents), encoder, store, passages=16)
        assert (report.documents, report.passages) == (2, 8)
        read = await aread_parents(store, ["b", "nothing", "a", "b"])
        await store.adelete(["a"])
        return read

    assert asyncio.run(run()) == [documents[1], documents[0]]
    assert parents(store) == {"b"}


def test_read_parents_leaves_out_what_is_incomplete(
    store: Store, encoder: HashEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    documents = [Document("a", words(100)), Document("b", words(100)), Document("c", "one")]
    ingest(documents, encoder, store, passages=16)
    store.upsert([Document("whole", "x")], encoder.encode_documents(["x"]))
    assert read_parents(store, ["whole", "a#1", "c", "b", "a"]) == documents[::-1]
    assert not caplog.records
    store.delete(["a#3"])
    store.delete(["b#6"])
    assert read_parents(store, ["a", "b", "c"]) == documents[2:]
    assert "only some passages of 2 documents" in caplog.text
    for bad in ("a", b"a", None, 3):
        with pytest.raises(InvalidOptionError):
            read_parents(store, bad)  # type: ignore[arg-type]


def test_a_copy_has_the_passages(store: Store, encoder: HashEncoder) -> None:
    documents = [Document("a", words(100), {"n": 1}), Document("b", words(30))]
    ingest(documents, encoder, store, passages=16)
    with open_store("memory:/passages-copy") as other:
        report = copy(store, other, colbert=ColbertStorage(bits=4))
        assert report.verification.problems == ()
        assert other.fields == store.fields
        assert read_parents(other, ["b", "a"]) == documents[::-1]
        ingest([Document("a", words(20))], encoder, other, passages=16)
        assert parents(other) == {"a", "b"}
        other.delete(["a"])
        assert parents(other) == {"b"}
        with pytest.raises(InvalidOptionError, match="passages"):
            copy(store, other, passages=16)  # type: ignore[call-arg]
        other.drop()


def test_passages_in_a_collection_with_small_vectors(encoder: HashEncoder, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    with open_store(f"archive:{tmp_path}/a?colbert=bits=1,pool=2") as store:
        store.create(encoder.schema)
        ingest([Document("a", words(100), {"v": 1})], encoder, store, passages=16, journal=journal)
        changed = Document("a", words(100), {"v": 2})
        report = ingest([changed], encoder, store, passages=16, journal=journal)
        assert report.touched == 1
        assert read_parents(store, ["a"]) == [changed]


def test_texts_without_tokens_are_written_together(store: Store, encoder: HashEncoder) -> None:
    documents = [Document(f"d{i}", "") for i in range(200)]
    report = ingest(documents, encoder, store, passages=16)
    assert (report.documents, report.passages, report.requests) == (200, 200, 1)


def test_documents_of_a_generator_are_read_once(store: Store, encoder: HashEncoder) -> None:
    def source() -> Iterator[Document]:
        for i in range(300):
            yield Document(f"d{i}", words(i % 40))

    report = ingest(source(), encoder, store, passages=16, part_bytes=1000)
    assert (report.records, report.documents) == (300, 300)
    assert report.passages == store.count()
    assert len(parents(store)) == 300
