"""What is imported is declared, and what is declared has a bound and was tested."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
BASE = PROJECT["project"]["dependencies"]
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
DECLARED = [*BASE, *(one for extra in EXTRAS.values() for one in extra)]
DISTRIBUTIONS = {**packages_distributions(), "google.protobuf": ["protobuf"]}

ALLOWED = {
    # Imported where they are needed.
    "trivec": ("torch", "onnx", "serve", "files", "html", "evaluate", "testing"),
    "trivec_qdrant": ("qdrant",),
    "trivec_milvus": ("milvus",),
    "trivec_vespa": ("vespa",),
    "trivec_langchain": ("langchain", "langchain-milvus", "langchain-qdrant"),
    "trivec_llamaindex": ("llamaindex",),
    "trivec_ray": ("ray",),
}
"""Which extras the modules of a package may import, besides what is always installed."""


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(one).name) for one in requirements}


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the modules that a tree imports when it runs."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for other in node.orelse:
                yield from imported(other)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            yield from imported(node)


def distribution(module: str) -> str | None:
    """Return which distribution a module comes from; None for Python's own and for ours."""
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top in ALLOWED or top == "google":
        found = "google.protobuf" if module.startswith("google.protobuf") else ""
        return canonicalize_name(DISTRIBUTIONS[found][0]) if found else None
    return canonicalize_name(DISTRIBUTIONS.get(top, [top])[0])


@pytest.mark.parametrize("package", ALLOWED)
def test_what_a_package_imports_is_declared(package: str) -> None:
    folder = ROOT / ("core" if package == "trivec" else "connectors") / package
    declared = names(BASE)
    for extra in ALLOWED[package]:
        declared |= names(EXTRAS[extra])
    used = {
        found: path.relative_to(ROOT)
        for path in folder.rglob("*.py")
        for module in imported(ast.parse(path.read_text(encoding="utf-8")))
        if (found := distribution(module)) is not None
    }
    assert used, "nothing was looked at"
    assert {one: where for one, where in used.items() if one not in declared} == {}


def test_every_package_is_looked_at() -> None:
    packages = {
        path.parent.name for top in ("core", "connectors") for path in ROOT.glob(f"{top}/*/*.py")
    }
    assert packages == set(ALLOWED)


@pytest.mark.parametrize("text", [*DECLARED, *PROJECT["build-system"]["requires"]])
def test_a_dependency_has_an_upper_bound(text: str) -> None:
    requirement = Requirement(text)
    if requirement.name == "trivec":
        return
    operators = [one.operator for one in requirement.specifier]
    assert {"<", "=="} & set(operators), text
    assert {">=", "=="} & set(operators), text


@pytest.mark.parametrize("text", DECLARED)
def test_a_dependency_was_tested_in_a_version_that_is_allowed(text: str) -> None:
    requirement = Requirement(text)
    if requirement.name == "trivec":
        return
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"^([\w.-]+)==([\w.]+)", lines, re.MULTILINE))
    versions = {canonicalize_name(name): Version(one) for name, one in pinned.items()}
    assert versions[canonicalize_name(requirement.name)] in requirement.specifier


def test_the_source_distribution_holds_what_the_top_level_has() -> None:
    included = {
        one.strip("/") for one in PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    }
    pages = {path.name for path in ROOT.glob("*.md")}
    assert pages
    assert pages <= included
