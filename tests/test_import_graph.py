"""Imports point downwards: no circle between modules, and no folder imports one above it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FLOORS: tuple[tuple[str, ...], ...] = (
    (  # values, and checks of arguments; they know nothing of databases
        *(
            "_version",
            "arguments",
            "collection",
            "addresses",
            "bounded",
            "colbert_storage",
            "deadline",
            "document",
            "entry_points",
            "errors",
            "fields",
            "folders",
            "hit",
            "lazy",
        ),
        *(
            "outputs",
            "plain",
            "pooling",
            "pruning",
            "retry",
            "rotation",
            "rows",
            "schema",
            "scored_passage",
            "scores",
            "sharing",
        ),
        *("terminal", "token_codes", "turns", "twins", "url_options", "vector_files", "vectors"),
        "encoders.known",
        "encoders.protocol",
    ),
    ("filters", "passages"),
    ("search",),
    ("grouping", "ranking", "reranking.mmr"),
    ("encoders", "stores"),
    ("checks", "reranking"),
    ("ingestion", "passages.parents", "serving"),
    ("insight", "passages.parent_hits", "passages.rewriting"),
    ("demo", "testing"),
    ("",),  # the facade `trivec`
    ("cli",),
)
"""The modules and folders of core/trivec, the lowest floor first; the longest prefix decides.

A module imports from its own folder and from lower floors. Only the values import one another
across modules of one floor.
"""

VALUES = 0
FACADE = "trivec"

KNOWN: Mapping[tuple[str, str], str] = {
    **dict.fromkeys(
        [
            ("trivec_vespa.commands", f"trivec.cli.{module}")
            for module in ("models", "options", "rejects", "sources")
        ],
        "the plugin of the command line takes the options of the other commands",
    ),
}
"""Imports that break a rule, each with its reason. Nothing may be added without one."""


def _modules() -> dict[str, Path]:
    modules = {}
    for root in ("core", "connectors"):
        for path in (ROOT / root).rglob("*.py"):
            parts = path.relative_to(ROOT / root).with_suffix("").parts
            modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


def _names(tree: ast.AST, module: str, *, is_package: bool) -> Iterator[tuple[str, str]]:
    """Yield what is imported anywhere in a module: the source, and the name taken from it."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((source, alias.name) for alias in node.names)


def _graph() -> dict[str, set[str]]:
    """Return the modules of core and connectors, each with those that it imports."""
    modules = _modules()
    graph: dict[str, set[str]] = {}
    for module, path in modules.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        graph[module] = set()
        for source, name in _names(tree, module, is_package=path.name == "__init__.py"):
            imported = f"{source}.{name}" if f"{source}.{name}" in modules else source
            if imported in modules:
                graph[module].add(imported)
    return graph


GRAPH = _graph()
EDGES = sorted((module, imported) for module in GRAPH for imported in GRAPH[module])


def _place(module: str) -> tuple[int, str]:
    """Return the floor of a module of core, and the name by which it stands there."""
    name = module.removeprefix(FACADE).removeprefix(".")
    places = [
        (len(entry), floor, entry)
        for floor, entries in enumerate(FLOORS)
        for entry in entries
        if name == entry or (entry and name.startswith(f"{entry}."))
    ]
    assert places, f"{module} stands on no floor; add it to FLOORS"
    _, floor, entry = max(places)
    return floor, entry


def _problem(module: str, imported: str) -> str | None:
    """Return the rule that an import breaks, or None."""
    package, other = module.partition(".")[0], imported.partition(".")[0]
    if package != FACADE:
        if other == FACADE:
            above = _place(imported)[1] == "cli"
            return "a connector uses the library, not the command line" if above else None
        return None if other == package else "a connector imports no other connector"
    if other != FACADE:
        return "core imports no connector"
    (floor, room), (below, other_room) = _place(module), _place(imported)
    if below > floor:
        return f"{room!r} stands below {other_room!r}"
    if below == floor and room != other_room and floor != VALUES:
        return f"{room!r} and {other_room!r} stand side by side"
    return None


def test_no_module_imports_itself_through_others() -> None:
    try:
        TopologicalSorter(GRAPH).prepare()
    except CycleError as error:
        circle = error.args[1]
        pytest.fail("a circle: " + ", ".join(f"{b} imports {a}" for a, b in pairwise(circle)))


def test_imports_go_down() -> None:
    broken = [
        f"{module} imports {imported}: {problem}"
        for module, imported in EDGES
        if (module, imported) not in KNOWN and (problem := _problem(module, imported))
    ]
    assert broken == []


def test_connectors_leave_each_other_alone_also_through_the_names_of_packages() -> None:
    """Also an import that the graph lacks, of a name that no module has."""
    packages = {path.parent.name for path in (ROOT / "connectors").glob("*/__init__.py")}
    assert packages
    for module, path in _modules().items():
        package = module.partition(".")[0]
        tree = ast.parse(path.read_text(encoding="utf-8"))
        sources = {
            source.partition(".")[0]
            for source, _ in _names(tree, module, is_package=path.name == "__init__.py")
        }
        assert not (sources & packages) - {package}, module


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("trivec.stores.memory", "trivec.encoders.encoder"),
        ("trivec.encoders.local", "trivec.stores.store"),
        ("trivec.fields", "trivec.filters.tree"),
        ("trivec.insight.rendering.marks", "trivec"),
        ("trivec.stores.lazy", "trivec.reranking.rescorer"),
        ("trivec.errors", "trivec_qdrant.store"),
        ("trivec_langchain.options", "trivec_qdrant.store"),
        ("trivec_qdrant.store", "trivec.cli.options"),
    ],
)
def test_a_new_import_that_goes_up_is_seen(module: str, imported: str) -> None:
    assert _problem(module, imported)


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("trivec.vectors", "trivec.rows"),
        ("trivec.stores.lazy", "trivec.reranking.mmr"),
        ("trivec.cli.app", "trivec"),
        ("trivec_langchain.embeddings", "trivec"),
        ("trivec_qdrant.store", "trivec_qdrant.schema"),
    ],
)
def test_an_import_that_goes_down_is_allowed(module: str, imported: str) -> None:
    assert _problem(module, imported) is None
