"""YQL that says exactly what a filter means, whatever is in it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest

import vespa_standin
from trivec import F, Filter
from trivec.fields import FieldType, field_types
from trivec_vespa import write_application
from trivec_vespa.filters import render
from trivec_vespa.mapping import document_path, refused_text

FIELDS = field_types({
    "lang": str, "year": int, "price": float, "flag": bool, "when": datetime, "tags": list[str],
    "sizes": list[int],
})  # fmt: skip


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (F("lang") == "en", 'm_lang in ("en")'),
        (F("lang") == "", 'present in ("lang=")'),
        (F("lang").in_(["a", ""]), '(m_lang in ("a") or present in ("lang="))'),
        (F("lang").in_([]), "false"),
        (F("lang").not_in([]), "true"),
        (F("lang") == "\x07", "false"),
        (F("lang").text("a.b_c"), r'm_lang matches "a\\.b_c"'),
        (F("lang").is_null(), '!(present in ("lang"))'),
        (F("year") == 2.0, "m_year in (2)"),
        (F("year") == 2.5, "false"),
        (F("year").in_([1, 2.5, 3]), "m_year in (1, 3)"),
        (F("year") == -(2**63), f'(present in ("year") and m_year in ({-(2**63)}))'),
        (F("year").in_([1, -(2**63)]), f'(present in ("year") and m_year in (1, {-(2**63)}))'),
        (F("sizes") == -(2**63), f"m_sizes in ({-(2**63)})"),
        (F("year") > 2.5, '(present in ("year") and m_year >= 3)'),
        (F("year") < -2.5, '(present in ("year") and m_year <= -3)'),
        (F("year") < 1e300, 'present in ("year")'),
        (F("year") > 1e300, "false"),
        (F("sizes") >= 3, "m_sizes >= 3"),
        (F("price") == 0.1, "m_price = 0.1"),
        (F("price") == 2**53 + 1, "false"),
        (F("price") >= 2**53 + 1, '(present in ("price") and m_price > 9007199254740992.0)'),
        (F("price").in_([1, 2.5]), "(m_price = 1.0 or m_price = 2.5)"),
        (F("flag") == False, '(present in ("flag") and m_flag = false)'),  # noqa: E712
        (
            F("when") <= datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
            '(present in ("when") and m_when <= 1000000)',
        ),
    ],
    ids=str,
)
def test_what_a_filter_becomes(condition: Filter, expected: str) -> None:
    assert render(condition, FIELDS) == expected


_PIECES = [
    *(
        '"',
        "\\",
        "'",
        "(",
        ")",
        " or true",
        " and false",
        "\n",
        "\r",
        "\t",
        "@",
        "@x",
        "$",
        "{",
        "}",
    ),
    *('")', '\\"', "\\\\", '" or m_lang in ("', "/*", "--", ";", "%", "\u2028", "ż", "北", "🐋"),
    *("in", "contains", "userQuery()", "\\u0022", "\\x22", "\x85", "\x7f", "a", "B", "0", ".", "*"),
]


def _hostile(count: int) -> list[str]:
    random = Random(11)
    found = {"".join(random.choices(_PIECES, k=random.randint(1, 6))) for _ in range(2 * count)}
    return sorted(found)[:count]


def test_no_value_leaves_its_literal(tmp_path: Path) -> None:
    vespa_standin.need()
    write_application_of(tmp_path)
    values = _hostile(1000)
    queries, expected = [], []
    for value in values:
        condition = (F("lang") == value) | (F("tags").any([value, "x"]) & ~F("lang").text(value))
        queries.append(f"select id from sources * where {render(condition, FIELDS)}")
        pattern = "".join(f"\\{c}" if c.isascii() and _punctuation(c) else c for c in value)
        listed = sorted([value, "x"], key=lambda text: text.encode("utf-16-be"))
        inner = ["not", ["in", "m_tags", listed], ["matches", "m_lang", pattern]]
        expected.append(["or", ["in", "m_lang", [value]], inner])
    trees = vespa_standin.ask("queries", queries, str(tmp_path / "app"))
    for value, tree, meant in zip(values, trees, expected, strict=True):
        assert tree == meant, repr(value)


def _punctuation(character: str) -> bool:
    return character.isprintable() and not character.isalnum() and character not in " _"


def test_no_id_leaves_its_path() -> None:
    vespa_standin.need()
    ids = [one for one in _hostile(1100) if not refused_text(one)]
    assert len(ids) >= 1000
    ids += ["..", ".", "../..", "a/../../b", "a//b", "/", "?a=b", "#x", "%2e%2e", " ", "+", ";v=1"]
    parts = vespa_standin.ask("paths", [document_path("test", one) for one in ids])
    for one, got in zip(ids, parts, strict=True):
        assert got == ["test", "test", one + "~" if one in (".", "..") else one], repr(one)


def write_application_of(folder: Path) -> None:
    from trivec import Schema

    write_application(Schema(dense=8, sparse=True, colbert=8), FIELDS, "test", folder / "app")


def test_every_type_of_field_parses(tmp_path: Path) -> None:
    vespa_standin.need()
    write_application_of(tmp_path)
    moment = datetime(2020, 1, 1, tzinfo=UTC)
    cases: list[tuple[Filter, Any]] = [
        (F("year").in_([2**53 + 1, -3]), ["in", "m_year", [-3, 2**53 + 1]]),
        (F("year") == -(2**63) + 1, ["in", "m_year", [-(2**63) + 1]]),
        (F("sizes") == -(2**63), ["in", "m_sizes", [-(2**63)]]),
        (F("price") == 1e-300, ["=", "m_price", "1.0E-300"]),
        (F("sizes") > 2**53, ["=", "m_sizes", f">{2**53}"]),
        (F("when") == moment, ["in", "m_when", [1_577_836_800_000_000]]),
    ]
    queries = [f"select id from sources * where {render(c, FIELDS)}" for c, _ in cases]
    trees = vespa_standin.ask("queries", queries, str(tmp_path / "app"))
    for (condition, meant), tree in zip(cases, trees, strict=True):
        assert tree == meant, condition
    assert set(FIELDS.values()) == set(FieldType)
