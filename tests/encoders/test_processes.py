"""Encoders in forked processes, in pickles and in copies."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from trivec import Encoder
from trivec.encoders import CachingEncoder
from trivec.encoders.processes import survives_fork
from trivec.testing import HashEncoder

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")

# A server that loads its model, warms it up with two threads and forks its workers, which fork
# again. Each compares its vectors with those of the first process.
PROGRAM = """
import asyncio, multiprocessing, os, sys, warnings
import numpy as np
import torch
from trivec import Encoder
from trivec.encoders import CachingEncoder

warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)
folder, precision = sys.argv[1:]
torch.set_num_threads(2)
encoder = Encoder.load(folder, device="cpu", precision=precision)
cached = CachingEncoder(encoder)
texts = ["kalo " * n for n in (1, 40, 300)]
wanted = encoder.encode_documents(texts)
cached.encode_documents(texts[:1])
asyncio.run(encoder.aencode_documents(texts))

def same(vectors):
    assert np.array_equal(vectors.dense, wanted.dense)
    assert np.array_equal(vectors.colbert.values, wanted.colbert.values)
    assert np.array_equal(vectors.sparse.indices, wanted.sparse.indices)
    assert np.array_equal(vectors.sparse.values, wanted.sparse.values)

def check():
    assert torch.get_num_threads() == 2
    same(encoder.encode_documents(texts))
    same(asyncio.run(encoder.aencode_documents(texts)))
    same(cached.encode_documents(texts))
    same(Encoder.load(folder, device="cpu", precision=precision).encode_documents(texts))

def check_and_fork():
    check()
    child = os.fork()
    if not child:
        try:
            check()
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0

worker = multiprocessing.get_context("fork").Process(target=check_and_fork)
worker.start()
worker.join()
assert worker.exitcode == 0
check()
print("done")
"""


@needs_fork
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_forked_process_encodes_with_all_its_threads(m3: Path, precision: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(m3), precision],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "OMP_WAIT_POLICY": "passive"},
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_does_not_wait_for_threads_that_it_lacks() -> None:
    class Slow(HashEncoder):
        def encode_documents(self, texts: object) -> object:  # type: ignore[override]
            started.set()
            go.wait(60)
            return super().encode_documents(texts)  # type: ignore[arg-type]

    started, go = threading.Event(), threading.Event()
    cached = CachingEncoder(Slow())  # type: ignore[arg-type]
    busy = threading.Thread(target=cached.encode_documents, args=(["a whale"],))
    busy.start()
    started.wait()
    with cached._lock, CachingEncoder._sharing:  # as if another thread were just looking
        child = os.fork()
        if not child:
            go.set()
            CachingEncoder.sharing(HashEncoder())
            os._exit(len(cached.encode_documents(["a whale"])) - 1)
    go.set()
    busy.join()
    deadline = threading.Event()
    done, status = 0, -1
    for _ in range(600):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        deadline.wait(0.1)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert done == child
    assert status == 0


def test_survives_fork_passes_errors_and_results_through() -> None:
    @survives_fork
    def divide(one: int, *, by: int) -> float:
        return one / by

    assert divide(1, by=2) == 0.5
    with pytest.raises(ZeroDivisionError):
        divide(1, by=0)


def test_a_pickle_loads_the_same_encoder_again(
    m3: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(m3.parent)
    encoder = Encoder.load(
        m3.name,
        device="cpu",
        precision="auto",
        name="mine",
        mcls=True,
        colbert_dtype="float16",
        batch_tokens=77,
    )
    encoder.query_instruction = "query: "
    pickled = pickle.dumps(encoder)
    assert len(pickled) < 4096
    monkeypatch.chdir(tmp_path)  # as a worker elsewhere
    again = pickle.loads(pickled)
    assert again is not encoder
    assert repr(again) == repr(encoder)
    assert again.schema == encoder.schema
    assert again.options == encoder.options
    assert again.max_length == encoder.max_length
    assert again._batch_tokens == 77
    found, wanted = again.encode_query("kalo mine"), encoder.encode_query("kalo mine")
    np.testing.assert_array_equal(found.dense, wanted.dense)
    np.testing.assert_array_equal(found.colbert, wanted.colbert)
    assert found.colbert.dtype == np.float16
    assert found.sparse == wanted.sparse
    # A copy of a copy, and with what "auto" was, not what it would be elsewhere.
    assert pickle.loads(pickle.dumps(again)).query_instruction == "query: "
    assert encoder._arguments is not None
    assert encoder._arguments["precision"] == encoder.precision.value


def test_a_pickled_cache_is_empty_and_keeps_its_limit(m3: Path) -> None:
    cached = CachingEncoder(Encoder.load(m3, device="cpu", precision="int8"), max_bytes=12_345)
    cached.encode_documents(["kalo"])
    again = pickle.loads(pickle.dumps(cached))
    assert repr(again) == repr(cached)
    assert not again._rows
    assert dict(again.options) == dict(cached.options) == {"precision": "int8"}


def test_copies_share_the_weights(m3: Path) -> None:
    encoder = Encoder.load(m3, device="cpu", precision="float32")
    cached = CachingEncoder(encoder)
    for one in (encoder, cached):
        assert copy.copy(one) is one
        assert copy.deepcopy([one])[0] is one


def test_an_encoder_that_was_not_loaded_cannot_be_pickled(m3: Path) -> None:
    loaded = Encoder.load(m3, device="cpu", precision="float32")
    made = Encoder(
        loaded._backbone,
        loaded._heads,
        loaded._tokenizer,
        schema=loaded.schema,
        precision=loaded.precision,
    )
    with pytest.raises(TypeError, match=r"cannot pickle this Encoder, .* Encoder\.load"):
        pickle.dumps(made)
