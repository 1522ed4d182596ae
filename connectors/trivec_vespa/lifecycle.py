"""Creating, describing and dropping a collection."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import TypeVar
from urllib.parse import urlsplit

from vespa.application import Vespa

from trivec.collection import Collection
from trivec.deadline import limited, pause, seconds_left
from trivec.errors import SchemaMismatchError, StoreError, StoreUnavailableError
from trivec.stores.steps import Steps, ask
from trivec_vespa.client import Client, Request, query
from trivec_vespa.deployment import active_schemas, check_nothing_is_lost, deploy
from trivec_vespa.errors import NotFoundError, RefusedError
from trivec_vespa.mapping import description_fields, read_description
from trivec_vespa.options import VespaOptions
from trivec_vespa.replies import acknowledged, emptied, next_continuation, reading, stored_fields
from trivec_vespa.schema import application_package
from trivec_vespa.search import probe

T = TypeVar("T")

_WAIT_SECONDS = 0.5


class Lifecycle:
    """The schema of a collection, from its deployment to the end of the collection."""

    def __init__(self, app: Vespa, client: Client, name: str, options: VespaOptions) -> None:
        self._client = client
        self._name = name
        self._cluster = options.content_cluster
        self._may_deploy = options.deploy is not False
        self._timeout = options.deploy_timeout
        self._config_app = Vespa(  # which gets no token
            options.config_server or _config_address(app),
            cert=app.cert,
            key=app.key,
            cert_content=app.cert_content,
            key_content=app.key_content,
        )
        # The path of the document that describes the collection.
        self.description = f"/document/v1/{name}-collection/{name}/docid/collection"

    def read(self) -> Steps[Collection | None]:
        """Return the collection, or None if it does not exist.

        Raises:
            SchemaMismatchError: If it is one of an older version that this one does not read.
            StoreError: If Vespa fails, or the description is damaged.
        """
        request = Request("GET", self.description, stored_fields)
        stored = yield from self._unless_missing(request)
        if stored is None:
            return None
        with reading(f"the description of the collection {self._name!r}"):
            return read_description(stored)

    def create(self, collection: Collection, *, adopt: bool) -> None:
        """Deploy the collection's schema if it is missing, and describe it in a document.

        Tested with Vespa's own container and configuration model, and with a config server that
        speaks the documented interface; never with a real config server, whose answers to changes
        that need a restart or a new feed were not seen.

        Raises:
            SchemaMismatchError: If the schema is missing or does not fit and may not be deployed,
                or it holds documents that no collection describes.
            StoreError: If Vespa fails.
        """
        problem = self._problem(collection)
        if problem is not None:
            if not self._may_deploy:
                raise SchemaMismatchError(
                    f"the schema {self._name!r} is not deployed, or does not fit: {problem}. "
                    "Deploy what trivec_vespa.write_application writes, or pass deploy=True"
                )
            self._deploy(collection)
        elif not adopt and (documents := self.documents()):
            raise SchemaMismatchError(
                f"the schema {self._name!r} holds {documents} documents that no collection "
                "describes: they were fed by other means, or written while another handle dropped "
                "the collection. Pass exist_ok=True to take them over, or drop() it first"
            )
        self._client.send(
            Request(
                "POST",
                self.description,
                acknowledged,
                lambda: {"fields": description_fields(collection)},
            )
        )

    def drop(self, in_pages: Callable[[Callable[[], Steps[bool]]], Steps[None]]) -> Steps[None]:
        """Delete all documents, also without a description; the schema stays deployed, empty.

        The description is deleted last. Until then nobody can create the collection anew, whose
        documents would be deleted too.
        """
        if not (yield from self._is_ours()):
            return
        for namespace in (self._name, f"{self._name}-collection"):
            path = f"/document/v1/{namespace}/{self._name}/docid"
            parameters: dict[str, str | int] = {"selection": "true", "cluster": self._cluster}
            yield from in_pages(partial(self._delete_page, path, parameters))

    def documents(self) -> int:
        """Return how many documents the schema holds; 0 if it cannot be asked."""
        body = {"yql": "select id from sources * where true", "hits": 0, "ranking": "unranked"}
        try:
            return self._client.send(query(body, self._name)).total
        except RefusedError as error:
            if error.by_vespa:
                return 0
            raise

    def _delete_page(self, path: str, parameters: dict[str, str | int]) -> Steps[bool]:
        """Delete one page of documents; return whether it was the last, else note the next one."""
        page = yield from ask(Request("DELETE", path, emptied, parameters=dict(parameters)))
        continuation = next_continuation(page, parameters.get("continuation"))
        if continuation is not None:
            parameters["continuation"] = continuation
        return continuation is None

    def _is_ours(self) -> Steps[bool]:
        """Return whether a schema of trivec is deployed under this name.

        It may hold documents without a description, if they were written after another handle
        dropped the collection.
        """
        try:
            if (yield from self.read()) is not None:
                return True
        except SchemaMismatchError:  # an older version wrote it
            return True
        yql = "select id from sources * where parts >= 0"
        body = {"yql": yql, "hits": 0, "ranking": "unranked"}
        request = query(body, self._name, allow_partial=True)
        return (yield from self._unless_missing(request)) is not None

    def _unless_missing(self, request: Request[T]) -> Steps[T | None]:
        """Send a request; return None if what it asks for does not exist."""
        try:
            answer: T = yield from ask(request)
        except NotFoundError:
            return None
        except RefusedError as error:  # Vespa has no such schema, or no such attribute
            if error.by_vespa:
                return None
            raise
        except StoreUnavailableError:
            # Until the first deployment only the config server listens.
            if self._may_deploy and not (yield from ask(self._application_exists)):
                return None
            raise
        return answer

    def _config_server(self) -> closing[Client]:
        return closing(Client(self._config_app, timeout=self._timeout))

    def _application_exists(self) -> bool:
        """Return whether an application is active; also if that cannot be found out."""
        with self._config_server() as server:
            try:
                return active_schemas(server) is not None
            except StoreError:
                return True

    def _problem(self, collection: Collection) -> str | None:
        """Return what the deployed application lacks for this collection, or None."""
        try:
            self._client.send(query(probe(collection), self._name))
        except (NotFoundError, StoreUnavailableError, RefusedError) as error:
            return self._as_problem(error)
        try:
            self._client.send(Request("GET", self.description, stored_fields))
        except NotFoundError:
            return None  # the description is written last
        except (StoreUnavailableError, RefusedError) as error:
            return self._as_problem(error)
        return None

    def _as_problem(self, error: StoreError) -> str:
        """Return what an error says, if a deployment may help."""
        if isinstance(error, StoreUnavailableError) and not self._may_deploy:
            raise error
        return str(error)

    def _deploy(self, collection: Collection) -> None:
        package = application_package(
            collection.schema, collection.fields, self._name, colbert=collection.colbert
        )
        with limited(self._timeout), self._config_server() as server:
            changes = check_nothing_is_lost(server, package)
            if changes and self.documents() > 0:
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


def _config_address(app: Vespa) -> str:
    parts = urlsplit(app.end_point)
    host = parts.hostname or "localhost"
    return f"{parts.scheme or 'http'}://{f'[{host}]' if ':' in host else host}:19071"
