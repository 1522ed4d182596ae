"""The encoders that a process has open."""

from __future__ import annotations

import copy
import gc
import multiprocessing
import pickle
import threading
import weakref
from typing import Any

import pytest

from trivec import Document, ingest, open_store
from trivec.encoders import known
from trivec.encoders.caching import CachingEncoder
from trivec.encoders.known import known_encoder, remember
from trivec.errors import EncoderUnavailableError, InvalidOptionError
from trivec.schema import Schema
from trivec.testing import HashEncoder


class Named(HashEncoder):
    """An encoder of any model."""

    def __init__(self, model: str) -> None:
        super().__init__()
        self.schema = Schema(dense=32, sparse=True, colbert=16, model=model)


class Server:
    """An encoder on a server, which says its model on the first request."""

    def __init__(self, model: str | None) -> None:
        self.model = model
        self.is_known = False
        self.requests = 0
        remember(self)

    @property
    def schema(self) -> Schema:
        if not self.is_known:
            self.requests += 1
        if self.model is None:
            raise EncoderUnavailableError("the server is down")
        self.is_known = True
        return Schema(dense=4, sparse=False, colbert=None, model=self.model)

    def tokens(self, text: str) -> list[Any]:
        return []


def found(model: str) -> object:
    return known_encoder(model)


@pytest.fixture(autouse=True)
def _nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "_known", [])


def test_the_newest_of_the_model() -> None:
    first, second, other = Named("m"), Named("m"), Named("other")
    assert known_encoder("m") is second
    remember(first)
    assert known_encoder("m") is first
    assert len(known._known) == 3
    assert known_encoder("other") is other


def test_an_encoder_lives_no_longer_for_it() -> None:
    gc.disable()
    try:
        encoder = Named("m")
        gone = weakref.ref(encoder)
        del encoder
        assert gone() is None
    finally:
        gc.enable()
    with pytest.raises(InvalidOptionError, match="no encoder of the model 'm'"):
        known_encoder("m")
    kept = [Named("other") for _ in range(3)]
    assert len(known._known) == len(kept)


def test_none_is_open() -> None:
    with pytest.raises(InvalidOptionError, match=r"open one and keep it.*open_encoder\('m'\)"):
        known_encoder("m")
    with pytest.raises(InvalidOptionError, match="any model"):
        known_encoder("")
    one = Named("b"), Named("a")
    with pytest.raises(InvalidOptionError, match=r"open: a, b\)"):
        known_encoder("m")
    assert known_encoder("") is one[1]


def test_an_unknown_name_may_be_the_same() -> None:
    unknown = Named("")
    assert known_encoder("m") is unknown
    exact = Named("m")
    Named("")
    remember(unknown)
    assert known_encoder("m") is exact


def test_a_server_is_asked_only_if_no_other_encoder_has_the_name() -> None:
    exact, server = Named("m"), Server("far")
    assert known_encoder("m") is exact
    assert server.requests == 0
    assert found("far") is server
    assert found("far") is server
    assert server.requests == 1
    unknown, near = Named(""), Server("near")
    assert found("near") is near
    down = Server(None)
    assert known_encoder("nowhere") is unknown
    del unknown
    with pytest.raises(InvalidOptionError, match="no encoder of the model 'nowhere'") as caught:
        known_encoder("nowhere")
    assert isinstance(caught.value.__cause__, EncoderUnavailableError)
    assert down.requests == 2


def test_what_lists_no_tokens_is_left_out() -> None:
    class Slots:
        __slots__ = ()

        def tokens(self, text: str) -> list[Any]:
            return []

    for value in (None, 3, HashEncoder, Slots(), object()):
        remember(value)
    assert known._known == []


def test_caches_and_ingestion_remember_the_encoder() -> None:
    one, two = Named("m"), Named("m")
    cache = CachingEncoder.sharing(one)
    assert known_encoder("m") is one
    remember(two)
    remember(cache)
    assert known_encoder("m") is one
    with open_store("memory:/known-ingest") as store:
        store.create(two.schema)
        ingest([Document("a", "blue whale")], two, store)
        assert known_encoder("m") is two
        ingest([Document("b", "blue whale")], cache, store)
        assert known_encoder("m") is one


def test_an_encoder_may_hold_another_one() -> None:
    class Wrapping(Named):
        encoder = object()

    wrapping = Wrapping("m")
    assert known_encoder("m") is wrapping

    class Embeddings:
        def __init__(self, encoder: HashEncoder) -> None:
            self.encoder = CachingEncoder.sharing(encoder)

    inner = Named("m")
    embeddings = Embeddings(inner)
    Named("m")
    remember(wrapping)
    remember(embeddings)
    assert known_encoder("m") is inner


def test_copies_and_pickles() -> None:
    encoder = Named("m")
    clone, copied = pickle.loads(pickle.dumps(encoder)), copy.deepcopy(encoder)
    assert known_encoder("m") is encoder
    remember(copied)
    assert known_encoder("m") is copied
    remember(clone)
    assert known_encoder("m") is clone


def test_many_threads() -> None:
    kept: list[Named] = []

    def work(name: str) -> None:
        for _ in range(200):
            mine = Named(name)
            assert known_encoder(name).schema.model == name
            kept.append(mine)

    threads = [threading.Thread(target=work, args=(f"m{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(known._known) == len(kept) == 800


def _child(encoder: HashEncoder, answers: Any) -> None:
    mine = Named("m")
    answers.put((known_encoder("m") is mine, known_encoder("hash") is encoder))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_a_lock_of_its_own() -> None:
    context = multiprocessing.get_context("fork")
    answers, encoder = context.SimpleQueue(), HashEncoder()
    with known._lock:  # as another thread may hold it while this one forks
        process = context.Process(target=_child, args=(encoder, answers))
        process.start()
    process.join(30)
    assert process.exitcode == 0
    assert answers.get() == (True, True)
