"""Deploying: what is never dropped, and what is only checked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import vespa_standin
from trivec import Document, Schema, Store, Vectors, open_store
from trivec.collection import Collection
from trivec.errors import CollectionNotFoundError, SchemaMismatchError, StoreUnavailableError
from trivec_vespa import write_application
from trivec_vespa.client import Request
from trivec_vespa.replies import acknowledged


def _files(folder: Any) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def active() -> Iterator[vespa_standin.StandIn]:
    """Yield a config server whose application does not run."""
    served = vespa_standin.StandIn()
    yield served
    served.close()


@pytest.fixture
def package(tmp_path: Any, schema: Schema) -> dict[str, bytes]:
    write_application(schema, {"lang": str}, "test", tmp_path / "app")
    return _files(tmp_path / "app")


EDITS = {
    "schema": ("schemas/mine.sd", b"schema mine { document mine { } }", "the schema 'mine'"),
    "field": ("schemas/test.sd", b"field title type string {", "the field 'title' of 'test'"),
    "profile": ("schemas/test.sd", b"rank-profile best {", "the rank profile 'best' of 'test'"),
    "component": ("components/mine.jar", b"PK", "the file 'components/mine.jar'"),
    "profiles": ("search/query-profiles/mine.xml", b"<q/>", "the file 'search/query-profiles/mine"),
    "services": ("services.xml", b"<nodes/>", "a services.xml of your own"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_what_others_deployed_is_never_dropped(
    edit: str,
    active: vespa_standin.StandIn,
    package: dict[str, bytes],
    schema: Schema,
    waits: list[Any],
) -> None:
    path, addition, message = EDITS[edit]
    active.package = {**package, path: package.get(path, b"") + b"\n" + addition}
    with (
        open_store(active.url("test"), config_server=active.config_server) as store,
        pytest.raises(SchemaMismatchError, match=f"{message}.*deploy=False"),
    ):
        # The store's own `create` would wait for the application first.
        store._handle.backend.create(Collection(schema), adopt=False)
    assert active.deployments == 0


def test_before_the_first_deployment_there_is_no_collection(
    active: vespa_standin.StandIn, waits: list[Any]
) -> None:
    with open_store(active.url("test"), config_server=active.config_server) as store:
        with pytest.raises(CollectionNotFoundError, match="create"):
            store.count()
        store.drop()
    assert waits == []


def test_without_a_config_server_an_unreachable_vespa_is_an_error(
    active: vespa_standin.StandIn, waits: list[Any]
) -> None:
    with (
        open_store(active.url("test"), deploy=False) as store,
        pytest.raises(StoreUnavailableError),
    ):
        store.count()
    assert len(waits) > 1


def test_what_is_deployed_already_is_only_checked(
    store: Store, standin: vespa_standin.StandIn, open_vespa: Any, schema: Schema
) -> None:
    fields = dict(store.fields)
    deployments = standin.deployments
    store.drop()
    checking = open_vespa(deploy=False)
    with pytest.raises(SchemaMismatchError, match=r"does not fit: .*'m_other' does not exist"):
        checking.create(schema, fields={"other": str})
    for other in (
        Schema(dense=16, sparse=True, colbert=16),
        Schema(dense=8, sparse=True, colbert=8),
    ):
        with pytest.raises(SchemaMismatchError, match=r"does not fit: .*Could not parse"):
            checking.create(other, fields=fields)
    checking.create(schema, fields=fields)
    assert checking.count() == 0
    assert standin.deployments == deployments


def test_a_name_that_is_not_deployed_is_told(
    store: Store, standin: vespa_standin.StandIn, schema: Schema
) -> None:
    with (
        open_store(standin.url("other"), deploy=False) as other,
        pytest.raises(SchemaMismatchError, match="'other' is not deployed"),
    ):
        other.create(schema)


def test_documents_are_not_lost_to_another_schema(
    store: Store, open_vespa: Any, schema: Schema, standin: vespa_standin.StandIn
) -> None:
    store.upsert([Document("a", "")], Vectors(dense=np.ones((1, 8))))
    backend: Any = store._handle.backend
    backend.client.send(Request("DELETE", backend.lifecycle.description, acknowledged))
    deployments = standin.deployments  # the documents are as if fed by other means
    with pytest.raises(SchemaMismatchError, match="holds documents but does not fit"):
        open_vespa().create(schema, fields={"other": str})
    assert standin.deployments == deployments
    again = open_vespa(deploy=False)
    with pytest.raises(SchemaMismatchError, match="holds 1 documents that no collection describes"):
        again.create(schema, fields=dict(store.fields))
    again.create(schema, fields=dict(store.fields), exist_ok=True)
    assert again.count() == 1
