"""Deploying a collection to a config server, without dropping what others deployed."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from vespa.package import ApplicationPackage, Validation, ValidationID

from trivec.errors import SchemaMismatchError
from trivec_vespa.client import Client, Request
from trivec_vespa.errors import NotFoundError
from trivec_vespa.replies import deployed, file_paths, schema_text

_TENANT = "/application/v2/tenant/default"
_CONTENT = (
    f"{_TENANT}/application/default/environment/prod/region/default/instance/default/content/"
)
_FIELD = re.compile(r"^\s*field\s+(\w+)\s+type\b", re.MULTILINE)
_PROFILE = re.compile(r"^\s*rank-profile\s+(\w+)", re.MULTILINE)
# The names that trivec gives to the fields and rank profiles of a collection; until 0.1.0, also
# `colbert_bin` and `hybrid_binary`.
_OURS = re.compile(r"m_\w+|id|text|metadata|parts|present|dense_rep|lexical_(?:ws|rep)|"
                   r"colbert_(?:rep|codes|factors|bin)|union|"
                   r"hybrid(?:_(?:32|8|4|2|1|binary))?")  # fmt: skip
# The changes that an empty collection may have, which Vespa refuses unless they are announced.
_CHANGES = (ValidationID.fieldTypeChange, ValidationID.tensorTypeChange,
            ValidationID.indexingChange)  # fmt: skip

_OWN_FILES = frozenset({
    "services.xml", "validation-overrides.xml",
    "search/query-profiles/default.xml", "search/query-profiles/types/root.xml",
    # The config server itself adds these to a package.
    "hosts.xml", ".applicationMetaData",
})  # fmt: skip


def active_schemas(server: Client) -> dict[str, str] | None:
    """Return the schemas of the active application by name; None when there is no application."""
    try:
        paths = _files(server)
    except NotFoundError:
        return None
    return {
        path.removeprefix("schemas/").removesuffix(".sd"): server.send(
            Request("GET", _CONTENT + path, schema_text, is_text=True)
        )
        for path in paths
        if path.endswith(".sd")
    }


def check_nothing_is_lost(server: Client, package: ApplicationPackage) -> bool:
    """Return whether the active application holds the package's schema, in any version.

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
        for what, pattern in (("field", _FIELD), ("rank profile", _PROFILE)):
            others = {n for n in pattern.findall(active[name]) if not _OURS.fullmatch(n)}
            lost += [f"the {what} {other!r} of {name!r}" for other in sorted(others)]
    for path in _files(server):
        if not path.startswith("schemas/") and path not in _OWN_FILES:
            lost.append(f"the file {path!r}")
    if not lost:
        request = Request("GET", _CONTENT + "services.xml", _as_it_is, is_text=True)
        services = server.send(request)
        if services.split() != package.services_to_text.split():
            lost.append("a services.xml of your own")
    if lost:
        raise SchemaMismatchError(
            f"the active application holds {', '.join(lost)}; deploying only {sorted(ours)} would "
            "drop that. Add `application_package(...).schemas` to your own application, deploy it, "
            "then call create() with deploy=False"
        )
    return bool(active.keys() & ours.keys())


def deploy(server: Client, package: ApplicationPackage, *, changes: bool) -> None:
    """Deploy a package as the application of the config server.

    Args:
        server: The config server.
        package: Of one collection.
        changes: Whether another version of its schema, without documents, is active: Vespa allows
            changes of types only if the package announces them.
    """
    if changes:
        until = (datetime.now(UTC) + timedelta(days=2)).strftime("%Y-%m-%d")
        package.validations = [Validation(change, until) for change in _CHANGES]
    server.send(
        Request("POST", _TENANT + "/prepareandactivate", deployed, package.to_zip().getvalue())
    )


def _files(server: Client) -> list[str]:
    """Return the paths of the active application's files, sorted."""
    return server.send(Request("GET", _CONTENT, file_paths, parameters={"recursive": "true"}))


def _as_it_is(text: str, path: str) -> str:
    return text
