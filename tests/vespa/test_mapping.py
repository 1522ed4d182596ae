"""Numbers, strings and documents on their way to Vespa and back."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vespa_standin
from trivec import Document, Vectors
from trivec.colbert_storage import ColbertStorage
from trivec.collection import Collection, Page
from trivec.errors import InvalidDocumentError, InvalidOptionError
from trivec.fields import FieldType
from trivec.rows import SparseRows, TokenRows
from trivec.token_codes import TokenCodes
from trivec_vespa import write_application, write_feed
from trivec_vespa.hexadecimal import bfloat16_rows, float_hex, float_rows, to_bfloat16
from trivec_vespa.mapping import (
    check_numbers,
    check_text,
    document_from,
    document_path,
    feed_fields,
    microseconds,
    refused_text,
    signed_ids,
    wand_weights,
)

Bits = np.ndarray[Any, np.dtype[np.uint16]]


def _floats(bits: Bits) -> np.ndarray[Any, np.dtype[np.float32]]:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def test_every_finite_bfloat16_is_kept_and_read_back() -> None:
    every = np.arange(2**16, dtype=np.uint16)
    finite = every[(every & 0x7F80) != 0x7F80]  # zeros, denormals, normals, both signs
    values = _floats(finite)
    np.testing.assert_array_equal(to_bfloat16(values), finite)
    text = finite.astype(">u2").tobytes().hex()
    read = bfloat16_rows([text], len(finite))[0]
    np.testing.assert_array_equal(read.view(np.uint32), values.view(np.uint32))


def test_rounding_goes_to_the_nearest_and_ties_to_even() -> None:
    rng = np.random.default_rng(3)
    bits = rng.integers(0, 2**32, 200_000, dtype=np.uint32)
    bits = np.concatenate([bits, bits & 0xFFFF0000 | 0x8000])  # half of them are ties
    values = bits.view(np.float32)
    values = values[np.isfinite(values) & (np.abs(values) < 3.38e38)]
    low = values.view(np.uint32) >> 16
    below, above = _floats(low.astype(np.uint16)), _floats((low + 1).astype(np.uint16))
    wide = values.astype(np.float64)
    to_below, to_above = np.abs(wide - below), np.abs(above.astype(np.float64) - wide)
    up = (to_above < to_below) | ((to_above == to_below) & (low % 2 == 1))
    np.testing.assert_array_equal(to_bfloat16(values), np.where(up, low + 1, low))


def test_rounding_never_makes_infinity() -> None:
    largest = np.finfo(np.float32).max
    assert [hex(b) for b in to_bfloat16(np.array([largest, -largest]))] == ["0x7f7f", "0xff7f"]


def test_rounding_keeps_the_length_of_unit_vectors() -> None:
    rng = np.random.default_rng(1)
    unit = rng.standard_normal((200, 1024))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    lengths = np.linalg.norm(_floats(to_bfloat16(unit)), axis=1)
    assert abs(lengths.mean() - 1) < 1e-5
    truncated = unit.astype(np.float32).view(np.uint32) & 0xFFFF0000
    assert np.linalg.norm(truncated.view(np.float32), axis=1).mean() < 0.998  # what Vespa does


def test_query_tensors_are_float32_in_hex() -> None:
    assert float_hex(np.array([1.0, -2.0])) == "3f800000c0000000"
    assert float_rows(["3f800000c0000000"], 2).tolist() == [[1.0, -2.0]]


def test_no_lexical_weight_is_lost_for_wand() -> None:
    assert wand_weights(np.array([1e-9, 0.00004, 0.25, 1e9])).tolist() == [1, 1, 2500, 2**31 - 1]


def test_vocabulary_ids_stay_apart_as_signed_integers() -> None:
    ids = np.array([0, 250_001, 2**31 - 1, 2**31, 2**32 - 2], np.uint32)
    assert signed_ids(ids).tolist() == [0, 250_001, 2**31 - 1, -(2**31), -2]


def test_instants_are_whole_microseconds() -> None:
    assert microseconds(datetime(1, 1, 1, tzinfo=UTC)) == -62_135_596_800_000_000
    assert microseconds(datetime(2020, 1, 31, 12, 0, 0, 1, tzinfo=UTC)) == 1_580_472_000_000_001


@pytest.mark.parametrize("character", ["\x00", "\x07", "\x1f", "\ufdd0", "\ufffe", "\U0010ffff"])
def test_text_that_vespa_refuses_is_refused_or_replaced(
    character: str, collection: Collection
) -> None:
    document = Document("d1", f"a{character}b", {"note": character})
    with pytest.raises(InvalidDocumentError, match=r"'d1'.*text holds U\+.*text_errors='replace'"):
        check_text(document, {}, "error")
    check_text(document, {}, "replace")
    vectors = Vectors(dense=np.zeros((1, 8)))
    fields = feed_fields(document, vectors, 0, collection)
    assert fields["text"] == "a\ufffdb"
    # Metadata is JSON, which can write any character in those that Vespa takes.
    assert refused_text(str(fields["metadata"])) is None
    assert document_from(fields).metadata == {"note": character}


def test_ids_and_declared_fields_are_never_cleaned(collection: Collection) -> None:
    with pytest.raises(InvalidDocumentError, match=r"its id holds U\+FFFE"):
        check_text(Document("a\ufffe", ""), collection.fields, "replace")
    with pytest.raises(InvalidDocumentError, match=r"field 'tags' holds U\+0001"):
        check_text(Document("a", "", {"tags": ["x", "\x01"]}), collection.fields, "replace")


@pytest.mark.parametrize("character", ["\t", "\n", "\r", "\x7f", "\u2028", "\ufffd", "🐋"])
def test_other_characters_pass(character: str) -> None:
    check_text(Document("d1", character), {}, "error")


def test_metadata_comes_back_unchanged(collection: Collection) -> None:
    metadata: dict[str, Any] = {
        "lang": None,
        "tags": [],
        "odd": ["\x00", "\\u0000", '"', "\ufffe", 1, 1.0, True, 2**63 - 1, {"ż": None}],
    }
    document = Document("d", "", metadata)
    fields = feed_fields(document, Vectors(dense=np.zeros((1, 8))), 0, collection)
    back = document_from(json.loads(json.dumps(fields)))
    assert repr(back.metadata) == repr(metadata)
    assert fields["present"] == []


def test_presence_tells_empty_strings_from_none(collection: Collection) -> None:
    document = Document("d", "", {"lang": "", "tags": ["", "a"], "year": None})
    fields = feed_fields(document, Vectors(dense=np.zeros((1, 8))), 0, collection)
    assert fields["present"] == ["lang", "lang=", "tags", "tags="]
    assert "m_year" not in fields


def test_parts_that_a_document_lacks_are_not_sent(collection: Collection) -> None:
    vectors = Vectors(
        dense=np.zeros((2, 8)),
        sparse=SparseRows.from_dicts([{}, {5: 0.5}]),
        colbert=TokenRows.from_arrays([np.zeros((0, 16)), np.ones((2, 16))]),
    )
    small = replace(collection, colbert=ColbertStorage(bits=1))
    none = feed_fields(Document("a", ""), vectors, 0, small)
    assert none["parts"] == 0
    assert not {name for name in none if name.startswith(("dense", "lexical", "colbert"))}
    some = feed_fields(Document("b", ""), vectors, 1, small)
    assert some["parts"] == 6
    assert some["lexical_ws"] == {"5": 5000}
    codes = TokenCodes.encode(TokenRows.from_arrays([np.ones((2, 16), np.float32)]), 1)
    blocks = {str(i): codes.packed[i].tobytes().hex() for i in range(2)}
    assert some["colbert_codes"] == {"blocks": blocks}
    assert some["colbert_factors"] == {str(i): float(codes.factors[i]) for i in range(2)}
    assert "colbert_rep" not in some


def test_dot_ids_are_no_path_segments() -> None:
    ids = [".", "..", ".~", "..~", "...", "a/../b", "~"]
    paths = {document_path("c", one) for one in ids}
    assert len(paths) == len(ids)
    assert all(path.rsplit("/", 1)[1] not in (".", "..") for path in paths)


def test_vespa_reads_the_feed_file_as_it_was_meant(collection: Collection, tmp_path: Path) -> None:
    vespa_standin.need()
    folder = tmp_path / "app"
    write_application(collection.schema, collection.fields, "test", folder)
    rng = np.random.default_rng(5)
    every = np.arange(0, 2**16, 13, dtype=np.uint16)
    finite = _floats(every[(every & 0x7F80) != 0x7F80])
    finite = finite[: len(finite) // 16 * 16].reshape(-1, 16)  # each class of values
    vectors = Vectors(
        dense=rng.standard_normal((3, 8)),
        sparse=SparseRows.from_dicts([{7: 0.1, 2**32 - 2: 3.5}, {}, {1: 1e-7}]),
        colbert=TokenRows.from_arrays([finite, np.zeros((0, 16)), np.ones((1, 16))]),
    )
    documents = [
        Document("a/b", "text \x07", {"lang": "en"}),
        Document("..", "", {"year": -5}),
        Document("ż", "x", {"tags": ["a", "b"]}),
    ]
    file = tmp_path / "feed.jsonl"
    assert write_feed([Page(documents, vectors)], file, name="test", collection=collection,
                      text_errors="replace") == 3  # fmt: skip
    lines = [json.loads(line) for line in file.read_text().split("\n") if line]
    read = vespa_standin.ask("feed", lines, str(folder))
    assert [one["id"] for one in read] == [f"id:test:test::{key}" for key in ("a/b", "..~", "ż")]
    cells = read[0]["fields"]["colbert_rep"]
    got = np.zeros_like(finite)
    for address, value in cells.items():
        token, place = re.findall(r"\d+", address)
        got[int(token), int(place)] = value
    np.testing.assert_array_equal(got, finite)
    assert vectors.dense is not None
    np.testing.assert_array_equal(
        [read[0]["fields"]["dense_rep"][f"{{x:{i}}}"] for i in range(8)],
        _floats(to_bfloat16(vectors.dense[0])),
    )
    assert read[0]["fields"]["lexical_rep"] == {
        "{t:7}": pytest.approx(0.1), "{t:4294967294}": 3.5
    }  # fmt: skip
    assert "colbert_rep" not in read[1]["fields"]


def test_a_feed_file_needs_vectors(collection: Collection, tmp_path: Path) -> None:
    page = Page([Document("a", "")], None)
    with pytest.raises(InvalidOptionError, match="with_vectors"):
        write_feed([page], tmp_path / "f", name="test", collection=collection)


def test_numbers_that_would_be_rounded_are_refused() -> None:
    fields = {"price": FieldType.FLOAT, "year": FieldType.INT}
    for number in (2**53, 2**53 + 2, -(2**63), 2**62, 0.1, 1e308, None):
        check_numbers(Document("a", "", {"price": number, "year": 2**53 + 1}), fields)
    for number in (2**53 + 1, 2**63 - 1):
        with pytest.raises(InvalidDocumentError, match=f"'a'.*'price'.*{number}.*declare.* int"):
            check_numbers(Document("a", "", {"price": number}), fields)
