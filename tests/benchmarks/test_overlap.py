"""Whether ingestion takes as long as its slowest stage, not as long as all of them together.

The same documents in one run, in turns: encoded only, written only, and ingested, all in the parts
that `ingest` makes of its own accord. The encoder is a torch model of BGE-M3's kind with random
weights on one thread, which takes about as long as a server of 100 MB/s.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import psutil
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel

from trivec import Document, Encoder, IngestReport, Store, Vectors, ingest, open_store
from trivec.collection import Collection
from trivec.ingestion.options import BATCH_BYTES
from trivec.rows import spans

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1200)]

HIDDEN, LAYERS, COLBERT = 256, 2, 1024
DOCUMENTS, WORDS = 1640, 160
ROUNDS = 3
# Takes so many bytes in a second. 50e6 are 60 documents of 200 x 1,024 numbers, as many as a Qdrant
# server took on one core.
SERVER = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
import grpc
from qdrant_client import grpc as messages

done = messages.PointsOperationResponse(
    result=messages.UpdateResult(operation_id=1, status=messages.UpdateStatus.Completed), time=0.0
).SerializeToString()

class Sink(grpc.GenericRpcHandler):
    def service(self, handler_call_details):
        return grpc.unary_unary_rpc_method_handler(self.take)
    def take(self, request, context):
        time.sleep(len(request) / float(sys.argv[1]))
        return done

server = grpc.server(
    ThreadPoolExecutor(1), handlers=[Sink()], options=[("grpc.max_receive_message_length", -1)]
)
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
server.wait_for_termination()
"""
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Encoder]:
    """A random checkpoint: few layers, token vectors of BGE-M3's 1,024 dimensions."""
    folder = tmp_path_factory.mktemp("overlap") / "random-m3"
    words = [f"w{i}" for i in range(996)]
    tokenizer = Tokenizer(
        models.WordLevel({w: i for i, w in enumerate([*SPECIAL, *words])}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, bos_token="<s>", cls_token="<s>", pad_token="<pad>",
        eos_token="</s>", sep_token="</s>", unk_token="<unk>",
    ).save_pretrained(folder)  # fmt: skip
    torch.manual_seed(1)
    config = XLMRobertaConfig(
        vocab_size=1000,
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        intermediate_size=4 * HIDDEN,
        max_position_embeddings=514,
        type_vocab_size=1,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        layer_norm_eps=1e-5,
    )
    XLMRobertaModel(config, add_pooling_layer=False).save_pretrained(folder)
    for name, outputs in (("sparse_linear", 1), ("colbert_linear", COLBERT)):
        torch.save(torch.nn.Linear(HIDDEN, outputs).half().state_dict(), folder / f"{name}.pt")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Encoder.load(folder, precision="float32")
    torch.set_num_threads(threads)


@pytest.fixture(
    params=[None, 100e6, 50e6],
    ids=["the engine in this process", "a server of 100 MB/s", "a server of 50 MB/s"],
)
def new_store(
    request: pytest.FixtureRequest, tmp_path: Path, encoder: Encoder
) -> Iterator[Callable[[], Store]]:
    """Open an empty collection: its writes need this process, or mostly time."""
    if request.param is not None:
        command = [sys.executable, "-c", SERVER, str(request.param)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            port = int(server.stdout.readline())

            def opened() -> Store:
                store = open_store(f"qdrant://127.0.0.1:{port}/overlap", grpc_port=port)
                known = Collection(encoder.schema)
                backend: Any = store._handle.backend
                backend.describe = lambda declared: known
                return store

            yield opened
            server.terminate()
        return

    def created() -> Store:
        store = open_store(f"qdrant+edge:{tmp_path}/{uuid4().hex}/overlap")
        store.create(encoder.schema)
        return store

    yield created


def test_ingestion_overlaps(
    request: pytest.FixtureRequest,
    encoder: Encoder,
    new_store: Callable[[], Store],
    capsys: pytest.CaptureFixture[str],
) -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{i}" for i in rng.integers(100, 996, WORDS)) for _ in range(DOCUMENTS)]
    documents = [Document(f"d{i}", text, {"n": i}) for i, text in enumerate(texts)]
    lengths = np.array([len(text) for text in texts])
    parts = [slice(*span) for span in spans(lengths, BATCH_BYTES)]
    made: list[Vectors] = []
    reports: list[IngestReport] = []

    def encode_only() -> None:
        made[:] = [encoder.encode_documents(texts[part]) for part in parts]

    def write_only(store: Store) -> None:
        for part, vectors in zip(parts, made, strict=True):
            store.upsert(documents[part], vectors)

    def together(store: Store) -> None:
        reports.append(ingest(documents, encoder, store))
        assert reports[-1].documents == DOCUMENTS

    encode_only()  # warm, and what is written
    wall: dict[str, list[tuple[float, float]]] = {"encode": [], "write": [], "ingest": []}
    for _ in range(ROUNDS):
        wall["encode"].append(_seconds(encode_only))
        for name, work in (("write", write_only), ("ingest", together)):
            with new_store() as store:
                wall[name].append(_seconds(partial(work, store)))
    best = {name: min(seconds)[0] for name, seconds in wall.items()}
    cpu = {name: min(spent for _, spent in seconds) for name, seconds in wall.items()}
    larger = max(best["encode"], best["write"])
    # Of one run: what the stages took while they shared the machine, and the run around them.
    own = [r.seconds / max(r.encode_seconds, r.write_seconds) for r in reports]
    with capsys.disabled():
        print(
            f"\n{request.node.callspec.id}: {DOCUMENTS} documents of {WORDS} words, "
            f"{len(parts)} parts, "
            f"best of {ROUNDS}, "
            f"load {psutil.getloadavg()[0]:.1f}: encode only {best['encode']:.2f} s, write only "
            f"{best['write']:.2f} s, ingest {best['ingest']:.2f} s, which is "
            f"{best['ingest'] / larger:.2f} of the larger and "
            f"{best['ingest'] / (best['encode'] + best['write']):.2f} of the sum; "
            f"against the larger stage of the same run {min(own):.2f} to {max(own):.2f}, "
            f"median {statistics.median(own):.2f}; processor time {cpu['encode']:.2f} s, "
            f"{cpu['write']:.2f} s and {cpu['ingest']:.2f} s"
        )


def _seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Return the wall time and the processor time of this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu
