"""`trivec search` with groups and evidence."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from io import StringIO
from typing import Literal

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from trivec import Document, Hit, open_store
from trivec.cli.app import app
from trivec.cli.hits import hits_table, split_groups
from trivec.encoders.protocol import TextEncoder
from trivec.schema import Schema
from trivec.scored_passage import ScoredPassage
from trivec.scores import Scores
from trivec.testing import HashEncoder
from trivec.vectors import Vector, Vectors

URL = "memory:/cli-hits"
FILLER = "The owl is awake in the old tree today. "


class Encoders:
    """Counts how often the command line loads an encoder."""

    def __init__(self) -> None:
        self.encoder: TextEncoder = HashEncoder()
        self.loaded = 0

    def load(self, *_: object) -> TextEncoder:
        self.loaded += 1
        return self.encoder


@pytest.fixture(autouse=True)
def encoders(monkeypatch: pytest.MonkeyPatch) -> Encoders:
    encoders = Encoders()
    monkeypatch.setattr("trivec.cli.models.load_encoder", encoders.load)
    return encoders


@pytest.fixture
def url() -> Iterator[str]:
    """Return the URL of a collection of two documents in passages, and one without a parent."""
    encoder = HashEncoder()
    texts = {
        **{"whale#0": "blue whale song", "whale#1": "whale song of the sea", "whale#2": "the end"},
        **{"fox#0": "red fox song", "fox#1": "the fox"},
    }
    documents = [
        Document(id, text, {"parent": id[:-2], "year": 2000 + len(id)})
        for id, text in texts.items()
    ]
    documents.append(Document("alone", f"{FILLER * 30}A whale\nsings. {FILLER * 30}"))
    with open_store(URL) as store:
        store.create(encoder.schema, fields={"year": int, "tags": list[str]})
        store.upsert(documents, encoder.encode_documents([d.text for d in documents]))
        yield URL
        store.drop()


def run(*args: object) -> Result:
    return CliRunner().invoke(app, ["search", *(str(arg) for arg in args)])


def test_hits_of_a_group_are_below_its_value(url: str) -> None:
    done = run(url, "whale song", "--group-by", "parent", "--per-group", 2, "-k", 3)
    assert done.exit_code == 0, done.output
    assert done.stderr == ""
    head, *lines = (line.split() for line in done.stdout.splitlines())
    assert head == ["score", "dense", "sparse", "colbert", "id", "text"]
    shown = [" ".join(line) if line[0] in ("parent:", "no") else line[4] for line in lines]
    first = shown[1:3]
    assert sorted(first) == ["whale#0", "whale#1"]
    assert shown == [
        *("parent: whale", *first),
        *("parent: fox", "fox#0", "fox#1"),
        *("no parent", "alone"),
    ]


def test_groups_in_json(url: str) -> None:
    asked = ("--group-by", "parent", "--per-group", 2, "-k", 3, "--json")
    hits = json.loads(run(url, "whale song", *asked).stdout)
    assert [hit["group"] for hit in hits] == ["whale", "whale", "fox", "fox", None]
    by_year = json.loads(run(url, "whale song", "--group-by", "year", "-k", 1, "--json").stdout)
    assert by_year[0]["group"] == 2007


def test_the_members_of_json_are_always_the_same(url: str) -> None:
    members = set()
    for asked in ((), ("--group-by", "parent"), ("--evidence", 1), ("--mode", "dense")):
        (hit,) = json.loads(run(url, "whale", "-k", 1, "--json", *asked).stdout)
        members.add(tuple(sorted(hit)))
    assert members == {("document", "evidence", "group", "score", "scores")}


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (("--group-by", "parent", "-k", 4), "3 groups by 'parent', fewer than -k 4"),
        (("--group-by", "parent", "-k", 9, "--json"), "3 groups by 'parent', fewer than -k 9"),
        (
            ("--group-by", "parent", "-k", 2, "--filter", "year == 2005", "--per-group", 3),
            "1 group by 'parent', fewer than -k 2",
        ),
        (
            ("--group-by", "parent", "--filter", "year == 1"),
            "0 groups by 'parent', fewer than -k 10",
        ),
    ],
)
def test_fewer_groups_are_told_in_one_line(url: str, asked: Sequence[object], told: str) -> None:
    done = run(url, "whale song", *asked)
    assert done.exit_code == 0
    assert done.stderr == f"{told}\n"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (("--group-by", "nothing"), "declared are year (int), tags (list[str])"),
        (("--group-by", "tags"), "tags"),
        (("--group-by", ""), "group_by"),
        (("--group-by", "a..b"), "a..b"),
        (("--per-group", 2), "needs group_by"),
        (("--group-by", "parent", "--per-group", 0), "per_group=0"),
        (("--evidence", -1), "evidence=-1"),
        (("--evidence", 2**40), "evidence="),
    ],
)
def test_wrong_options_are_told_before_a_model_is_loaded(
    url: str, encoders: Encoders, asked: Sequence[object], told: str
) -> None:
    done = run(url, "whale", *asked)
    assert done.exit_code == 1
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert encoders.loaded == 0


def test_evidence_in_json(url: str) -> None:
    asked = ("--mode", "sparse", "-k", 1, "--evidence", 2, "--json")
    (hit,) = json.loads(run(url, "whale sings", *asked).stdout)
    assert hit["document"]["id"] == "alone"
    text = hit["document"]["text"]
    assert hit["evidence"]
    for evidence in hit["evidence"]:
        assert set(evidence) == {"start", "end", "text", "score"}
        assert text[evidence["start"] : evidence["end"]] == evidence["text"]
    assert "A whale\nsings." in hit["evidence"][0]["text"]
    scores = [evidence["score"] for evidence in hit["evidence"]]
    assert scores == sorted(scores, reverse=True)


def test_evidence_is_shown_instead_of_the_beginning(url: str) -> None:
    grouped = ("--group-by", "parent", "--per-group", 2)
    done = run(url, "whale sings", "-k", 3, "--evidence", 1, *grouped)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    (row,) = (i for i, line in enumerate(lines) if " alone" in line)
    assert lines[row].split()[-1] == "alone"
    assert lines[row + 1].startswith("    0.")
    assert "A whale sings." in lines[row + 1]
    assert "…" in lines[row + 1]
    assert len(lines[row + 1]) < 700  # and not as wide as a pipe may be
    fox = next(i for i, line in enumerate(lines) if "fox#0" in line)
    assert lines[fox].endswith("red fox song")  # which has none


class NoTokens:
    """An encoder that cannot list tokens."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema

    def encode_query(self, text: str) -> Vector:
        return HashEncoder().encode_query(text)

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        return HashEncoder().encode_documents(texts)


def test_evidence_needs_an_encoder_with_tokens(url: str, encoders: Encoders) -> None:
    encoders.encoder = NoTokens(HashEncoder().schema)  # type: ignore[assignment]
    done = run(url, "whale", "--evidence", 1)
    assert done.exit_code == 1
    assert "--evidence: expected an encoder that returns the tokens" in done.stderr
    assert run(url, "whale").exit_code == 0


def test_evidence_of_dense_vectors_is_refused_before_a_model_is_loaded(encoders: Encoders) -> None:
    with open_store("memory:/cli-hits-dense") as store:
        store.create(Schema(dense=32, sparse=False, colbert=None))
        done = run("memory:/cli-hits-dense", "whale", "--evidence", 1, "--mode", "dense")
        store.drop()
    assert done.exit_code == 1
    assert "dense vectors only" in done.stderr
    assert encoders.loaded == 0


# --- the table -----------------------------------------------------------------------------------


def hit(id: str, group: str | int | float | bool | None, text: str = "", *spans: int) -> Hit:
    evidence = tuple(
        ScoredPassage(start, end, text[start:end], 0.5, None, 0.5)
        for start, end in zip(spans[::2], spans[1::2], strict=True)
    )
    return Hit(Document(id, text), 1.0, Scores(), group, evidence)


def printed(hits: Sequence[Hit], width: int = 80, *, group_by: str | None = "g") -> list[str]:
    out = StringIO()
    Console(file=out, width=width).print(hits_table(hits, width, group_by=group_by))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_groups_are_told_apart_as_filters_do() -> None:
    values = (True, 1, 1.0, "1", "1", None, None, 0, False)
    hits = [hit(str(i), value) for i, value in enumerate(values)]
    groups = [[hit.document.id for hit in group] for group in split_groups(hits)]
    assert groups == [["0"], ["1", "2"], ["3", "4"], ["5"], ["6"], ["7"], ["8"]]
    headings = [line for line in printed(hits) if line.startswith(("g:", "no g"))]
    assert headings == ["g: true", "g: 1", "g: 1", "no g", "no g", "g: 0", "g: false"]


def test_a_context_has_whole_words() -> None:
    text = "word " * 30 + "EVIDENCE" + " word" * 30
    (line,) = printed([hit("a", None, text, 150, 158)], 300, group_by=None)[2:]
    score, *words = line.split()
    assert score == "0.5000"
    assert words == ["…word", *["word"] * 11, "EVIDENCE", *["word"] * 11, "word…"]
    text = "wordword " * 30 + "EVIDENCE" + " wordword" * 30  # 60 characters cut the seventh word
    (line,) = printed([hit("a", None, text, 270, 278)], 300, group_by=None)[2:]
    cut = line.split()[1:]
    assert cut == ["…wordword", *["wordword"] * 5, "EVIDENCE", *["wordword"] * 5, "wordword…"]
    whole = printed([hit("a", None, "a b EVIDENCE c", 4, 12)], group_by=None)
    assert whole[2].split() == ["0.5000", "a", "b", "EVIDENCE", "c"]
    chinese = "鲸" * 200
    (line,) = printed([hit("a", None, chinese, 100, 110)], 400, group_by=None)[2:]
    assert line.split()[1] == f"…{'鲸' * 132}…"


@pytest.mark.parametrize("colors", ["standard", "truecolor"])
def test_evidence_is_highlighted(colors: Literal["standard", "truecolor"]) -> None:
    text = "before EVIDENCE after"
    out = StringIO()
    console = Console(file=out, width=80, force_terminal=True, color_system=colors)
    console.print(hits_table([hit("a", None, text, 7, 15)], 80))
    bold, dim, plain = "\x1b[1m", "\x1b[2m", "\x1b[0m"
    assert f"{dim}before {plain}{bold}EVIDENCE{plain}{dim} after{plain}" in out.getvalue()


@pytest.mark.parametrize("width", [40, 80, 200])
def test_long_evidence_is_wrapped(width: int) -> None:
    text = "".join(f"word{i} " for i in range(100))
    lines = printed([hit("a", None, text, 0, len(text))], width, group_by=None)
    assert max(map(len, lines)) <= width
    shown = [word for line in lines[2:] for word in line.split()]
    assert shown == ["0.5000", *text.split()]
    assert all(line.startswith("    ") for line in lines[2:])


def test_hostile_groups_and_evidence_stay_in_their_lines() -> None:
    evil = "a\x1b[31m\n\u202eb\x9b\u2028[red]:fox:"
    lines = printed([hit("a", evil, f"x {evil} y", 2, 2 + len(evil))], group_by=f"g{evil}")
    assert len(lines) == 4
    assert "[red]:fox:" in lines[1]
    assert "[red]:fox:" in lines[3]
    assert not any(ord(c) < 32 or c in "\u202e\x9b\u2028" for line in lines for c in line)


def test_a_hit_without_evidence_shows_its_beginning() -> None:
    lines = printed([hit("a", None, "with evidence", 0, 4), hit("b", None, "none")], group_by=None)
    assert lines[1].split()[-1] == "a"
    assert lines[2].split() == ["0.5000", "with", "evidence"]
    assert lines[3].split()[-2:] == ["b", "none"]
