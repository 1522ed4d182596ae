"""Exported models: the same vectors without torch, and folders that are no export."""

from __future__ import annotations

import copy
import json
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from trivec import Encoder, Vectors, open_store
from trivec.cli.app import app
from trivec.cli.models import load_encoder
from trivec.encoders import OnnxEncoder, Truncation
from trivec.encoders.registry import open_encoder
from trivec.errors import (
    CheckpointError,
    InvalidInputError,
    InvalidOptionError,
    MissingDependencyError,
    OutputError,
)

pytest.importorskip("onnxruntime", reason="onnxruntime, of the extra [onnx], is not installed")
onnx: Any = pytest.importorskip("onnx", reason="onnx, of the extra [onnx], is not installed")

from trivec.encoders.onnx_export import check_export_folder, export_model  # noqa: E402
from trivec.encoders.onnx_files import DATA, FILES, GRAPH, SETTINGS, TOKENIZER  # noqa: E402

ROOT = Path(__file__).parents[2]
LENGTHS = [0, 1, 2, 3, 7, 7, 7, 7, 16, 33, 33, 100, 257, 600, 600, 1500]

RandomText = Callable[[int, int], str]
Copy = Callable[[Path], Path]


@pytest.fixture(scope="session")
def exported(m3: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports") / "m3-onnx"
    export_model(m3, folder)
    return folder


@pytest.fixture(scope="session")
def exported_bert(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports") / "bert-onnx"
    export_model(bert, folder)
    return folder


@pytest.fixture(scope="session")
def texts(random_text: RandomText) -> list[str]:
    """Texts of many lengths; names of special tokens are special tokens in a text too."""
    plain = [random_text(length, seed) for seed, length in enumerate(LENGTHS)]
    return [*plain, "<pad> kalo <pad> <s> miru", "kalo </s> unknown <unk>"]


def assert_close(actual: Vectors, expected: Vectors) -> None:
    assert (actual.dense is None) == (expected.dense is None)
    if actual.dense is not None and expected.dense is not None:
        np.testing.assert_allclose(actual.dense, expected.dense, atol=1e-5, rtol=0)
    assert (actual.sparse is None) == (expected.sparse is None)
    if actual.sparse is not None and expected.sparse is not None:
        np.testing.assert_array_equal(actual.sparse.indptr, expected.sparse.indptr)
        np.testing.assert_array_equal(actual.sparse.indices, expected.sparse.indices)
        np.testing.assert_allclose(actual.sparse.values, expected.sparse.values, atol=1e-5, rtol=0)
    assert (actual.colbert is None) == (expected.colbert is None)
    if actual.colbert is not None and expected.colbert is not None:
        tokens, same = actual.colbert, expected.colbert
        np.testing.assert_array_equal(tokens.indptr, same.indptr)
        np.testing.assert_allclose(tokens.values, same.values, atol=1e-5, rtol=0)
        assert tokens.weights is not None
        assert same.weights is not None
        np.testing.assert_allclose(tokens.weights, same.weights, atol=1e-5, rtol=0)


def both(checkpoint: Path, folder: Path, **options: Any) -> tuple[OnnxEncoder, Encoder]:
    original = Encoder.load(checkpoint, device="cpu", precision="float32", **options)
    return OnnxEncoder.load(folder, threads=1, **options), original


def test_documents_and_queries_are_those_of_the_checkpoint(
    m3: Path, exported: Path, texts: list[str]
) -> None:
    encoder, original = both(m3, exported)
    assert encoder.schema == original.schema
    assert (encoder.max_length, encoder.options) == (original.max_length, original.options)
    assert_close(encoder.encode_documents(texts), original.encode_documents(texts))
    assert_close(encoder.encode_queries(texts), original.encode_queries(texts))
    assert encoder.tokens(texts[-1]) == original.tokens(texts[-1])
    assert len(encoder.encode_documents([])) == 0


def test_a_text_alone_is_as_in_a_batch(exported: Path, texts: list[str]) -> None:
    encoder = OnnxEncoder.load(exported, threads=1)
    together = encoder.encode_documents(texts)
    alone = Vectors.concatenate([encoder.encode_documents([text]) for text in texts])
    assert_close(alone, together)


def test_a_text_of_the_longest_length(m3: Path, exported: Path, random_text: RandomText) -> None:
    encoder, original = both(m3, exported)
    texts = [random_text(9000, 0), random_text(5, 1)]
    seen: list[Truncation] = []
    actual = encoder.encode_documents(texts, on_truncate=seen.extend)
    assert seen == [Truncation(0, 9002, 8192)]
    assert_close(actual, original.encode_documents(texts, on_truncate=seen.extend))


def test_options_of_calls(m3: Path, exported: Path, random_text: RandomText) -> None:
    encoder, original = both(m3, exported, query_instruction="kalo miru ", batch_tokens=40)
    texts = [random_text(length, length) for length in (50, 10, 3, 3)]
    done: list[tuple[int, int]] = []
    for dense, sparse, colbert in ((True, False, False), (False, True, True), (False, False, True)):
        parts = {"dense": dense, "sparse": sparse, "colbert": colbert}
        options: dict[str, Any] = {**parts, "max_length": 20, "on_truncate": lambda texts: None}
        assert_close(
            encoder.encode_queries(texts, progress=lambda *step: done.append(step), **options),
            original.encode_queries(texts, **options),
        )
    assert done[-1] == (4, 4)
    with pytest.raises(InvalidOptionError, match="no part is left"):
        encoder.encode_query("kalo", dense=False, sparse=False, colbert=False)
    with pytest.raises(InvalidOptionError, match="at least 3"):
        encoder.encode_query("kalo", max_length=2)


def test_bert_with_its_instruction(
    bert: Path, exported_bert: Path, random_text: RandomText
) -> None:
    encoder, original = both(bert, exported_bert)
    assert encoder.query_instruction.startswith("Represent this sentence")
    assert encoder.max_length == 64
    texts = [random_text(length, length) for length in (0, 1, 9, 9, 30, 80)]
    quiet: Any = {"on_truncate": lambda texts: None}
    assert_close(
        encoder.encode_documents(texts, **quiet), original.encode_documents(texts, **quiet)
    )
    assert_close(encoder.encode_queries(texts, **quiet), original.encode_queries(texts, **quiet))
    with pytest.raises(CheckpointError, match="sparse=True"):
        encoder.encode_query("kalo", sparse=True)


@pytest.mark.parametrize("include", [True, False])
def test_mean_pooling_after_an_instruction(
    m3: Path,
    copy: Copy,
    declare_pooling: Callable[[Path, str], None],
    tmp_path: Path,
    random_text: RandomText,
    include: bool,
) -> None:
    folder = copy(m3)
    declare_pooling(folder, "mean")
    config = folder / "1_Pooling" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "include_prompt": include}))
    export_model(folder, tmp_path / "onnx")
    encoder, original = both(folder, tmp_path / "onnx", document_instruction="kalo miru: ")
    texts = [random_text(length, length) for length in (0, 1, 5, 5, 40)]
    for length in (None, 3):
        options: Any = {"max_length": length, "on_truncate": lambda texts: None}
        assert_close(
            encoder.encode_documents(texts, **options), original.encode_documents(texts, **options)
        )


@pytest.fixture
def tuned(m3: Path, copy: Copy) -> Path:
    """A checkpoint without heads."""
    folder = copy(m3)
    for head in ("sparse_linear", "colbert_linear"):
        (folder / f"{head}.pt").unlink()
    return folder.rename(folder.parent / "tuned")


def assert_same_model(encoder: OnnxEncoder, original: Encoder, texts: list[str]) -> None:
    assert encoder.schema == original.schema
    assert encoder.options == original.options
    assert encoder.max_length == original.max_length
    quiet: Any = {"on_truncate": lambda texts: None}
    found = encoder.encode_documents(texts, **quiet)
    assert_close(found, original.encode_documents(texts, **quiet))
    assert found.dense is not None
    np.testing.assert_allclose(np.linalg.norm(found.dense, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"heads": True},
        {"truncate_dim": 8},
        {"heads": True, "truncate_dim": 8, "max_length": 9},
        {"heads": True, "truncate_dim": 8, "in_name": True},
        {"heads": True, "name": "mine"},
        {"max_length": 10**6},
    ],
)
def test_variants(
    m3: Path, tuned: Path, tmp_path: Path, random_text: RandomText, options: dict[str, Any]
) -> None:
    options = dict(options)
    model = str(tuned)
    if "heads" in options:
        options["heads"] = m3
    if options.pop("in_name", False):
        model += f"?heads={options.pop('heads')}&truncate_dim={options.pop('truncate_dim')}"
    settings = export_model(model, tmp_path / "onnx", **options)
    original = Encoder.load(model, device="cpu", precision="float32", **options)
    assert settings.model == original.schema.model
    texts = [random_text(length, length) for length in (0, 1, 5, 5, 40)]
    encoder = OnnxEncoder.load(tmp_path / "onnx", threads=1)
    assert_same_model(encoder, original, texts)
    if "name" not in options:
        with pytest.raises(CheckpointError, match="holds an exported model, not a checkpoint"):
            open_encoder(f"{tmp_path / 'onnx'}?truncate_dim=4")


@pytest.mark.parametrize("mode", ["cls", "mean"])
def test_the_checkpoints_own_truncate_dim(
    m3: Path,
    copy: Copy,
    tmp_path: Path,
    declare_pooling: Callable[[Path, str], None],
    random_text: RandomText,
    mode: str,
) -> None:
    folder = copy(m3)
    declare_pooling(folder, mode)
    (folder / "config_sentence_transformers.json").write_text('{"truncate_dim": 16}')
    texts = [random_text(length, length) for length in (0, 3, 20)]
    variants: list[Any] = [{}, {"truncate_dim": 32}, {"truncate_dim": 8}]
    for options in variants:
        name = f"onnx{len(str(options))}{options.get('truncate_dim')}"
        export_model(folder, tmp_path / name, **options)
        original = Encoder.load(folder, device="cpu", precision="float32", **options)
        assert original.schema.dense == options.get("truncate_dim", 16)
        encoder = OnnxEncoder.load(tmp_path / name, threads=1)
        assert_same_model(encoder, original, texts)
        assert pickle.loads(pickle.dumps(encoder)).schema == encoder.schema


def test_the_length_of_texts_at_loading(
    m3: Path, exported: Path, tmp_path: Path, random_text: RandomText
) -> None:
    texts = [random_text(50, 1)]
    export_model(m3, tmp_path / "onnx", max_length=20)
    for length in (None, 10, 8192, 10**6):
        chosen: Any = {} if length is None else {"max_length": length}
        assert_same_model(*both(m3, exported, **chosen), texts)
        encoder = OnnxEncoder.load(tmp_path / "onnx", threads=1, **chosen)
        chosen = chosen or {"max_length": 20}
        original = Encoder.load(m3, device="cpu", precision="float32", **chosen)
        assert_same_model(encoder, original, texts)
    wrong: Any
    for wrong in (0, 2, "10", True):
        with pytest.raises(InvalidOptionError, match="max_length"):
            OnnxEncoder.load(exported, max_length=wrong)
        with pytest.raises(InvalidOptionError, match="max_length"):
            export_model(m3, tmp_path / "no", max_length=wrong)
    for wrong in (0, 33, "8", True):
        with pytest.raises(InvalidOptionError, match="truncate_dim"):
            export_model(m3, tmp_path / "no", truncate_dim=wrong)
    assert not (tmp_path / "no").exists()


def test_heads_that_would_replace_others(m3: Path, tuned: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="heads of its own"):
        export_model(m3, tmp_path / "onnx", heads=m3)
    with pytest.raises(InvalidOptionError, match="which is read"):
        export_model(tuned, m3 / "inside", heads=m3)
    with pytest.raises(InvalidOptionError, match="truncate_dim is given twice"):
        export_model(f"{tuned}?truncate_dim=4", tmp_path / "onnx", truncate_dim=4)
    assert not (tmp_path / "onnx").exists()


def test_weights_under_the_texts_of_their_tokens(m3: Path, exported: Path) -> None:
    encoder, original = both(m3, exported)
    sparse = encoder.encode_query("kalo miru neru").sparse
    assert sparse
    assert encoder.convert_id_to_token(sparse) == original.convert_id_to_token(sparse)
    assert set(encoder.convert_id_to_token(sparse)) <= {"kalo", "miru", "neru"}
    with pytest.raises(InvalidInputError, match="no token of this model"):
        encoder.convert_id_to_token({10**6: 0.5})


def test_the_command_line(m3: Path, tuned: Path, tmp_path: Path) -> None:
    def run(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    folder = tmp_path / "onnx"
    done = run("export", tuned, folder, "--heads", m3, "--truncate-dim", 8, "--max-length", 9)
    assert done.exit_code == 0, done.output
    (tmp_path / "rows.jsonl").write_text('{"id": "1", "text": "kalo miru"}\n', encoding="utf-8")
    rows, url = tmp_path / "rows.jsonl", "memory:/exported"
    with open_store(url) as store:
        done = run("ingest", rows, url, "--model", folder)
        assert done.exit_code == 0, done.output
        assert store.schema.model == f"tuned?heads={m3.name}&truncate_dim=8"
        assert (store.schema.dense, store.schema.parts) == (8, ("dense", "sparse", "colbert"))
        done = run("search", url, "kalo", "--model", folder, "--json")
        assert done.exit_code == 0, done.output
        done = run("search", url, "kalo", "--model", folder, "--device", "cuda")
        assert "runs on the CPU in float32" in " ".join(done.stderr.split())
        store.drop()


def test_packages_that_are_not_installed(
    exported: Path, m3: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match=r"onnxruntime.*trivec\[onnx\]"):
        open_encoder(exported)
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delitem(sys.modules, "trivec.encoders.onnx_graph", raising=False)
    with pytest.raises(MissingDependencyError, match=r"exporting needs onnx.*trivec\[onnx\]"):
        export_model(m3, tmp_path / "onnx")
    assert list(tmp_path.iterdir()) == []


def test_texts_that_are_lowered_and_cut_at_the_start(
    m3: Path, copy: Copy, tmp_path: Path, random_text: RandomText
) -> None:
    folder = copy(m3)
    config = folder / "tokenizer_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "truncation_side": "left"}))
    (folder / "sentence_bert_config.json").write_text('{"do_lower_case": true}')
    export_model(folder, tmp_path / "onnx", name="lowered")
    encoder, original = both(folder, tmp_path / "onnx")
    assert encoder.model == "lowered"
    texts = [random_text(12, 3).upper(), "KaLo"]
    options: Any = {"max_length": 8, "on_truncate": lambda texts: None}
    assert_close(
        encoder.encode_queries(texts, **options), original.encode_queries(texts, **options)
    )
    assert encoder.tokens(texts[0], max_length=8) == original.tokens(texts[0], max_length=8)


async def test_concurrent_calls(exported: Path, texts: list[str]) -> None:
    encoder = OnnxEncoder.load(exported, threads=1)
    assert_close(await encoder.aencode_documents(texts), encoder.encode_documents(texts))
    assert_close(await encoder.aencode_queries(texts), encoder.encode_queries(texts))
    question = await encoder.aencode_query("kalo")
    expected = encoder.encode_query("kalo").dense
    assert question.dense is not None
    assert expected is not None
    np.testing.assert_allclose(question.dense, expected, atol=1e-6)


def test_the_command_line_takes_an_exported_model(exported: Path) -> None:
    encoder = load_encoder(str(exported), "auto", "auto", "mine", 10)
    assert isinstance(encoder, OnnxEncoder)
    assert (encoder.model, encoder.max_length) == ("mine", 10)


def test_copies_and_pickles(exported: Path) -> None:
    encoder = OnnxEncoder.load(exported, name="other", threads=1)
    assert copy.deepcopy(encoder) is encoder
    again = pickle.loads(pickle.dumps(encoder))
    assert again.schema == encoder.schema
    assert_close(again.encode_documents(["kalo"]), encoder.encode_documents(["kalo"]))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_process_can_encode(exported: Path) -> None:
    encoder = OnnxEncoder.load(exported, threads=2)
    expected = encoder.encode_documents(["kalo miru"])
    context = multiprocessing.get_context("fork")
    answers: Any = context.SimpleQueue()
    child = context.Process(
        target=lambda: answers.put(encoder.encode_documents(["kalo miru"]).dense), daemon=True
    )
    child.start()
    child.join(60)
    assert child.exitcode == 0
    np.testing.assert_array_equal(answers.get(), expected.dense)


WITHOUT_TORCH = """
import sys

BLOCKED = ("torch", "transformers", "onnx", "huggingface_hub")

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Blocker())
from trivec.encoders.registry import open_encoder

encoder = open_encoder(sys.argv[1], threads=1)
encoder.encode_documents(["kalo miru", "neru"]).save(sys.argv[2])
assert not set(BLOCKED) & set(sys.modules)
"""


def test_no_torch_is_needed(exported: Path, tmp_path: Path) -> None:
    output = tmp_path / "vectors.safetensors"
    paths = os.pathsep.join([path for path in sys.path if path])
    subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(exported), str(output)],
        check=True,
        env={**os.environ, "PYTHONPATH": paths},
        timeout=200,
    )
    here = OnnxEncoder.load(exported, threads=1)
    assert_close(Vectors.load(output), here.encode_documents(["kalo miru", "neru"]))


def test_a_folder_is_recognised(m3: Path, exported: Path) -> None:
    encoder = open_encoder(exported, threads=1)
    assert isinstance(encoder, OnnxEncoder)
    assert encoder.schema.model == m3.name
    with pytest.raises(CheckpointError, match=r"open_encoder or OnnxEncoder\.load"):
        Encoder.load(exported)
    with pytest.raises(InvalidOptionError, match="unknown option revision; known are device"):
        open_encoder(exported, revision="main")
    with pytest.raises(CheckpointError, match="exported model already"):
        export_model(exported, exported.parent / "twice")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cuda"}, "'cuda'; expected 'auto' or 'cpu'"),
        ({"precision": "int8"}, "'int8'; expected 'auto' or 'float32'"),
        ({"threads": 0}, "threads"),
        ({"batch_tokens": 0}, "batch_tokens"),
        ({"colbert_dtype": "int8"}, "float32 or float16"),
    ],
)
def test_options_that_are_wrong(exported: Path, options: Any, message: str) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        OnnxEncoder.load(exported, **options)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "other"])
def test_damaged_files(
    exported: Path, exported_bert: Path, copy: Copy, name: str, damage: str
) -> None:
    folder = copy(exported)
    path = folder / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        shutil.copy(exported_bert / name, path)
    with pytest.raises(CheckpointError, match=rf"{name} is"):
        OnnxEncoder.load(folder)


def test_a_bit_of_the_tensors_that_changed(exported: Path, copy: Copy) -> None:
    folder = copy(exported)
    content = bytearray((folder / DATA).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / DATA).write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged or of another model"):
        OnnxEncoder.load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format=2, expected 1"),
        ({"opset": 99}, "opset=99, expected 17"),
        ({"settings": None}, "model=None"),
        ({"files": []}, "model.onnx is not the file"),
    ],
)
def test_settings_that_are_wrong(exported: Path, copy: Copy, change: Any, message: str) -> None:
    folder = copy(exported)
    content = json.loads((folder / SETTINGS).read_text())
    (folder / SETTINGS).write_text(json.dumps({**content, **change}))
    with pytest.raises(CheckpointError, match=message):
        OnnxEncoder.load(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(
            ("dense", -1),
            ("dense", 33),
            ("hidden", None),
            ("heads", 1),
            ("sparse", 1),
            ("colbert", "16"),
            ("pooling", "max"),
            ("pooling", []),
        ),
        *(("special_ids", [None]), ("padding", True), ("max_length", 2**40), ("revision", 5)),
    ],
)
def test_a_setting_that_is_wrong(exported: Path, copy: Copy, key: str, value: Any) -> None:
    folder = copy(exported)
    content = json.loads((folder / SETTINGS).read_text())
    content["settings"][key] = value
    (folder / SETTINGS).write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=f"has {key}="):
        OnnxEncoder.load(folder)


def forge(folder: Path, name: str) -> None:
    """Make the settings accept a file that was changed."""
    from trivec.encoders.onnx_files import fingerprint

    content = json.loads((folder / SETTINGS).read_text())
    content["files"][name] = fingerprint(folder / name)
    (folder / SETTINGS).write_text(json.dumps(content))


def test_a_graph_that_the_runtime_refuses(exported: Path, exported_bert: Path, copy: Copy) -> None:
    folder = copy(exported)
    graph = onnx.load_model(str(folder / GRAPH), load_external_data=False)
    graph.opset_import[0].version = 9999
    onnx.save_model(graph, str(folder / GRAPH))
    forge(folder, GRAPH)
    with pytest.raises(CheckpointError, match=r"onnxruntime \S+ cannot read"):
        OnnxEncoder.load(folder)
    for name in (GRAPH, DATA):
        shutil.copy(exported_bert / name, folder / name)
        forge(folder, name)
    with pytest.raises(CheckpointError, match=r"has the inputs .* expected"):
        OnnxEncoder.load(folder)


def test_a_tokenizer_that_is_none(exported: Path, copy: Copy) -> None:
    folder = copy(exported)
    (folder / TOKENIZER).write_text("{}")
    forge(folder, TOKENIZER)
    with pytest.raises(CheckpointError, match="the tokenizer"):
        OnnxEncoder.load(folder)


def test_a_folder_that_is_no_export(tmp_path: Path, m3: Path) -> None:
    for folder in (tmp_path, m3, tmp_path / "missing"):
        with pytest.raises(CheckpointError, match=f"{SETTINGS} is missing"):
            OnnxEncoder.load(folder)


def test_an_export_goes_to_a_new_folder(m3: Path, tmp_path: Path, copy: Copy) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(InvalidOptionError, match="is not empty"):
        export_model(m3, tmp_path / "full")
    assert sorted(path.name for path in (tmp_path / "full").iterdir()) == ["notes.txt"]
    folder = copy(m3)
    (folder / "onnx").mkdir()
    for inside in (folder / "onnx", folder / "new", folder / "new" / "deeper"):
        with pytest.raises(InvalidOptionError, match="which is read"):
            export_model(folder, inside)
    with pytest.raises(InvalidOptionError):
        export_model(folder, folder)
    with pytest.raises(InvalidOptionError, match="is not a folder"):
        check_export_folder(folder / "config.json")
    (tmp_path / "empty").mkdir()
    export_model(folder, tmp_path / "empty")
    assert {path.name for path in (tmp_path / "empty").iterdir()} == {*FILES, SETTINGS}


def test_an_export_that_fails_leaves_nothing(
    m3: Path, copy: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy(m3)
    config = folder / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "hidden_act": "silu"}))
    with pytest.raises(CheckpointError, match="hidden_act is 'silu', expected gelu"):
        export_model(folder, tmp_path / "onnx")

    def fail(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(onnx, "save_model", fail)
    with pytest.raises(OutputError, match="No space left"):
        export_model(m3, tmp_path / "onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == [folder.name]


@pytest.mark.parametrize("activation", ["gelu_new", "relu"])
def test_other_activations(
    m3: Path, copy: Copy, tmp_path: Path, texts: list[str], activation: str
) -> None:
    folder = copy(m3)
    config = folder / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "hidden_act": activation}))
    export_model(folder, tmp_path / "onnx")
    encoder, original = both(folder, tmp_path / "onnx")
    assert_close(encoder.encode_documents(texts), original.encode_documents(texts))
