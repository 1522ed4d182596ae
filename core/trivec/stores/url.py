"""The URL of a collection: which database, where, and the collection's name."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from trivec.addresses import PORTS, host_name, redacted
from trivec.arguments import described
from trivec.colbert_storage import ColbertStorage
from trivec.errors import InvalidOptionError

_SCHEME = re.compile(r"([a-z][a-z0-9]*(?:\+[a-z0-9]+)?):(.+)", re.DOTALL)
_MOST_BYTES, _MOST_NAME_BYTES = 4096, 255  # of a path and of a name in it, on Linux
_REPEATED = 200  # characters of a URL that an error repeats

_COLBERT = "?colbert="
_ITEM = re.compile(r"\s*(?:bits|pool|prune)\s*=\s*[-+.\de/]*\s*")  # holds no secret
_OPTION_OF_A_NAME = re.compile(r"(\?\w+=)[^/?]*\Z")


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """The parts of a store's URL.

    Args:
        scheme: Which store, such as "qdrant" or "milvus+lite".
        name: The collection.
        host: The server, or None for an embedded store.
        port: The port, where the URL has one.
        path: The folder or file of an embedded store, or None.
        colbert: How the collection keeps token vectors, where the URL says so.
    """

    scheme: str
    name: str
    host: str | None = None
    port: int | None = None
    path: Path | None = None
    colbert: ColbertStorage | None = None

    @classmethod
    def parse(cls, url: str) -> StoreUrl:
        """Read `scheme://host:port/name` or `scheme:PATH/name`, either with `?colbert=…` after it.

        Raises:
            InvalidOptionError: If the URL has neither form, or holds a password or another option.

        Example:
            >>> url = StoreUrl.parse("qdrant+edge:./data/articles?colbert=bits=4,pool=2")
            >>> url.scheme, str(url.path), url.name, str(url.colbert)
            ('qdrant+edge', 'data', 'articles', 'bits=4,pool=2')

        A `~` at the start of a path is the home folder. A folder of an embedded store may have any
        name, also one with a `?`.
        """
        address, colbert = _split_option(url) if isinstance(url, str) else ("", None)
        match = _SCHEME.fullmatch(address)
        if match is None or address != address.strip() or not url.isprintable():
            raise InvalidOptionError(
                f"{without_secrets(url)} is not the URL of a store; expected such as 'qdrant://localhost:6333/name'"
                " or 'qdrant+edge:./folder/name', without white space around it"
            )
        return replace(cls._parsed(address, *match.groups()), colbert=colbert)

    @classmethod
    def _parsed(cls, url: str, scheme: str, rest: str) -> StoreUrl:
        marks = "@?#" if rest.startswith("//") else "" if _is_embedded(scheme) else "@?#="
        if set(marks) & set(rest) or (not marks and _OPTION_OF_A_NAME.search(rest)):
            raise InvalidOptionError(
                f"{without_secrets(url)}: credentials and options do not belong in a URL, where "
                "logs show them; use the store's options or its environment variables"
            )
        if rest.startswith("//"):
            if _is_embedded(scheme):
                given, meant = without_secrets(url), _without_slashes(scheme, rest)
                if given != repr(url):  # it may hold a secret, which would be repeated
                    meant = f"{scheme}:FOLDER/name"
                raise InvalidOptionError(
                    f"{given}: {scheme} speaks to no server, so no // follows it; write {meant!r}"
                )
            return cls._server(scheme, url)
        if "\\" in rest:
            raise InvalidOptionError(
                f"{without_secrets(url)}: folders are separated by /; "
                f"write {without_secrets(url.replace(chr(92), '/'))}"
            )
        folder, _, name = rest.rpartition("/")
        if not name:
            raise InvalidOptionError(
                f"{without_secrets(url)} ends without the name of a collection; "
                f"expected {scheme}:FOLDER/name"
            )
        if name in (".", ".."):
            raise InvalidOptionError(
                f"{without_secrets(url)}: {name!r} cannot be the name of a collection"
            )
        return cls(scheme, name, path=_path(url, scheme, rest, folder))

    def __str__(self) -> str:
        """The URL with its path made absolute: the same wherever the program runs."""
        return self.address if self.colbert is None else f"{self.address}{_COLBERT}{self.colbert}"

    @property
    def address(self) -> str:
        """The URL with its path made absolute and without its option: where the collection is."""
        if self.host is not None:
            port = "" if self.port is None else f":{self.port}"
            host = f"[{self.host}]" if ":" in self.host else self.host
            return f"{self.scheme}://{host}{port}/{self.name}"
        folder = "" if self.path is None else self.path.resolve().as_posix()
        return f"{self.scheme}:{folder}/{self.name}"

    @classmethod
    def _server(cls, scheme: str, url: str) -> StoreUrl:
        given = without_secrets(url)
        form = (
            f"the form {scheme}://host:port/name, with an IPv6 address in brackets and a port from "
            f"{PORTS[0]} to {PORTS[-1]}"
        )
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            # Its message may repeat a password, so it is no cause either.
            raise InvalidOptionError(f"{given} must have {form}") from None
        name = parts.path.strip("/")
        if parts.hostname and not name:
            raise InvalidOptionError(
                f"{given} ends without the name of a collection; expected {scheme}://host:port/name"
            )
        host = host_name(parts.hostname or "", in_brackets="[" in parts.netloc)
        bad_port = port is not None and port not in PORTS
        if host is None or bad_port or "/" in name or parts.fragment:
            raise InvalidOptionError(f"{given} must have {form}")
        return cls(scheme, name, host=host, port=port)


def _split_option(url: str) -> tuple[str, ColbertStorage | None]:
    """Return a URL without its option, and the option.

    >>> _split_option("memory:/articles?colbert=bits=1,prune=1/3")
    ('memory:/articles', ColbertStorage(bits=1, pool=1, prune=0.3333333333333333))
    >>> _split_option("archive:./odd?colbert=folder/articles")
    ('archive:./odd?colbert=folder/articles', None)
    """
    address, mark, text = url.rpartition(_COLBERT)
    if not mark:
        return url, None
    is_known = all(map(_ITEM.fullmatch, text.split(",")))
    is_path = "/" in text and "=" not in text and _is_embedded(url.partition(":")[0])
    if not is_known and is_path:
        return url, None  # a folder of that name
    if not is_known:
        raise InvalidOptionError(
            f"{without_secrets(address)} is followed by {_COLBERT} with something else than some "
            "of bits=…, pool=… and prune=…; expected such as '?colbert=bits=1,pool=2'"
        )
    try:
        return address, ColbertStorage.parse(text)
    except InvalidOptionError as error:
        raise InvalidOptionError(f"{without_secrets(address)}: {error}") from error


def without_secrets(url: object) -> str:
    """Return a URL for an error message, without anything that may be a password or a key.

    Left out is everything before an `@`, everything after a `?`, `#` or `=`, and a port that is no
    number. The path of an embedded store is shown as it is, without an option after the name.

    >>> without_secrets("qdrant://me:secret@host:6333/name?api_key=secret")
    "'qdrant://…@host:6333/name?…'"
    >>> without_secrets("qdrant://me:secret/name")
    "'qdrant://me:…/name'"
    """
    if not isinstance(url, str):
        return described(url)
    match = _SCHEME.fullmatch(url)
    if match is not None and _is_embedded(match[1]) and not match[2].startswith("//"):
        text = _OPTION_OF_A_NAME.sub(r"\1…", url)
    else:
        begin = match.end(1) + 1 if match else 0
        head, text = url[:begin], url[begin:]
        text = head + redacted(text)
    return repr(text if len(text) <= _REPEATED else f"{text[:_REPEATED]}…")


def _is_embedded(scheme: str) -> bool:
    """Return whether a scheme names no server, as "memory" and "qdrant+edge" do."""
    return "+" in scheme or scheme in ("memory", "archive")


def _without_slashes(scheme: str, rest: str) -> str:
    """Return the URL that was probably meant by one with `//`."""
    path = rest.lstrip("/")
    if rest.startswith("///") or (_is_in_memory(scheme) and "/" not in path):
        path = f"/{path}"
    return f"{scheme}:{path}"


def _is_in_memory(scheme: str) -> bool:
    return scheme.rpartition("+")[2] == "memory"


def _path(url: str, scheme: str, rest: str, folder: str) -> Path | None:
    """Return the folder of a URL, if it names one."""
    if not folder:
        return Path("/") if rest.startswith("/") and not _is_in_memory(scheme) else None
    if _is_in_memory(scheme):
        raise InvalidOptionError(
            f"{without_secrets(url)}: a collection in memory has no folder; write '{scheme}:/name'"
        )
    parts = rest.encode().split(b"/")
    if len(rest.encode()) > _MOST_BYTES or max(map(len, parts)) > _MOST_NAME_BYTES:
        raise InvalidOptionError(
            f"{without_secrets(url)}: a path has at most {_MOST_BYTES} bytes, and a name in it "
            f"{_MOST_NAME_BYTES}"
        )
    try:
        return Path(folder).expanduser()
    except RuntimeError as error:
        raise InvalidOptionError(f"{without_secrets(url)}: {error}") from error
