"""What small token vectors cost: the numbers, the sample, the questions, the pages."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from uuid import uuid4
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console

from trivec import (
    ColbertStorage,
    Document,
    StorageReport,
    Store,
    Vectors,
    Weights,
    measure_storage,
    open_store,
)
from trivec.errors import (
    InvalidDocumentError,
    InvalidOptionError,
    MissingDependencyError,
    SchemaMismatchError,
)
from trivec.insight.storage.questions import Judged, held_out
from trivec.insight.storage.sample import BLOCK
from trivec.insight.storage.scores import Asked, Pairs, add_scores, as_kept
from trivec.rotation import rotated_back
from trivec.rows import TokenRows
from trivec.scores import maxsim
from trivec.testing import HashEncoder

WORDS = [f"word{number}" for number in range(60)]


def text_of(number: int) -> str:
    """Return four sentences of random words."""
    rng = np.random.default_rng(number)
    return " ".join(f"{' '.join(rng.choice(WORDS, 6))}." for _ in range(4))


DOCUMENTS = [Document(f"d{number:03}", text_of(number)) for number in range(150)]
QUERIES = {f"q{n}": " ".join(DOCUMENTS[n].text.split()[3:9]) for n in range(0, 120, 2)}
QRELS = {f"q{n}": {f"d{n:03}": 1} for n in range(0, 120, 2)}


class SignEncoder(HashEncoder):
    """Makes token vectors of equal magnitudes, which one bit keeps as they are."""

    def _encode(self, texts: object) -> Vectors:
        vectors = super()._encode(texts)  # type: ignore[arg-type]
        tokens = vectors.colbert
        assert tokens is not None
        values = rotated_back((np.where(tokens.values >= 0, 0.25, -0.25)).astype(np.float32))
        return replace(vectors, colbert=replace(tokens, values=values))


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Store]:
    encoder = HashEncoder()
    with open_store(f"archive:{tmp_path / 'saved'}") as store:
        store.create(encoder.schema)
        store.upsert(DOCUMENTS, encoder.encode_documents([d.text for d in DOCUMENTS]))
        yield store


@pytest.fixture(scope="module")
def judged() -> StorageReport:
    return measure_storage(DOCUMENTS, HashEncoder(), QUERIES, QRELS)


@pytest.fixture(scope="module")
def drawn() -> StorageReport:
    return measure_storage(DOCUMENTS, HashEncoder(), storages=["bits=8", "bits=1,pool=3"])


# --- the numbers ---------------------------------------------------------------------------------


def test_the_report_has_every_storage_of_the_frontier(judged: StorageReport) -> None:
    sizes = [result.token_bytes for result in judged.results]
    assert sizes == sorted(sizes, reverse=True)
    assert len(judged.results) == 20
    assert judged.full.storage == ColbertStorage(bits=32)
    assert judged.metrics == ("nDCG@10",)
    assert (judged.questions, judged.documents, judged.available) == (60, 150, 150)
    assert judged.tokens == 25
    assert judged.notes == ()
    for result in judged.results:
        for mode in ("colbert", "hybrid"):
            quality = result.quality(mode)
            assert quality.interval.low <= quality.share <= quality.interval.high
            assert quality.mean / judged.full.quality(mode).mean == pytest.approx(quality.share)


def test_bytes_are_those_of_the_lengths(judged: StorageReport) -> None:
    assert judged.full.token_bytes == 25 * 16 * 4
    small = judged.result("bits=1,pool=2,prune=1/3")
    assert small.token_bytes == (25 - 8) // 2 * (2 + 2)
    light = judged.full.document_bytes - judged.full.token_bytes
    assert small.document_bytes - small.token_bytes == pytest.approx(light)
    assert small.terabytes(10**12) == pytest.approx(small.document_bytes)


def test_the_full_numbers_are_those_of_the_hybrid_search(judged: StorageReport) -> None:
    pytest.importorskip("ir_measures")
    from trivec import evaluate

    encoder = HashEncoder()
    with open_store(f"memory:/{uuid4().hex}") as store:
        store.create(encoder.schema, colbert=ColbertStorage(bits=1, pool=2))
        store.upsert(DOCUMENTS, encoder.encode_documents([d.text for d in DOCUMENTS]))
        measured = evaluate(store, encoder, QUERIES, QRELS, modes=["colbert", "hybrid"])
        store.drop()
    small = judged.result(ColbertStorage(bits=1, pool=2))
    for mode in ("colbert", "hybrid"):
        assert small.quality(mode).mean == pytest.approx(
            measured.result(mode).mean("nDCG@10"), abs=1e-9
        )


def test_one_bit_loses_nothing_where_rotated_numbers_differ_by_sign_only() -> None:
    report = measure_storage(
        DOCUMENTS, SignEncoder(), QUERIES, QRELS, storages=["bits=1", "bits=1,pool=4"]
    )
    quality = report.result("bits=1").quality("colbert")
    assert (quality.share, *quality.interval) == (1, 1, 1)
    assert report.result("bits=1,pool=4").quality("colbert").share < 1
    assert report.best().storage == ColbertStorage(bits=1)


def test_pooling_loses_nothing_where_tokens_are_equal() -> None:
    documents = [replace(d, text=" ".join(d.text.split(".")[0].split() * 2)) for d in DOCUMENTS]
    queries = {id: " ".join(documents[int(id[1:])].text.split()[:3]) for id in QUERIES}
    report = measure_storage(
        documents, HashEncoder(), queries, QRELS, storages=["bits=16,pool=2", "bits=16,pool=8"]
    )
    assert report.result("bits=16,pool=2").quality("colbert").share == pytest.approx(1, abs=0.01)
    assert report.result("bits=16,pool=8").quality("colbert").share < 0.99


def test_the_scores_are_those_of_maxsim() -> None:
    encoder = HashEncoder()
    documents = encoder.encode_documents([d.text for d in DOCUMENTS[:20]]).colbert
    questions = encoder.encode_queries(["word1 word2", "word3", "word4 word5 word6"]).colbert
    assert documents is not None
    assert questions is not None
    candidates = [np.array([0, 3, 19]), np.array([], np.int64), np.arange(20)]
    storages = [ColbertStorage(bits=b, pool=p) for b in (32, 16, 4, 1) for p in (1, 2)]
    pairs = Pairs.from_candidates(candidates, 20)
    scores = np.zeros((len(storages), len(pairs)))
    for start in (0, 8):
        rows = np.arange(start, 8 if start == 0 else 20)
        add_scores(scores, pairs, start, documents.take(rows), Asked.of(questions), storages)
    for number, kept in enumerate(as_kept(documents, storages)):
        for question, rows in enumerate(candidates):
            expected = maxsim(questions.row(question), kept)[rows]
            assert scores[number, pairs.places[question]] == pytest.approx(expected, abs=2e-6)


def test_texts_without_tokens_score_0() -> None:
    documents = TokenRows.from_arrays([np.ones((0, 8), np.float32), np.ones((2, 8), np.float32)])
    questions = TokenRows.from_arrays([np.ones((1, 8)), np.ones((0, 8))])
    pairs = Pairs.from_candidates([np.array([0, 1]), np.array([0, 1])], 2)
    scores = np.zeros((1, 4))
    add_scores(scores, pairs, 0, documents, Asked.of(questions), [ColbertStorage(bits=32)])
    assert [scores[0, places].tolist() for places in pairs.places] == [[0, 8], [0, 0]]


def test_the_best_storage_is_sure(judged: StorageReport) -> None:
    best = judged.best(0.9)
    assert best.quality().interval.low >= 0.9
    assert all(
        result.quality().interval.low < 0.9
        for result in judged.results
        if result.token_bytes < best.token_bytes
    )
    assert judged.best(2.0) == judged.full
    frontier = judged.frontier("colbert")
    shares = [result.quality("colbert").share for result in frontier]
    assert shares == sorted(shares, reverse=True)
    assert frontier[-1] == judged.results[-1]


# --- the sample and the questions ----------------------------------------------------------------


def test_a_store_gives_the_same_as_its_documents(archive: Store, judged: StorageReport) -> None:
    report = measure_storage(archive, HashEncoder(), QUERIES, QRELS)
    assert report == judged


def test_a_sample_holds_the_relevant_documents_first(archive: Store) -> None:
    report = measure_storage(archive, HashEncoder(), QUERIES, QRELS, sample=70, storages=["bits=1"])
    assert (report.documents, report.available, report.questions) == (70, 150, 60)
    assert any("a sample: 70 of 150 documents" in note for note in report.notes)
    fewer = measure_storage(archive, HashEncoder(), QUERIES, QRELS, sample=20, storages=["bits=1"])
    assert (fewer.documents, fewer.questions) == (20, 20)
    assert any("20 of 60 judged questions" in note for note in fewer.notes)
    assert any("20 questions say little" in note for note in fewer.notes)


def test_the_order_of_documents_does_not_matter(drawn: StorageReport) -> None:
    storages = ["bits=8", "bits=1,pool=3"]
    again = measure_storage(iter(DOCUMENTS[::-1]), HashEncoder(), storages=storages)
    assert again == drawn
    other = measure_storage(DOCUMENTS, HashEncoder(), storages=storages, seed=1)
    assert other != drawn


def test_without_judgements_rankings_are_compared(drawn: StorageReport) -> None:
    assert drawn.metrics == ("overlap@10", "rank correlation")
    assert not drawn.judged
    assert drawn.questions == 150
    assert any("held out of its document" in note for note in drawn.notes)
    assert any("no judgements" in note for note in drawn.notes)
    for metric in drawn.metrics:
        shares = [result.quality("hybrid", metric).share for result in drawn.results]
        assert shares[0] == 1
        assert 1 >= shares[1] > shares[2] > 0
    with pytest.raises(InvalidOptionError, match=r"'AP' was not measured: overlap@10"):
        drawn.full.quality("hybrid", "AP")
    with pytest.raises(InvalidOptionError, match="expected one of colbert, hybrid"):
        drawn.full.quality("rrf")  # type: ignore[arg-type]
    with pytest.raises(InvalidOptionError, match="bits=2 was not measured: bits=32; bits=8"):
        drawn.result("bits=2")


def test_a_held_out_sentence_is_not_in_its_document() -> None:
    questions = held_out(DOCUMENTS, most=20, seed=0)
    assert len(questions.texts) == 20
    by_id = {document.id: document.text for document in DOCUMENTS}
    for id, sentence in questions.texts.items():
        assert sentence in by_id[id]
        assert sentence not in questions.shortened[id]
        left = len(by_id[id].split()) - len(sentence.split())
        assert len(questions.shortened[id].split()) == left


def test_the_shortened_documents_are_encoded_again(archive: Store) -> None:
    encoder = HashEncoder()
    stored = measure_storage(archive, encoder, storages=["bits=1"], questions=30)
    assert stored.questions == 30
    assert encoder.encoded == 60  # the questions, and their documents
    assert stored == measure_storage(DOCUMENTS, HashEncoder(), storages=["bits=1"], questions=30)


def test_questions_without_judgements_are_taken_as_they_are() -> None:
    short = [Document(f"d{i}", " ".join(WORDS[i : i + 3])) for i in range(40)]
    with pytest.raises(InvalidOptionError, match="0 documents of the sample have 3 sentences"):
        measure_storage(short, HashEncoder())
    report = measure_storage(short, HashEncoder(), {"a": "word3", "b": "word9"}, questions=1)
    assert report.questions == 1
    assert report.metrics[0] == "overlap@10"


def test_a_store_without_weights_is_not_pruned() -> None:
    encoder = HashEncoder()
    vectors = encoder.encode_documents([d.text for d in DOCUMENTS])
    assert vectors.colbert is not None
    vectors = replace(vectors, colbert=replace(vectors.colbert, weights=None))
    with open_store(f"memory:/{uuid4().hex}") as store:
        store.create(encoder.schema)
        store.upsert(DOCUMENTS, vectors)
        report = measure_storage(store, encoder, QUERIES, QRELS)
        assert not any(result.storage.prune for result in report.results)
        assert len(report.results) == 13
        assert any("storages that prune were left out" in note for note in report.notes)
        with pytest.raises(InvalidOptionError, match="an archive, or the documents"):
            measure_storage(store, encoder, QUERIES, QRELS, storages=["prune=1/2"])
        store.drop()


def test_dimensions_that_bits_do_not_divide_are_left_out() -> None:
    encoder = HashEncoder(colbert=12)
    report = measure_storage(DOCUMENTS[: 2 * BLOCK], encoder, QUERIES, QRELS)
    assert {result.storage.bits for result in report.results} == {32, 16, 8, 4, 2}
    with pytest.raises(InvalidOptionError, match="multiple of 8, got 12"):
        measure_storage(DOCUMENTS, encoder, QUERIES, QRELS, storages=["bits=1"])


def test_judgements_of_unknown_documents_are_counted() -> None:
    qrels = {**QRELS, "q0": {"nowhere": 1}, "q2": {"d002": 1, "elsewhere": 2}}
    report = measure_storage(DOCUMENTS, HashEncoder(), QUERIES, qrels, storages=["bits=1"])
    assert report.questions == 59
    assert any("2 relevant documents are not in the collection" in n for n in report.notes)


def test_judged_questions_are_chosen_at_random() -> None:
    chosen = Judged.chosen(QUERIES, QRELS, sample=100, most=10, seed=0)
    assert len(chosen.texts) == 10
    assert list(chosen.texts) == [id for id in QUERIES if id in chosen.texts]
    assert chosen.texts != Judged.chosen(QUERIES, QRELS, sample=100, most=10, seed=1).texts


# --- errors --------------------------------------------------------------------------------------


def test_a_reduced_collection_is_refused() -> None:
    encoder = HashEncoder()
    with open_store(f"memory:/{uuid4().hex}") as store:
        store.create(encoder.schema, colbert=ColbertStorage(bits=4))
        with pytest.raises(InvalidOptionError, match=r"bits=4, and what was left out is gone; mea"):
            measure_storage(store, encoder)
        store.drop()
        store.create(replace(encoder.schema, colbert=None))
        with pytest.raises(InvalidOptionError, match="holds no token vectors"):
            measure_storage(store, encoder)
        store.drop()
        store.create(replace(encoder.schema, model="other"))
        with pytest.raises(SchemaMismatchError, match="'other'"):
            measure_storage(store, encoder)
        store.drop()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"storages": "bits=1"}, "expected a list"),
        ({"storages": []}, "expected a list"),
        ({"storages": ["bits=3"]}, "bits=3"),
        ({"sample": 0}, "sample=0"),
        ({"questions": 0}, "questions=0"),
        ({"candidates": 0}, "candidates=0"),
        ({"seed": -1}, "seed=-1"),
        ({"weights": Weights(1, 1, 0)}, "its storage is no matter"),
        ({"qrels": QRELS, "queries": None}, "give the questions"),
        ({"queries": {}}, "holds no question"),
        ({"qrels": {"q0": {"d000": 0}}}, "no question has a document"),
        ({"qrels": {"q0": {"nowhere": 1}}}, "none of the 1 documents"),
        ({"source": []}, "holds no document"),
    ],
)
def test_wrong_arguments_are_named(options: dict[str, object], message: str) -> None:
    arguments = {"source": DOCUMENTS, "queries": QUERIES, "qrels": QRELS, **options}
    source, queries, qrels = (arguments.pop(name) for name in ("source", "queries", "qrels"))
    with pytest.raises(InvalidOptionError, match=re.escape(message)):
        measure_storage(source, HashEncoder(), queries, qrels, **arguments)  # type: ignore[arg-type]


def test_what_is_no_document_is_named() -> None:
    with pytest.raises(InvalidDocumentError, match="expected documents, got str"):
        measure_storage(["text"], HashEncoder(), QUERIES)  # type: ignore[list-item]
    with pytest.raises(InvalidDocumentError, match="expected an iterable of documents"):
        measure_storage(DOCUMENTS[0], HashEncoder(), QUERIES)  # type: ignore[arg-type]


def test_questions_that_find_nothing_are_an_error() -> None:
    queries, qrels = {"q": WORDS[0]}, {"q": {"z": 1}}
    documents = [*DOCUMENTS, Document("z", "other things entirely")]
    with pytest.raises(InvalidOptionError, match=r"mean nDCG@10 of 0"):
        measure_storage(documents, HashEncoder(), queries, qrels, candidates=10)


def test_ir_measures_is_needed_for_judgements_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ir_measures", None)
    encoder = HashEncoder()
    with pytest.raises(MissingDependencyError, match="ir-measures"):
        measure_storage(DOCUMENTS, encoder, QUERIES, QRELS)
    assert encoder.encoded == 0
    measure_storage(DOCUMENTS, encoder, QUERIES, storages=["bits=1"])


# --- how it is shown -----------------------------------------------------------------------------


def printed(report: StorageReport, width: int = 120) -> str:
    console = Console(file=StringIO(), width=width)
    console.print(report)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_the_terminal_shows_a_table_and_a_chart(
    judged: StorageReport, drawn: StorageReport
) -> None:
    text = printed(judged)
    assert "150 documents of 25 token vectors on average, 60 questions" in text
    for result in judged.results:
        assert str(result.storage) in text
    assert "nDCG@10 in % of full float32" in text
    assert "1.6 KB" in text
    assert "rank correlation" in printed(drawn)
    assert max(len(line) for line in printed(judged, 100).splitlines()) <= 100


def test_the_page_needs_nothing_else(
    judged: StorageReport, drawn: StorageReport, tmp_path: Path
) -> None:
    for report in (judged, drawn):
        report.write_html(tmp_path / "page.html")
        html = (tmp_path / "page.html").read_text(encoding="utf-8")
        assert html.startswith("<!doctype html>")
        assert not re.search(r"<script|<img|https?://(?!www\.w3)|url\(", html)
        charts = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
        assert len(charts) == 2
        for chart in charts:
            drawing = ElementTree.fromstring(chart)
            points = drawing.findall("g")
            assert len(points) == len(report.results)
            assert all(len(point.findall("line")) == 3 for point in points)
            for point in points:
                circle = point.find("circle")
                assert circle is not None
                assert 0 < float(circle.attrib["cx"]) < 860
                assert 0 < float(circle.attrib["cy"]) < 330
        assert report._repr_html_().startswith('<div class="trivec">')


def test_one_storage_without_any_loss_has_a_chart() -> None:
    report = measure_storage(
        DOCUMENTS[:40],
        HashEncoder(),
        {"q0": QUERIES["q0"]},
        {"q0": QRELS["q0"]},
        storages=["bits=32"],
    )
    assert len(report.results) == 1
    assert "bits=32" in printed(report)
    assert "bits=32" in report._repr_html_()


def test_steps_are_told() -> None:
    steps: list[str] = []
    measure_storage(DOCUMENTS, HashEncoder(), QUERIES, storages=["bits=1"], progress=steps.append)
    assert steps[0] == "drawing a sample"
    assert f"read {BLOCK} of 150 documents" in steps
    assert steps[-1] == "ranking with 2 storages"
