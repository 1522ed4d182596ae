"""Planned bytes are those of the layouts."""

from __future__ import annotations

import math

import pytest

from trivec import Schema
from trivec.errors import InvalidOptionError
from trivec.insight.plan import MODELS, plan, schema_of
from trivec.testing import HashEncoder

DATABASES = {choice.database for choice in plan(schema_of("BAAI/bge-m3"), tokens=1)}

needs_connectors = pytest.mark.skipif(
    not {"qdrant", "milvus", "vespa"} <= DATABASES, reason="a connector is not installed"
)


@needs_connectors
def test_float32_is_what_the_columns_take() -> None:
    encoder = HashEncoder()
    vectors = encoder.encode_documents(["one two three four"])
    found = plan(encoder.schema, tokens=4)
    wanted = {("dense", "FLOAT_VECTOR"), ("sparse", "SPARSE_FLOAT_VECTOR")}
    wanted.add(("colbert", "native, FLOAT_VECTOR"))
    total = sum(c.document_bytes for c in found if (c.part, c.storage) in wanted)
    assert total == vectors.row_bytes()[0]


@needs_connectors
def test_every_part_of_every_database_has_one_default() -> None:
    found = plan(schema_of("BAAI/bge-m3"), tokens=200)
    defaults = [(choice.database, choice.part) for choice in found if choice.default]
    assert len(set(defaults)) == len(defaults) == 9


@needs_connectors
def test_rows_that_a_database_cannot_hold_are_pooled() -> None:
    found = {c.storage: c for c in plan(schema_of("BAAI/bge-m3"), tokens=8000)}
    assert found["float16 multivector"].document_bytes == 2 * 1023 * 1024
    assert "t at most 1023" in found["float16 multivector"].formula
    assert found["native, FLOAT_VECTOR"].document_bytes == 4 * 4096 * 1024
    assert found["tensor<bfloat16>"].document_bytes == 2 * 8001 * 1024


@needs_connectors
def test_only_the_parts_that_are_there() -> None:
    assert {c.part for c in plan(Schema(8, False, None), tokens=10)} == {"dense"}
    assert {c.part for c in plan(MODELS["BAAI/bge-m3-retromae"], tokens=10)} == {"dense"}


def test_fewer_terms_than_tokens() -> None:
    schema = Schema(None, True, None)
    few, most = (plan(schema, tokens=10, terms=terms) for terms in (4, None))
    assert [c.document_bytes for c in few] == [c.document_bytes * 0.4 for c in most]


def test_wrong_numbers_are_named() -> None:
    wrong = ((-1, None), (3, 4), (3, -1), (math.nan, None), (math.inf, None), (3, math.nan))
    for tokens, terms in wrong:
        with pytest.raises(InvalidOptionError, match=f"tokens={tokens}, terms={terms}"):
            plan(Schema(8, True, 8), tokens=tokens, terms=terms)
    with pytest.raises(InvalidOptionError, match="'nobody/model' are unknown"):
        schema_of("nobody/model")


def test_a_database_from_outside(lance: str) -> None:
    schema = schema_of("BAAI/bge-m3")
    found = [c for c in plan(schema, tokens=50, terms=40) if c.database == "lance"]
    assert [choice.document_bytes for choice in found] == [4 * 1024, 8 * 40, 4 * 51 * 1024]
    assert len(found) == len({choice.part for choice in found})  # two schemes, one backend
    pooled = [c for c in plan(schema, tokens=500) if c.database == "lance"]
    assert [choice.formula for choice in pooled] == ["4 d", "8 s", "4 t d, t at most 100"]
    assert pooled[-1].document_bytes == 4 * 100 * 1024


def test_the_database_of_a_scheme_comes_first(lance: str) -> None:
    schema = schema_of("BAAI/bge-m3")
    for scheme in ("lance", "lances"):
        assert plan(schema, tokens=10, scheme=scheme)[0].database == "lance"
    with pytest.raises(InvalidOptionError, match="unknown store scheme 'nope'"):
        plan(schema, tokens=10, scheme="nope")
