"""Application packages, and what Vespa's own configuration model says to them."""

from __future__ import annotations

import re
from datetime import datetime
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from vespa.package import ApplicationPackage

import vespa_standin
from trivec import Schema
from trivec.colbert_storage import ColbertStorage
from trivec.errors import InvalidOptionError
from trivec_vespa import VespaBackend, application_package, write_application
from trivec_vespa.token_layout import TokenLayout

EVERY_TYPE: dict[str, Any] = {
    "s": str,
    "i": int,
    "f": float,
    "b": bool,
    "d": datetime,
    "ss": list[str],
    "ii": list[int],
    "a.b_c.D": str,
    "id": str,
    "text": int,
    "order": bool,
    "select": str,
}
SCHEMAS = [
    Schema(dense=dense, sparse=sparse, colbert=colbert)
    for dense, sparse, colbert in product([None, 1, 24, 1024], [False, True], [None, 8, 1024])
    if dense or sparse or colbert
]

BITS = VespaBackend.limits.colbert_bits

WORD = re.compile(r"[A-Za-z_]\w*")
FEATURE = re.compile(r"(query|attribute)\((\w+)\)")
OPERATORS = frozenset(
    {"sum", "reduce", "max", "cell_cast", "float", "unpack_bits", "concat", "floor"}
)
DIMENSIONS = frozenset({"x", "t", "dt", "qt"})


def test_vespa_accepts_every_package(tmp_path: Path) -> None:
    vespa_standin.need()
    folders = []
    for number, (schema, fields, bits) in enumerate(product(SCHEMAS, [{}, EVERY_TYPE], BITS)):
        if bits != 16 and (schema.colbert is None or (bits != 1 and fields)):
            continue
        folders.append(str(tmp_path / str(number)))
        storage = ColbertStorage(bits=bits)
        write_application(schema, fields, f"Name_{number}", folders[-1], colbert=storage)
    assert len(folders) > 70
    for folder, said in zip(folders, vespa_standin.ask("packages", folders), strict=True):
        assert said == {"warnings": []}, folder


def test_vespa_refuses_what_it_should(tmp_path: Path) -> None:
    """Check the check: a package can be refused."""
    vespa_standin.need()
    wrong = {
        "weightedset<int>": "weightedset<float>",
        "attribute(dense_rep)": "attribute(dens)",
        "tensor<float>(x[1024])": "tensor<float>(x[512])",
    }
    folders: list[str] = []
    for old, new in wrong.items():
        folders.append(str(tmp_path / str(len(folders))))
        write_application(SCHEMAS[-1], {}, "good", folders[-1])
        file = Path(folders[-1], "schemas/good.sd")
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new))
    assert all("error" in said for said in vespa_standin.ask("packages", folders))


def test_the_package_can_be_merged_into_another(tmp_path: Path) -> None:
    vespa_standin.need()
    mine = application_package(SCHEMAS[-1], EVERY_TYPE, "mine")
    other = application_package(SCHEMAS[0], {}, "other")
    mine.add_schema(*other.schemas)
    mine.to_files(tmp_path / "app")
    assert vespa_standin.ask("packages", [str(tmp_path / "app")]) == [{"warnings": []}]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cell_cast", "cel_cast", "'cel_cast' is unknown"),
        ("attribute(colbert_rep)", "attribute(colbert)", r"attribute\(colbert\) is unknown"),
        ("query(q_len)", "query(len)", r"query\(len\) is unknown"),
        (" max, dt", " max, dd", "'dd' is unknown"),
    ],
)
def test_a_misspelt_name_in_a_rank_profile_is_noticed(
    old: str, new: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expression = TokenLayout(16, 8).expression
    assert old in expression
    monkeypatch.setattr(TokenLayout, "expression", expression.replace(old, new))
    package = application_package(Schema(dense=8, sparse=True, colbert=8), {}, "a")
    with pytest.raises(ValueError, match=message):
        _check_identifiers(package)


def test_rank_profiles_use_no_unknown_names() -> None:
    for schema in SCHEMAS:
        for bits in BITS:
            storage = ColbertStorage(bits=bits)
            _check_identifiers(application_package(schema, EVERY_TYPE, "a", colbert=storage))


def _check_identifiers(package: ApplicationPackage) -> None:
    """Raise `ValueError` for a name that a rank profile uses and nothing defines.

    Vespa's configuration model takes an unknown name to be a rank feature, and deploys it.
    """
    (schema,) = package.schemas
    for profile in schema.rank_profiles.values():
        functions = {function.name: function.expression for function in profile.functions or []}
        inputs = [
            entry[0].removeprefix("query(").removesuffix(")") for entry in profile.inputs or ()
        ]
        known = {"query": inputs, "attribute": [field.name for field in schema.document.fields]}
        second = profile.second_phase.expression if profile.second_phase else ""
        for text in (
            *functions.values(),
            str(profile.first_phase),
            second,
            *(profile.match_features or []),
        ):
            for feature, name in FEATURE.findall(text):
                if name not in known[feature]:
                    raise ValueError(f"rank profile {profile.name!r}: {feature}({name}) is unknown")
            rest = FEATURE.sub("", text)
            for name in WORD.findall(re.sub(r"\de[+-]?\d+", "", rest)):
                if name not in functions and name not in OPERATORS | DIMENSIONS:
                    raise ValueError(f"rank profile {profile.name!r}: {name!r} is unknown")


@pytest.mark.parametrize("name", ["", "a-b", "1a", "ä", "a b", "a/b", 'a"b', "a\n"])
def test_names_that_no_schema_can_have_are_refused(name: str) -> None:
    with pytest.raises(InvalidOptionError, match="schema's name"):
        application_package(SCHEMAS[0], {}, name)


@pytest.mark.parametrize(("one", "other"), [("a.b", "a__b"), ("Lang", "lang")])
def test_fields_that_would_be_one_attribute_are_refused(one: str, other: str) -> None:
    with pytest.raises(InvalidOptionError, match="one attribute"):
        application_package(SCHEMAS[0], {one: str, other: str}, "a")


def test_bits_fill_whole_bytes() -> None:
    schema = Schema(dense=8, sparse=True, colbert=12)
    with pytest.raises(InvalidOptionError, match="multiple of 8"):
        application_package(schema, {}, "a", colbert=ColbertStorage(bits=1))
    assert application_package(schema, {}, "a", colbert=ColbertStorage(bits=2)).schemas


def test_an_application_is_never_written_over_files(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InvalidOptionError, match="not an empty folder"):
        write_application(SCHEMAS[0], {}, "a", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
