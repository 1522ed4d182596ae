"""Measuring: the numbers, the files and the pages."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path

import ir_measures
import pytest
from rich.console import Console

from trivec import Document, F, Schema, Store, Weights, evaluate, open_store
from trivec.errors import InvalidOptionError, MissingDependencyError
from trivec.insight.evaluation import Evaluation
from trivec.insight.measures import Measures
from trivec.testing import HashEncoder

TEXTS = {
    "a": "blue whale",
    "b": "red fox and red deer",
    "c": "a whale song at sea",
    "d": "the fox and the hen",
    "e": "a hen <b>sings</b> at dawn",
}
QUERIES = {"q1": "whale song", "q2": "red fox", "q3": "hen </script> dawn", "q4": "never judged"}
QRELS = {"q1": {"c": 2, "a": 1}, "q2": {"b": 1}, "q3": {"e": 1, "d": 0}}


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    encoder = HashEncoder()
    with open_store("memory:/evaluated") as store:
        store.create(encoder.schema, fields={"n": int})
        documents = [Document(one, text, {"n": i}) for i, (one, text) in enumerate(TEXTS.items())]
        store.upsert(documents, encoder.encode_documents(list(TEXTS.values())))
        yield store
        store.drop()


@pytest.fixture(scope="module")
def found(store: Store) -> Evaluation:
    return evaluate(store, HashEncoder(), QUERIES, QRELS, k=3)


def test_the_numbers_are_those_of_the_hits(found: Evaluation) -> None:
    assert list(found.queries) == ["q1", "q2", "q3"]
    assert [result.mode for result in found.results] == [
        "dense",
        "sparse",
        "colbert",
        "hybrid",
        "rrf",
    ]
    for result in found.results:
        for query, hits in result.hits.items():
            grades = [QRELS[query].get(hit.document.id, 0) for hit in hits]
            ideal = sorted(QRELS[query].values(), reverse=True)
            gain, best = (
                sum(g / math.log2(i + 2) for i, g in enumerate(row)) for row in (grades, ideal)
            )
            assert result.values["nDCG@10"][query] == pytest.approx(gain / best)
            rank = next((i for i, g in enumerate(grades, start=1) if g > 0), None)
            assert result.values["RR@10"][query] == pytest.approx(1 / rank if rank else 0)
        assert len(result.seconds) == 3
        assert result.milliseconds > 0
        low, high = result.interval("nDCG@10")
        assert low <= result.mean("nDCG@10") <= high


def test_questions_are_encoded_once(store: Store) -> None:
    encoder = HashEncoder()
    evaluate(store, encoder, QUERIES, QRELS, modes=["dense", "hybrid"], metrics=["AP"])
    assert encoder.encoded == 3


def test_equal_scores_count_in_the_order_that_is_shown() -> None:
    measures = Measures(["RR"], {"q": {"a": 1}})
    assert measures({"q": ["a", "z"]}) == {"RR": {"q": 1.0}}
    assert measures({}) == {"RR": {"q": 0.0}}


def test_how_deep_a_measure_looks() -> None:
    assert Measures(["nDCG@10", "R@50"], {"q": {"a": 1}}).depth == 50
    assert Measures(["nDCG@10", "AP"], {"q": {"a": 1}}).depth is None


def test_a_grade_below_0_is_not_relevant() -> None:
    measures = Measures(["nDCG@10", "P@2"], {"q": {"a": -2, "b": 1, "c": -50}})
    assert measures({"q": ["b", "a"]}) == {"nDCG@10": {"q": 1.0}, "P@2": {"q": 0.5}}


@pytest.mark.parametrize(
    ("metric", "problem"),
    [
        ("P@0", "its cutoff is below 1"),
        ("BPM", "it needs cutoff, max_rel"),
        ("INST", "it needs max_rel"),
        ("R@10.5", "invalid param cutoff=10.5"),
        ("P@'x'", "invalid param cutoff='x'"),
        ("P@True", "unsupported measure"),
        ("nDCG(foo=3)@10", "unsupported params found: ['foo']"),
        ("alpha_nDCG@10", "Unsupported measures"),
        ("ERR@10", ""),  # where there is Perl it wants numbers for ids
    ],
)
def test_what_cannot_be_computed_is_named(metric: str, problem: str) -> None:
    with pytest.raises(InvalidOptionError) as raised:
        Measures(["AP", metric], {"q": {"a": 1}})
    assert str(raised.value).startswith(f"metric {metric!r}: {problem}")
    assert "\n" not in str(raised.value)


def test_what_only_computing_tells_is_named_too() -> None:
    measures = Measures(["Accuracy"], {"q": {"a": 1}})
    assert measures({"q": ["a", "b"]}) == {"Accuracy": {"q": 1.0}}
    with pytest.raises(InvalidOptionError, match="metric 'Accuracy': float division by zero"):
        measures({"q": ["a"]})


def test_options_reach_the_search(store: Store) -> None:
    encoder = HashEncoder()
    only = evaluate(store, encoder, QUERIES, QRELS, modes=["hybrid"], filter=F("n") > 2, k=1)
    ids = {h.document.id for hits in only.result("hybrid").hits.values() for h in hits}
    assert ids <= {"d", "e"}
    assert all(len(hits) <= 1 for hits in only.result("hybrid").hits.values())
    lexical = evaluate(store, encoder, QUERIES, QRELS, modes=["hybrid"], weights=Weights(0, 1, 0))
    assert all(
        hit.scores.dense is None for hits in lexical.result("hybrid").hits.values() for hit in hits
    )


def test_a_mode_is_a_list_of_one_mode(store: Store) -> None:
    found = evaluate(store, HashEncoder(), QUERIES, QRELS, mode="sparse", candidates=7)
    assert [result.mode for result in found.results] == ["sparse"]
    with pytest.raises(InvalidOptionError, match="either mode or modes"):
        evaluate(store, HashEncoder(), QUERIES, QRELS, mode="sparse", modes=["dense"])


def test_comparisons(found: Evaluation) -> None:
    assert found.reference == "dense"
    comparison = found.compare("hybrid", "sparse", "RR@10")
    difference = found.result("hybrid").mean("RR@10") - found.result("sparse").mean("RR@10")
    assert comparison.difference == pytest.approx(difference)
    same = found.compare("hybrid", "hybrid", "RR@10")
    assert (same.difference, same.p, same.interval) == (0, 1, (0, 0))
    p_values = found.p_values("RR@10")
    assert set(p_values) == {"sparse", "colbert", "hybrid", "rrf"}
    assert all(p >= found.compare(m, "dense", "RR@10").p for m, p in p_values.items())


def test_a_collection_without_colbert() -> None:
    encoder = HashEncoder()
    with open_store("memory:/two-parts") as store:
        store.create(Schema(dense=32, sparse=True, colbert=None))
        vectors = replace(encoder.encode_documents(["blue whale"]), colbert=None)
        store.upsert([Document("a", "blue whale")], vectors)
        found = evaluate(store, encoder, {"q": "whale"}, {"q": {"a": 1}})
        assert [r.mode for r in found.results] == ["dense", "sparse", "hybrid", "rrf"]
        store.drop()


def test_run_files_hold_the_same_numbers(found: Evaluation, tmp_path: Path) -> None:
    paths = found.write_runs(tmp_path / "runs")
    assert [path.name for path in paths] == [f"{r.mode}.run" for r in found.results]
    qrels = [
        ir_measures.Qrel(query, document, grade)
        for query, grades in QRELS.items()
        for document, grade in grades.items()
    ]
    for path, result in zip(paths, found.results, strict=True):
        run = list(ir_measures.read_trec_run(str(path)))  # type: ignore[no-untyped-call]
        again = ir_measures.calc_aggregate([ir_measures.nDCG @ 10], qrels, run)
        assert again[ir_measures.nDCG @ 10] == pytest.approx(result.mean("nDCG@10"))


def test_a_run_file_cannot_hold_blanks(found: Evaluation, tmp_path: Path) -> None:
    result = found.results[0]
    odd = replace(result, hits={"q 1": result.hits["q1"]})
    with pytest.raises(InvalidOptionError, match="'q 1' holds a blank"):
        replace(found, results=(odd,)).write_runs(tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_the_page_is_escaped_and_loads_nothing(found: Evaluation, tmp_path: Path) -> None:
    path = tmp_path / "chart.html"
    found.write_html(path)
    page = path.read_text(encoding="utf-8")
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert data is not None
    content = json.loads(data[1])
    assert content["queries"][2] == ["q3", "hen </script> dawn"]
    assert [mode["mode"] for mode in content["modes"]] == [r.mode for r in found.results]
    assert page.count("</script>") == 2
    assert set(re.findall(r"https?://[^\"\s]+", page)) == {"http://www.w3.org/2000/svg"}
    assert "<link" not in page
    assert "src=" not in page


def test_the_table_in_terminal_and_notebook(found: Evaluation) -> None:
    out = StringIO()
    Console(file=out, width=160).print(found)
    mean = f"{found.result('hybrid').mean('nDCG@10'):.3f}"
    assert mean in out.getvalue()
    html = found._repr_html_()
    assert mean in html
    assert "<script" not in html


def test_no_number_is_broken_on_a_narrow_terminal(found: Evaluation) -> None:
    out = StringIO()
    Console(file=out, width=80).print(found)
    for result in found.results:
        for metric in found.metrics:
            low, high = result.interval(metric)
            assert f"{low:.3f}-{high:.3f}" in out.getvalue()


def test_its_repr_leaves_out_questions_and_hits(found: Evaluation) -> None:
    assert len(repr(found)) < 400


def test_wrong_options_are_named(store: Store) -> None:
    def failing(message: str, **options: object) -> None:
        with pytest.raises(InvalidOptionError, match=message):
            evaluate(store, HashEncoder(), QUERIES, QRELS, **options)  # type: ignore[arg-type]

    failing("mode='best'", modes=["best"])
    failing("give a list", modes="hybrid")
    failing("metric 'foo@10'", metrics=["foo@10"])
    failing("metrics='AP'", metrics="AP")
    failing("reference='rrf' is not among the modes dense", modes=["dense"], reference="rrf")


def test_wrong_names_of_results(found: Evaluation) -> None:
    with pytest.raises(InvalidOptionError, match="mode 'best' was not measured"):
        found.result("best")
    with pytest.raises(InvalidOptionError, match="metric 'AP' was not measured"):
        found.result("dense").mean("AP")


def test_a_missing_package_is_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ir_measures", None)
    with pytest.raises(MissingDependencyError, match=r"trivec\[evaluate\]"):
        evaluate(store, HashEncoder(), QUERIES, QRELS)


@pytest.fixture
def passages() -> Iterator[Store]:
    encoder = HashEncoder()
    texts = {
        **{"a#0": "blue whale song", "a#1": "whale song", "a#2": "a hen"},
        **{"b#0": "red fox", "b#1": "a song"},
    }
    with open_store("memory:/evaluated-passages") as store:
        store.create(encoder.schema, fields={"n": int})
        documents = [
            Document(id, text, {"parent": id[0], "n": ord(id[0])}) for id, text in texts.items()
        ]
        documents += [Document("c", "whale at sea"), Document("a", "song of nobody")]
        vectors = encoder.encode_documents([document.text for document in documents])
        store.upsert(documents, vectors)
        yield store
        store.drop()


def test_groups_are_judged_by_their_values(passages: Store, tmp_path: Path) -> None:
    queries, encoder = {"q": "whale song"}, HashEncoder()
    for count in (1, 2):
        found = evaluate(
            *(passages, encoder, queries, {"q": {"b": 1}}),
            modes=["colbert"],
            metrics=["RR@10"],
            group_by="parent",
            per_group=count,
            k=9,
        )
        hits = found.results[0].hits["q"]
        # A group counts once, and so does a document that has the id of a group.
        assert [hit.group or hit.document.id for hit in hits] == ["a", "b", "c"]
        assert [hit.document.id for hit in hits] == ["a#0", "b#1", "c"]
        assert found.results[0].mean("RR@10") == 1 / 2
        (run,) = found.write_runs(tmp_path)
        assert [line.split()[2] for line in run.read_text().splitlines()] == ["a", "b", "c"]
    by_number = evaluate(
        *(passages, encoder, queries, {"q": {"98": 1}}),
        modes=["colbert"],
        metrics=["RR@10"],
        group_by="n",
    )
    assert by_number.results[0].mean("RR@10") == 1 / 2
    with pytest.raises(InvalidOptionError, match="not a declared field"):
        evaluate(passages, encoder, queries, {"q": {"b": 1}}, group_by="year")
