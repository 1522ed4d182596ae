"""Creating, describing and dropping a collection."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from urllib.parse import urlsplit

from vespa.application import Vespa

from trivec.collection import Collection
from trivec.errors import SchemaMismatchError, StoreError, StoreUnavailableError
from trivec.stores.deadline import limited, pause, seconds_left
from trivec_vespa.connection import Connection, NotFoundError, RefusedError
from trivec_vespa.deployment import active_schemas, check_nothing_is_lost, deploy
from trivec_vespa.mapping import describe
from trivec_vespa.ranking import probe
from trivec_vespa.replies import acknowledged, emptied, go_on, reading, stored_fields
from trivec_vespa.schema import application_package
from trivec_vespa.stored import read_description

__all__ = ["Lifecycle"]

_WAIT_SECONDS = 0.5


class Lifecycle:
    """What a collection's schema goes through, from its deployment to its end.

    Args:
        app: Whose certificate the config server is asked with; its token is not sent there.
        connection: To the container cluster.
        name: The collection.
        binary: Whether the collection shall store the signs of the token vectors.
        config_server: Its address, or None for port 19071 of the app's host.
        may_deploy: Whether `create` may deploy.
        timeout: Seconds that a deployment may take until it serves.
    """

    def __init__(
        self,
        app: Vespa,
        connection: Connection,
        name: str,
        *,
        binary: bool,
        config_server: str | None,
        may_deploy: bool,
        timeout: float,
    ) -> None:
        self._vespa = connection
        self._name = name
        self._binary = binary
        self._may_deploy = may_deploy
        self._timeout = timeout
        self._config_app = Vespa(
            config_server or _config_address(app),
            cert=app.cert,
            key=app.key,
            cert_content=app.cert_content,
            key_content=app.key_content,
        )
        self.description = f"/document/v1/{name}-collection/{name}/docid/collection"

    def read(self) -> tuple[Collection, bool] | None:
        """Return the collection and whether it stores signs, or None if there is none."""
        try:
            stored = self._vespa.request("GET", self.description, stored_fields)
        except NotFoundError:
            return None
        except RefusedError as error:  # 400 for a schema that is not deployed
            if error.by_vespa:
                return None
            raise
        except StoreUnavailableError:
            # Until the first deployment nothing listens but the config server.
            if self._may_deploy and not self._application_exists():
                return None
            raise
        with reading(f"the description of the collection {self._name!r}"):
            return read_description(stored)

    def create(self, collection: Collection, *, adopt: bool) -> None:
        """Deploy the collection's schema if it is not there, and describe it in a document.

        Args:
            collection: What to describe.
            adopt: Whether documents that are there already become those of the collection.

        Tested with Vespa's own container and configuration model, and with a config server that
        speaks the documented interface; never with a real config server, whose answers to changes
        that need a restart or a new feed were not seen.
        """
        problem = self._problem(collection)
        if problem is not None:
            if not self._may_deploy:
                raise SchemaMismatchError(
                    f"the schema {self._name!r} is not deployed, or does not fit: {problem}. "
                    "Deploy what trivec_vespa.write_application writes, or pass deploy=True"
                )
            self._deploy(collection)
        elif not adopt and (left := self._documents()):
            raise SchemaMismatchError(
                f"the schema {self._name!r} holds {left} documents that no collection describes: "
                "they were fed by other means, or written while another handle dropped the "
                "collection. Pass exist_ok=True to take them over, or drop() it first"
            )
        body = {"fields": describe(collection, binary=self._binary)}
        content = json.dumps(body).encode()
        self._vespa.request("POST", self.description, acknowledged, body=content)

    def drop(self, cluster: str, paged: Callable[[Callable[[], bool]], None]) -> None:
        """Delete all documents, described or not; the schema stays deployed, empty.

        Args:
            cluster: The content cluster.
            paged: Calls a function until it returns that nothing is left.

        The description goes last: until then nobody can create the collection anew, and have
        documents deleted that were written into the new one.
        """
        if not self._is_ours():
            return
        for namespace in (self._name, f"{self._name}-collection"):
            path = f"/document/v1/{namespace}/{self._name}/docid"
            parameters: dict[str, str | int] = {"selection": "true", "cluster": cluster}
            paged(partial(self._delete_page, path, parameters))

    def _delete_page(self, path: str, parameters: dict[str, str | int]) -> bool:
        """Delete one page of documents; return whether it was the last, else note the next one."""
        reply = self._vespa.request("DELETE", path, emptied, parameters=parameters)
        return not go_on(reply, parameters)

    def _is_ours(self) -> bool:
        """Return whether a schema of trivec is deployed under this name.

        It may hold documents that no description goes with: somebody who did not know yet that the
        collection was dropped has written them.
        """
        if self.read() is not None:
            return True
        body = {"yql": "select id from sources * where parts >= 0", "hits": 0}
        try:
            self._vespa.query({**body, "ranking": "unranked"}, self._name, allow_partial=True)
        except NotFoundError:
            return False
        except RefusedError as error:  # there is no such schema, or no such attribute
            if error.by_vespa:
                return False
            raise
        except StoreUnavailableError:
            if self._may_deploy and not self._application_exists():
                return False
            raise
        return True

    def _config_server(self) -> Connection:
        return Connection(self._config_app, timeout=self._timeout)

    def _application_exists(self) -> bool:
        with self._config_server() as server:
            try:
                return active_schemas(server) is not None
            except StoreError:
                return True  # nothing is known

    def _problem(self, collection: Collection) -> str | None:
        """Return what the deployed application lacks for this collection, or None."""
        try:
            self._vespa.query(probe(collection, binary=self._binary), self._name)
        except (NotFoundError, StoreUnavailableError, RefusedError) as error:
            return self._as_problem(error)
        try:
            self._vespa.request("GET", self.description, stored_fields)
        except NotFoundError:
            return None  # it is written when all else is there
        except (StoreUnavailableError, RefusedError) as error:
            return self._as_problem(error)
        return None

    def _as_problem(self, error: StoreError) -> str:
        """Return what an error says, if a deployment may be what helps."""
        if isinstance(error, StoreUnavailableError) and not self._may_deploy:
            raise error
        return str(error)

    def _deploy(self, collection: Collection) -> None:
        package = application_package(
            collection.schema, collection.fields, self._name, binary_colbert=self._binary
        )
        with limited(self._timeout), self._config_server() as server:
            changes = check_nothing_is_lost(server, package)
            if changes and self._documents() > 0:
                raise SchemaMismatchError(
                    f"the schema {self._name!r} holds documents but does not fit, and deploying "
                    "another one would drop their fields; use another name, or drop() it first"
                )
            deploy(server, package, changes=changes)
            while (problem := self._problem(collection)) is not None:
                if (seconds_left() or 0) <= _WAIT_SECONDS:
                    raise StoreError(
                        f"the application was deployed, but after {self._timeout} s it does not "
                        f"serve the collection {self._name!r}: {problem}"
                    )
                pause(_WAIT_SECONDS)

    def _documents(self) -> int:
        """Return how many documents the schema holds; 0 if it is not one that can be asked."""
        try:
            body = {"yql": "select id from sources * where true", "hits": 0, "ranking": "unranked"}
            return self._vespa.query(body, self._name).total
        except RefusedError as error:
            if error.by_vespa:
                return 0
            raise


def _config_address(app: Vespa) -> str:
    parts = urlsplit(app.end_point)
    host = parts.hostname or "localhost"
    return f"{parts.scheme or 'http'}://{f'[{host}]' if ':' in host else host}:19071"
