"""Explanations add up, point at the right places, and say what they do not know."""

from __future__ import annotations

import html
import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from trivec import Document, Explanation, Vector, Vectors, Weights, explain, open_store, score
from trivec.document import PRIVATE_KEY
from trivec.encoders.protocol import Token
from trivec.errors import InvalidOptionError, InvalidVectorsError
from trivec.insight.breakdown import Alignment
from trivec.insight.rendering.explanation_html import explanation_html, explanation_page
from trivec.insight.rendering.marks import document_pieces, document_stretches
from trivec.passages.best import best_passages
from trivec.pooling import pool_tokens
from trivec.scored_passage import ScoredPassage
from trivec.testing import HashEncoder

WORDS = st.lists(st.sampled_from(["whale", "Fox", "blue", "ß", "北京", "!", " ", "a"]), max_size=12)
TEXTS = WORDS.map(" ".join)
WEIGHTS = st.tuples(*[st.sampled_from([0.0, 0.3, 1.0, 7.5])] * 3).filter(any)


def random_vector(seed: int) -> Vector:
    rng = np.random.default_rng(seed)
    return Vector(
        dense=rng.standard_normal(4) if seed % 5 else None,
        sparse={int(i): float(w) for i, w in enumerate(rng.random(6)) if w > 0.4},
        colbert=rng.standard_normal((seed % 4, 3)) if seed % 3 else None,
    )


def check_sums(found: Explanation, query: Vector, document: Vector, weights: Weights) -> None:
    """Everything adds up exactly, and to what the definition says."""
    by_part = {share.part: share for share in found.shares}
    assert sum(share.value for share in found.shares) == found.score
    if "sparse" in by_part:
        assert by_part["sparse"].score == math.fsum(match.product for match in found.lexical)
    if "colbert" in by_part:
        total = math.fsum(alignment.similarity for alignment in found.alignments)
        assert by_part["colbert"].score * max(1, len(found.alignments)) == pytest.approx(total)
    expected = score(query, document, weights)
    assert found.score == pytest.approx(expected.hybrid, abs=1e-6)
    for part in ("dense", "sparse", "colbert"):
        got, wanted = getattr(found.scores, part), getattr(expected, part)
        assert got == (None if wanted is None else pytest.approx(wanted, abs=1e-6))


@given(TEXTS, TEXTS, WEIGHTS)
def test_the_parts_add_up(query: str, text: str, weights: tuple[float, float, float]) -> None:
    encoder = HashEncoder()
    chosen = Weights(*weights)
    found = explain(query, text, encoder, weights=chosen)
    check_sums(found, encoder.encode_query(query), encoder.encode_query(text), chosen)


@given(st.integers(0, 500), st.integers(0, 500), WEIGHTS)
def test_any_vectors_add_up(ours: int, theirs: int, weights: tuple[float, float, float]) -> None:
    query, document, chosen = random_vector(ours), random_vector(theirs), Weights(*weights)
    found = explain(
        "some words",
        "other words",
        HashEncoder(),
        query_vector=query,
        document_vector=document,
        weights=chosen,
    )
    check_sums(found, query, document, chosen)


def test_nothing_is_encoded_when_both_vectors_are_there() -> None:
    encoder = HashEncoder()
    query, document = encoder.encode_query("blue"), encoder.encode_query("blue fox")
    encoder.encoded = 0
    explain("blue", "blue fox", encoder, query_vector=query, document_vector=document)
    assert encoder.encoded == 0


def test_the_explanation_of_a_hit_is_its_score() -> None:
    encoder = HashEncoder()
    documents = [Document(str(i), text) for i, text in enumerate(["blue whale", "fox", "a whale"])]
    with open_store("memory:/explained") as store:
        store.create(encoder.schema)
        store.upsert(documents, encoder.encode_documents([d.text for d in documents]))
        query = encoder.encode_query("whale song")
        for hit in store.search(query, k=3):
            page = store.get([hit.document.id], with_vectors=True)
            assert page.vectors is not None
            found = explain("whale song", hit.document, encoder, document_vector=page.vectors[0])
            assert found.score == pytest.approx(hit.score, abs=1e-6)
        store.drop()


@given(TEXTS, TEXTS)
def test_offsets_point_into_the_original_text(query: str, text: str) -> None:
    found = explain(query, text, HashEncoder())
    for match in found.lexical:
        for span in match.query_spans:
            assert query[span.start : span.end].lower() == match.text.lower()
        for span in match.document_spans:
            assert text[span.start : span.end].lower() == match.text.lower()
    for alignment in found.alignments:
        token = alignment.document_token
        assert token is not None
        assert token.start == token.end or text[token.start : token.end] == token.text
    assert "".join(piece.text for piece in document_pieces(found)) == text


def test_a_word_meets_itself() -> None:
    found = explain("red whale", "The whale is blue. Whale!", HashEncoder())
    whale = found.lexical[0]
    assert [tuple(span) for span in whale.document_spans] == [(4, 9), (19, 24)]
    assert whale.product == pytest.approx(whale.query_weight * whale.document_weight)
    met = found.alignments[1]
    assert met.query_token is not None
    assert met.document_token is not None
    assert (met.query_token.text, met.document_token.start) == ("whale", 4)
    assert met.similarity == pytest.approx(1)
    end = found.alignments[2].document_token
    assert end is not None
    assert (end.text, end.start, end.end) == ("</s>", 25, 25)


def test_merged_vectors_are_not_given_to_tokens() -> None:
    encoder = HashEncoder()
    text = "one two three four five"
    whole = encoder.encode_query(text)
    assert whole.colbert is not None
    pooled = Vector(whole.dense, whole.sparse, pool_tokens(whole.colbert, 3))
    found = explain("two five", text, encoder, document_vector=pooled)
    assert all(alignment.document_token is None for alignment in found.alignments)
    assert all(alignment.query_token is not None for alignment in found.alignments)
    (note,) = found.notes
    assert "3 ColBERT vectors for 6 tokens" in note
    assert {match.text for match in found.lexical} == {"two", "five"}
    assert note[5:40] in explanation_html(found)


@pytest.mark.parametrize(
    ("document", "missing"),
    [
        (Vector(dense=np.zeros(32, np.float32), sparse={}), {"dense", "sparse", "colbert"}),
        (Vector(sparse={1: 0.5}, colbert=np.zeros((0, 16))), {"dense", "colbert"}),
    ],
)
def test_absent_parts_are_named(document: Vector, missing: set[str]) -> None:
    found = explain("fox", "fox", HashEncoder(), document_vector=document)
    assert {part for part in missing if f"no {part} vector" in " ".join(found.notes)} == missing
    assert len(found.notes) == len(missing)
    assert found.score == 0
    assert explanation_html(found)


def test_a_shared_id_that_no_text_shows() -> None:
    vector = Vector(sparse={7: 0.5})
    found = explain("", "", HashEncoder(), query_vector=vector, document_vector=vector)
    assert [match.text for match in found.lexical] == ["#7"]
    assert found.lexical[0].document_spans == ()


def test_other_dimensions_are_refused() -> None:
    with pytest.raises(InvalidVectorsError, match="3 ColBERT dimensions"):
        explain("fox", "fox", HashEncoder(), query_vector=Vector(colbert=np.ones((1, 3))))


HOSTILE = "<script>alert(\"1\")</script> & <b>'x'</b> script"


def test_html_is_escaped_and_self_contained() -> None:
    found = explain(HOSTILE, Document("<i>&", HOSTILE), HashEncoder())
    page = explanation_page(found)
    assert "<script" not in page
    assert "<b>'x'" not in page
    assert "<i>" not in page
    assert "&lt;" in page
    assert "http" not in page
    assert "prefers-color-scheme:dark" in page
    assert found._repr_html_() == explanation_html(found)


def test_the_terminal_shows_the_text_as_it_is() -> None:
    found = explain("[red]fox[/red]", Document("[bold]", "a [red]fox[/red]"), HashEncoder())
    out = StringIO()
    Console(file=out, width=100, force_terminal=False).print(found)
    text = out.getvalue()
    assert "document  a [red]fox[/red]" in text
    assert "of [bold]" in text
    assert f"score {found.score:.4f}" in text


def test_the_terminal_obeys_no_stored_text() -> None:
    text = "fox\x1b]0;title\x07 \x9b31m\x7f\tfox\nend"
    found = explain(text, Document("a", text), HashEncoder())
    out = StringIO()
    Console(file=out, width=100, force_terminal=False).print(found)
    shown = out.getvalue()
    assert not any(unicodedata.category(character) == "Cc" for character in shown.replace("\n", ""))
    assert "fox�]0;title� �31m�" in shown


@pytest.mark.parametrize(
    "storage", ["pool=2", "bits=1,pool=3", "prune=1/3", "bits=4,pool=2,prune=1/3"]
)
def test_a_pooled_vector_stands_for_several_tokens(storage: str) -> None:
    encoder, text = HashEncoder(colbert=64), "whale blue whale sings blue whale of the sea blue"
    with open_store("memory:/explain-pooled", colbert=storage) as store:
        store.create(encoder.schema)
        store.upsert([Document("a", text)], encoder.encode_documents([text]))
        stored = store.get(["a"], with_vectors=True).vectors
        hit = store.search(encoder.encode_query("whale song"))[0]
        store.drop()
    assert stored is not None
    found = explain("whale song", text, encoder, document_vector=stored[0])
    assert not found.notes
    assert found.score == pytest.approx(hit.score, abs=1e-6)
    met = found.alignments[0]
    assert met.document_token is not None
    if "prune" not in storage:  # which drops those that come first
        whales = [token.start for token in met.document_tokens if token.text == "whale"]
        assert whales == [0, 11, 28]
    if storage == "pool=2":
        assert met.document_text == "whale + whale + whale"
        marked = "".join(p.text for p in document_pieces(found) if p.similarity is not None)
        assert marked.count("whale") == 3
    assert "whale" in explanation_html(found)


def test_vectors_of_another_text_are_not_given_to_tokens() -> None:
    encoder = HashEncoder()
    store = open_store("memory:/explain-other", colbert="pool=2")
    store.create(encoder.schema)
    store.upsert([Document("a", "")], encoder.encode_documents(["one two three four five six"]))
    stored = store.get(["a"], with_vectors=True).vectors
    store.drop()
    assert stored is not None
    found = explain("two", "red blue white black green pink", encoder, document_vector=stored[0])
    assert all(not alignment.document_tokens for alignment in found.alignments)
    assert found.notes


# --- long documents ------------------------------------------------------------------------------

FILLER = "The owl is awake in the old tree today. "
LONG = FILLER * 40 + "The blue whale sings\nat night. " + FILLER * 40


def printed(found: Explanation, width: int = 100) -> str:
    out = StringIO()
    Console(file=out, width=width, force_terminal=False).print(found)
    return out.getvalue()


def test_a_long_document_shows_its_best_passages() -> None:
    encoder = HashEncoder()
    document, query = encoder.encode_query(LONG), encoder.encode_query("whale sings")
    encoder.encoded = 0
    found = explain("whale sings", LONG, encoder, query_vector=query, document_vector=document)
    assert encoder.encoded == 0
    best = best_passages(query, LONG, document, encoder)
    assert found.passages == tuple(best)
    assert "The blue whale sings\nat night." in best[0].text
    lines = [line.rstrip() for line in printed(found).splitlines()]
    headings = [line for line in lines if line.startswith("passage")]
    assert [line.split()[:2] for line in headings] == [["passage", str(n + 1)] for n in range(3)]
    assert headings[0].startswith(f"passage 1  {best[0].score:.4f}  sparse {best[0].sparse:.4f}")
    assert headings[0].endswith(f"characters {best[0].start:,} to {best[0].end:,}")
    assert any(line.endswith("The blue whale sings") for line in lines)
    assert any(line == "  at night." for line in lines)
    rest = len(LONG) - sum(len(passage.text) for passage in best)
    assert f"{rest:,} other characters of the document are shown in HTML only" in lines
    assert len(lines) < 40
    piped = printed(found, 100_000).splitlines()  # a pipe has any width, which blanks do not fill
    assert max(map(len, piped)) < 1000


def test_the_page_of_a_long_document_opens_at_the_best_passage() -> None:
    found = explain("whale sings", Document("a", LONG), HashEncoder())
    page = explanation_page(found)
    assert "<script" not in page
    sections = re.findall(r'<section class="([^"]*)" tabindex="-1"( autofocus)? id="(.*?)">', page)
    ids = {id for *_, id in sections}
    assert len(ids) == 3
    (opened,) = [(name, id) for name, focus, id in sections if focus]
    links = re.findall(r'<li><a href="#(.*?)">([\d.]+) ', page)
    assert [float(score) for _, score in links] == [round(p.score, 4) for p in found.passages]
    assert {target for target, _ in links} == ids
    assert opened == ("passage best", links[0][0])
    best = page[page.index(f'id="{links[0][0]}"') :].partition("</section>")[0]
    assert ">whale</mark>" in best
    # The whole text is there once, in its order: folded, or in a passage.
    document = page.partition("<h3>Document</h3>")[2].partition('<p class="key')[0]
    without = re.sub(r'<p class="muted">.*?</p>|<summary>.*?</summary>', "", document)
    assert html.unescape(re.sub("<[^>]*>", "", without)) == LONG
    # A notebook must not scroll away from the cell that is worked in.
    assert "autofocus" not in explanation_html(found)
    other = explanation_html(explain("the owl", Document("a", LONG), HashEncoder()))
    assert not ids & set(re.findall(r'id="(.*?)"', other))


def test_hostile_passages_are_escaped() -> None:
    text = f"{FILLER * 40}{HOSTILE}\x1b]0;title\x07. {FILLER * 40}"
    found = explain(HOSTILE, Document('"><i>&', text), HashEncoder())
    assert "script" in found.passages[0].text
    page = explanation_page(found)
    assert not any(tag in page for tag in ("<script", "<b>'x'", "<i>"))
    shown = printed(found)
    assert "script" in shown
    assert not any(unicodedata.category(character) == "Cc" for character in shown.replace("\n", ""))


def test_a_short_document_has_no_passages() -> None:
    words = [f"w{i}" for i in range(256)]
    short = explain("w7", " ".join(words), HashEncoder())  # 257 tokens with </s>
    assert short.passages == ()
    assert "<details" not in explanation_page(short)
    assert "autofocus" not in explanation_page(short)
    assert "document  w0 w1" in printed(short)
    long = explain("w7", " ".join([*words, "w256"]), HashEncoder())
    assert long.passages
    assert "document  w0" not in printed(long)


class ShortReader(HashEncoder):
    """An encoder that reads the first 200 characters, whose last token is at the text's end."""

    def tokens(self, text: str) -> list[Token]:
        *words, last = super().tokens(text[:200])
        return [*words, replace(last, start=len(text), end=len(text))]

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        return super().encode_documents([text[:200] for text in texts])


def test_a_text_of_which_little_was_read_is_long() -> None:
    found = explain("owl", LONG * 2, ShortReader())
    assert found.passages
    assert found.passages[0].end <= 200
    last = ShortReader().tokens(LONG)[-2].end
    note = f"the encoder reads characters 0 to {last} of the document's {2 * len(LONG):,}"
    assert any(note in told for told in found.notes)
    assert len(printed(found).splitlines()) < 60
    assert not explain("owl", f"\ufeff{LONG * 2} \n", HashEncoder()).notes


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        (Vector(dense=np.ones(32, np.float32)), "do not both have sparse or colbert vectors"),
        (Vector(sparse={7: 0.5}), "of tokens that its text does not have"),
    ],
)
def test_a_long_document_whose_passages_are_unknown(stored: Vector, reason: str) -> None:
    query = HashEncoder().encode_query("whale")
    found = explain("whale", LONG * 2, HashEncoder(), query_vector=query, document_vector=stored)
    assert found.passages == ()
    (note,) = [note for note in found.notes if "no passages" in note]
    assert reason in note
    shown = printed(found)
    assert "the beginning of the document" in shown
    assert len(shown.splitlines()) < 40
    assert f"{2 * len(LONG) - 600:,} more characters" in explanation_page(found)


def test_the_passages_of_the_dense_score_are_those_of_the_general_weights() -> None:
    found = explain("whale sings", LONG, HashEncoder(), weights=Weights(1, 0, 0))
    assert [share.part for share in found.shares] == ["dense"]
    assert found.passages == explain("whale sings", LONG, HashEncoder()).passages
    only = explain("whale sings", LONG, HashEncoder(), weights=Weights(0, 1, 0))
    assert only.passages[0].colbert is None
    assert "ColBERT" not in printed(only)


def test_what_is_shown_of_8192_tokens_is_bounded() -> None:
    random = np.random.default_rng(5)
    words = [f"w{i}" for i in range(30)]
    text = " ".join(words[i] for i in random.integers(0, 30, 8192))
    found = explain(" ".join(words), text, HashEncoder())  # every token is marked
    assert len(explanation_page(found)) < 90 * 8192
    few = explain("w1 w2 w3", text, HashEncoder())
    assert len(explanation_page(few)) < 16 * 8192
    assert len(printed(found)) < 12_000


def test_a_text_of_any_length_makes_no_endless_page() -> None:
    text = LONG + FILLER * 30_000
    page = explanation_page(explain("whale sings", text, ShortReader()))
    assert len(page) < 250_000
    (cut,) = re.findall(r"([\d,]+) characters are left out", page)
    folded = re.findall(r"([\d,]+) more characters</summary>", page)[-1]
    assert int(folded.replace(",", "")) - int(cut.replace(",", "")) == 100_000


@pytest.mark.parametrize("text", [" \n" * 3000, "🐋" * 5000, "! " * 3000])
def test_long_texts_without_words(text: str) -> None:
    found = explain("whale", text, HashEncoder())
    assert not any("the encoder reads" in note for note in found.notes)
    assert explanation_page(found)
    assert len(printed(found)) < 6000


def test_a_vector_of_many_tokens_lists_few_of_them() -> None:
    token = Token(5, "sea", 0, 3)
    met = Alignment(0, 0, 0.5, token, tuple(Token(5, "sea", i, i + 3) for i in range(0, 400, 4)))
    found = Explanation("sea", Document("a", "sea " * 100), Weights.GENERAL, (), (), (met,))
    assert "sea + sea + sea + sea + sea + 95 more" in printed(found)
    page = explanation_page(found)
    assert "and 95 more" in page
    assert page.count('<b class="token">sea</b>') == 6  # the query's token, and 5 of the document


def test_passages_that_share_a_character_are_shown_once() -> None:
    text = "x" * 5000
    passages = tuple(ScoredPassage(a, b, "", 0.5, None, 0.5) for a, b in ((10, 20), (19, 30)))
    found = Explanation("x", Document("a", text), Weights.GENERAL, (), (), (), (), passages)
    stretches = document_stretches(found)
    assert [(s.start, s.end, s.rank) for s in stretches] == [
        (0, 10, None),
        (10, 20, 0),
        (20, 30, 1),
        (30, 5000, None),
    ]
    assert "".join(piece.text for s in stretches for piece in s.pieces) == text


def sliced(text: str, first: int, last: int) -> tuple[str, Vector]:
    """Return a part of a text, in tokens, with its slice of the vectors of the whole text."""
    encoder = HashEncoder()
    tokens, whole = encoder.tokens(text), encoder.encode_query(text)
    assert whole.colbert is not None
    part = text[tokens[first].start : tokens[last - 1].end]
    alone = encoder.encode_query(part)
    return part, Vector(alone.dense, alone.sparse, whole.colbert[first:last])


def test_a_passage_of_late_chunking_has_no_vector_of_its_end() -> None:
    text, vector = sliced("one two three four five six seven eight", 2, 6)
    passage = Document("d#1", text, {PRIVATE_KEY: {"passage": 1}})
    found = explain("five", passage, HashEncoder(), document_vector=vector)
    assert not found.notes
    assert found.alignments[0].document_text == "five"
    assert found.alignments[0].similarity == pytest.approx(1)
    # In the whole text its first token may be cut otherwise than in the passage by itself.
    for first in (0, 3):
        _, other = sliced("one two three four five six seven eight", first, 6)
        cut = explain("five", passage, HashEncoder(), document_vector=other)
        assert not cut.notes
        assert cut.alignments[0].document_text == "five"
    # Another document with as many vectors may be one that was pooled.
    unknown = explain("five", text, HashEncoder(), document_vector=vector)
    assert "4 ColBERT vectors for 5 tokens" in unknown.notes[0]


def test_a_text_that_the_store_truncated() -> None:
    text = "one two three four five six seven eight"
    _, vector = sliced(text, 0, 3)
    given: dict[str, Any] = {"document_vector": vector}
    found = explain("two", text, HashEncoder(), **given, overflow="truncate")
    assert not found.notes
    assert found.alignments[0].document_text == "two"
    assert explain("two", text, HashEncoder(), **given).notes
    more = Vector(vector.dense, vector.sparse, np.ones((20, 16), np.float32))
    assert explain("two", text, HashEncoder(), document_vector=more, overflow="truncate").notes
    with pytest.raises(InvalidOptionError, match="colbert_overflow"):
        explain("two", text, HashEncoder(), overflow="shorten")  # type: ignore[arg-type]


def test_the_passages_of_a_long_text_that_the_store_truncated() -> None:
    words = [f"w{i}." for i in range(400)]
    text = " ".join(words)
    whole = HashEncoder().encode_query(text)
    assert whole.colbert is not None
    first = Vector(whole.dense, whole.sparse, whole.colbert[:100])
    weights = Weights(0, 0, 1)
    found = explain(
        *("w300 w30", text, HashEncoder()),
        document_vector=first,
        weights=weights,
        overflow="truncate",
    )
    assert "w30." in found.passages[0].text
    expected = best_passages(
        *("w300 w30", text, first, HashEncoder()), weights=weights, overflow="truncate"
    )
    assert found.passages == tuple(expected)
    assert expected != best_passages("w300 w30", text, first, HashEncoder(), weights=weights)
