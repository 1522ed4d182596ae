"""Deploying a collection to a config server, without dropping anything of anybody's."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from vespa.package import ApplicationPackage, Validation, ValidationID

from trivec.errors import SchemaMismatchError
from trivec_vespa.connection import Connection, NotFoundError
from trivec_vespa.replies import deployed, file_paths, schema_text

__all__ = ["active_schemas", "check_nothing_is_lost", "deploy"]

_TENANT = "/application/v2/tenant/default"
_CONTENT = (
    f"{_TENANT}/application/default/environment/prod/region/default/instance/default/content/"
)
_FIELD = re.compile(r"^\s*field\s+(\w+)\s+type\b", re.MULTILINE)
_PROFILE = re.compile(r"^\s*rank-profile\s+(\w+)", re.MULTILINE)
# Fields whose names we give to any collection.
_OURS = re.compile(r"m_\w+|id|text|metadata|parts|present|dense_rep|lexical_(?:ws|rep)|"
                   r"colbert_(?:rep|bin)|union|hybrid(?:_binary)?")  # fmt: skip
# What an empty collection may change, and Vespa asks to be told of.
_CHANGES = (ValidationID.fieldTypeChange, ValidationID.tensorTypeChange,
            ValidationID.indexingChange)  # fmt: skip

_OWN_FILES = frozenset({
    "services.xml", "validation-overrides.xml",
    "search/query-profiles/default.xml", "search/query-profiles/types/root.xml",
    # What the config server itself adds to a package.
    "hosts.xml", ".applicationMetaData",
})  # fmt: skip


def active_schemas(server: Connection) -> dict[str, str] | None:
    """Return the schemas of the active application by name; None when there is no application."""
    try:
        paths = _files(server)
    except NotFoundError:
        return None
    return {
        path.removeprefix("schemas/").removesuffix(".sd"): server.text(_CONTENT + path, schema_text)
        for path in paths
        if path.endswith(".sd")
    }


def check_nothing_is_lost(server: Connection, package: ApplicationPackage) -> bool:
    """Return whether the active application holds the package's schema, in whatever version.

    Args:
        server: The config server.
        package: Of one collection.

    Raises:
        SchemaMismatchError: If the active application holds a schema, a field, a rank profile or a
            file that the package lacks, which deploying the package would drop.
    """
    active = active_schemas(server)
    if active is None:
        return False
    ours = {schema.name: schema.schema_to_text for schema in package.schemas}
    lost = [f"the schema {name!r}" for name in sorted(active.keys() - ours.keys())]
    for name in sorted(active.keys() & ours.keys()):
        for kind, pattern in (("field", _FIELD), ("rank profile", _PROFILE)):
            strange = {n for n in pattern.findall(active[name]) if not _OURS.fullmatch(n)}
            lost += [f"the {kind} {one!r} of {name!r}" for one in sorted(strange)]
    for path in _files(server):
        if not path.startswith("schemas/") and path not in _OWN_FILES:
            lost.append(f"the file {path!r}")
    if not lost:
        services = server.text(_CONTENT + "services.xml", str)
        if services.split() != package.services_to_text.split():
            lost.append("a services.xml of your own")
    if lost:
        raise SchemaMismatchError(
            f"the active application holds {', '.join(lost)}; deploying only {sorted(ours)} would "
            "drop that. Add `application_package(...).schemas` to your own application, deploy it, "
            "then call create() with deploy=False"
        )
    return bool(active.keys() & ours.keys())


def deploy(server: Connection, package: ApplicationPackage, *, changes: bool) -> None:
    """Deploy a package as the application of the config server.

    Args:
        server: The config server.
        package: Of one collection.
        changes: Whether another version of its schema, without documents, is active: Vespa allows
            changes of types only to those who say that they mean it.
    """
    if changes:
        until = (datetime.now(UTC) + timedelta(days=2)).strftime("%Y-%m-%d")
        package.validations = [Validation(change, until) for change in _CHANGES]
    server.request(
        "POST",
        _TENANT + "/prepareandactivate",
        deployed,
        body=package.to_zip().getvalue(),
        content_type="application/zip",
    )


def _files(server: Connection) -> list[str]:
    """Return the paths of the active application's files, sorted."""
    return server.request("GET", _CONTENT, file_paths, parameters={"recursive": "true"})
