"""Checkpoints without heads, shorter dense vectors, another length of texts, and names for them."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from trivec import Document, Encoder, ingest, open_store
from trivec.encoders.variants import ModelVariant, model_name
from trivec.errors import (
    CheckpointError,
    InvalidInputError,
    InvalidOptionError,
    JournalError,
    SchemaMismatchError,
)

Copy = Callable[[Path], Path]
HEADS = ("sparse_linear", "colbert_linear")
TEXT = "kalo mine kalo ruru"


def load(model: Path | str, **options: Any) -> Encoder:
    return Encoder.load(model, device="cpu", precision="float32", **options)


@pytest.fixture
def tuned(m3: Path, tmp_path: Path) -> Path:
    """A checkpoint without heads: tiny-m3 fine-tuned for dense vectors."""
    folder = tmp_path / "tuned"
    shutil.copytree(m3, folder)
    for head in HEADS:
        (folder / f"{head}.pt").unlink()
    return folder


def assert_same(encoder: Encoder, other: Encoder) -> None:
    ours, theirs = encoder.encode_query(TEXT), other.encode_query(TEXT)
    np.testing.assert_array_equal(ours.dense, theirs.dense)
    np.testing.assert_array_equal(ours.colbert, theirs.colbert)
    assert ours.sparse == theirs.sparse


def dense_of(encoder: Encoder) -> NDArray[np.floating[Any]]:
    dense = encoder.encode_query(TEXT).dense
    assert dense is not None
    return dense


def only_heads(m3: Path, folder: Path, form: str) -> Path:
    """Save the heads of a checkpoint alone, or among its weights."""
    folder.mkdir()
    tensors = {h: torch.load(m3 / f"{h}.pt", weights_only=True) for h in HEADS}
    if form == "among weights":
        named = {f"{h}.{name}": t for h in HEADS for name, t in tensors[h].items()}
        save_file(load_file(m3 / "model.safetensors") | named, folder / "model.safetensors")
    for head in HEADS if form != "among weights" else ():
        if form == "pt":
            torch.save(tensors[head], folder / f"{head}.pt")
        else:
            save_file(tensors[head], folder / f"{head}.safetensors")
    return folder


@pytest.mark.parametrize("form", ["pt", "safetensors", "among weights"])
def test_heads_of_another_checkpoint(m3: Path, tuned: Path, tmp_path: Path, form: str) -> None:
    heads = only_heads(m3, tmp_path / "base", form)
    assert load(tuned).schema.parts == ("dense",)
    encoder = load(tuned, heads=heads)
    assert_same(encoder, load(m3))
    assert encoder.schema.model == "tuned?heads=base"
    assert encoder.options == {"heads": "base"}
    named = load(tuned, heads=heads, name="mine")
    assert (named.schema.model, named.options) == ("mine", {"heads": "base"})
    assert_same(load(f"{tuned}?heads={heads}"), encoder)


@pytest.mark.parametrize("form", ["safetensors", "among weights"])
def test_heads_in_safetensors_of_the_checkpoint(
    m3: Path, tmp_path: Path, tuned: Path, form: str
) -> None:
    for file in only_heads(m3, tmp_path / "base", form).iterdir():
        shutil.copy(file, tuned)
    assert_same(load(tuned), load(m3))


def test_a_head_in_two_files(m3: Path, copy: Copy) -> None:
    folder = copy(m3)
    state = torch.load(folder / "sparse_linear.pt", weights_only=True)
    save_file(state, folder / "sparse_linear.safetensors")
    assert_same(load(folder), load(m3))
    save_file({**state, "bias": state["bias"] + 1}, folder / "sparse_linear.safetensors")
    with pytest.raises(CheckpointError, match=r"sparse_linear.saf\w+ hold different heads"):
        load(folder)


def test_heads_of_the_hub_without_its_weights(
    m3: Path, tuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = only_heads(m3, tmp_path / "base", "pt")
    patterns: list[list[str]] = []

    def download(model: str, *, allow_patterns: list[str], **_: object) -> str:
        patterns.append(allow_patterns)
        return str(base)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert load(tuned, heads="BAAI/bge-m3").model == "tuned?heads=BAAI/bge-m3"
    assert len(patterns) == 1
    assert not any("model*" in pattern for pattern in patterns[0])


def test_heads_that_do_not_fit(m3: Path, bert: Path, tuned: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"heads of its own \(colbert_linear\.pt, sparse_l"):
        load(m3, heads=m3)
    (tmp_path / "empty").mkdir()
    for without in (bert, tuned, tmp_path / "empty"):
        with pytest.raises(CheckpointError, match="neither sparse_linear nor colbert_linear"):
            load(tuned, heads=without)
    wide = tmp_path / "wide"
    wide.mkdir()
    torch.save(torch.nn.Linear(64, 1).state_dict(), wide / "sparse_linear.pt")
    with pytest.raises(CheckpointError, match=r"wide do not fit.*32 numbers.*\(1, 64\)"):
        load(tuned, heads=wide)
    with pytest.raises(CheckpointError, match="no folder here"):
        load(tuned, heads="no/such", local_files_only=True)
    with pytest.raises(CheckpointError, match="heads= takes it from another checkpoint"):
        load(tuned).encode_query(TEXT, sparse=True)


def hub_model(folder: Path, cache: Path, name: str, commit: str) -> None:
    """Copy a folder into a cache of the hub, as the main branch of a model."""
    model = cache / f"models--{name.replace('/', '--')}"
    shutil.copytree(folder, model / "snapshots" / commit)
    (model / "refs").mkdir(exist_ok=True)
    (model / "refs" / "main").write_text(commit)


@pytest.mark.parametrize("form", ["pt", "safetensors", "among weights"])
def test_heads_keep_their_commit(m3: Path, tuned: Path, tmp_path: Path, form: str) -> None:
    cache, first, second = tmp_path / "cache", "a" * 40, "b" * 40
    heads = only_heads(m3, tmp_path / "base", form)
    hub_model(heads, cache, "maker/base", first)
    options: dict[str, Any] = {"cache_dir": cache, "local_files_only": True}
    encoder = load(tuned, heads="maker/base", **options)
    assert encoder.model == "tuned?heads=maker/base"
    assert encoder.options == {"heads": f"maker/base@{first}"}
    assert_same(encoder, load(m3))
    # The hub gets other heads under the same name.
    other = only_heads(m3, tmp_path / "other", "pt")
    for head in HEADS:
        state = torch.load(other / f"{head}.pt", weights_only=True)
        torch.save({name: tensor + 1 for name, tensor in state.items()}, other / f"{head}.pt")
    hub_model(other, cache, "maker/base", second)
    later = load(tuned, heads="maker/base", **options)
    assert later.options == {"heads": f"maker/base@{second}"}
    assert later.encode_query(TEXT).sparse != encoder.encode_query(TEXT).sparse
    for same in (
        pickle.loads(pickle.dumps(encoder)),
        load(tuned, heads=f"maker/base@{first}", **options),
        load(f"{tuned}?heads=maker/base@{first}", **options),
        load(tuned, heads=cache / "models--maker--base" / "snapshots" / first),
    ):
        assert (same.model, same.options) == (encoder.model, encoder.options)
        assert_same(same, encoder)
    journal = tmp_path / "journal"
    with open_store("memory:/heads") as store:
        store.create(encoder.schema)
        ingest([Document("a", TEXT)], encoder, store, journal=journal)
        with pytest.raises(JournalError, match=f"heads was .*{first}.* and is .*{second}"):
            ingest([Document("a", TEXT)], later, store, journal=journal)
        store.drop()


def test_heads_in_a_folder_with_an_at_sign(m3: Path, tuned: Path, tmp_path: Path) -> None:
    heads = only_heads(m3, tmp_path / "base@2", "pt")
    assert load(tuned, heads=heads).model == "tuned?heads=base@2"
    with pytest.raises(CheckpointError, match="at revision 'v2'"):
        load(tuned, heads="no/such@v2", local_files_only=True)


@pytest.mark.parametrize("given", ["", 5, False, b"x"])
def test_heads_that_are_no_name(tuned: Path, given: Any) -> None:
    with pytest.raises(InvalidOptionError, match=r"heads.*expected the name of a model"):
        load(tuned, heads=given)
    with pytest.raises(InvalidOptionError, match=r"model.*expected the name of a model"):
        load("")


def test_heads_with_numbers_that_are_not_finite(m3: Path, tuned: Path, tmp_path: Path) -> None:
    heads = only_heads(m3, tmp_path / "base", "pt")
    state = torch.load(heads / "sparse_linear.pt", weights_only=True)
    for number in (float("nan"), float("inf")):
        state["weight"][0, 5] = number
        torch.save(state, heads / "sparse_linear.pt")
        with pytest.raises(CheckpointError, match=r"sparse_linear.pt holds numbers that are not f"):
            load(tuned, heads=heads)


def test_a_pickle_loads_the_same_variant(m3: Path, tuned: Path) -> None:
    encoder = load(tuned, heads=m3, truncate_dim=8, max_length=5)
    again = pickle.loads(pickle.dumps(encoder))
    assert_same(again, encoder)
    assert (again.schema, again.options, again.max_length) == (
        encoder.schema,
        encoder.options,
        5,
    )
    assert_same(pickle.loads(pickle.dumps(load(f"{tuned}?heads={m3}"))), load(m3))


def test_truncated_dense_vectors(m3: Path) -> None:
    full, short = load(m3), load(m3, truncate_dim=8)
    expected = dense_of(full)[:8]
    found = dense_of(short)
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), rtol=1e-5)
    assert short.schema.dense == 8
    assert short.model == "tiny-m3?truncate_dim=8"
    assert load(m3, truncate_dim=32).model == "tiny-m3"
    assert dense_of(load(m3, truncate_dim=8, mcls=True)).shape == (8,)
    batch = short.encode_documents([TEXT, "kalo"])
    assert batch.dense is not None
    np.testing.assert_allclose(np.linalg.norm(batch.dense, axis=1), 1, rtol=1e-6)
    for wrong in (0, 33, "8", True):
        with pytest.raises(InvalidOptionError, match="truncate_dim"):
            load(m3, truncate_dim=wrong)


def test_the_checkpoints_own_truncate_dim(m3: Path, copy: Copy) -> None:
    folder = copy(m3)
    file = folder / "config_sentence_transformers.json"
    file.write_text(json.dumps({"truncate_dim": 16}))
    encoder = load(folder)
    assert (encoder.schema.dense, encoder.model) == (16, "tiny-m3")
    assert load(folder, truncate_dim=16).model == "tiny-m3"
    assert load(folder, truncate_dim=32).model == "tiny-m3?truncate_dim=32"
    file.write_text(json.dumps({"truncate_dim": 33}))
    with pytest.raises(CheckpointError, match="a state has 32 numbers"):
        load(folder)
    file.write_text(json.dumps({"truncate_dim": 16, "similarity_fn_name": "dot"}))
    with pytest.raises(CheckpointError, match="lengths matter"):
        load(folder)


def test_options_in_the_name_and_as_keywords_are_the_same_model(
    m3: Path, tuned: Path, tmp_path: Path
) -> None:
    named = load(f"{tuned}?truncate_dim=8&heads={m3}")
    apart = load(tuned, heads=m3, truncate_dim=8)
    assert_same(named, apart)
    assert (named.schema, named.options) == (apart.schema, apart.options)
    assert named._arguments == apart._arguments
    journal = tmp_path / "journal"
    with open_store("memory:/named") as store:
        store.create(named.schema)
        ingest([Document("a", TEXT)], named, store, journal=journal)
        again = ingest([Document("a", TEXT)], apart, store, journal=journal)
        assert (again.documents, again.unchanged) == (0, 1)
        store.drop()


def test_collections_of_other_dimensions_are_refused(m3: Path) -> None:
    with open_store("memory:/variants") as store:
        store.create(load(m3).schema)
        with pytest.raises(SchemaMismatchError, match="8 numbers"):
            ingest([Document("a", TEXT)], load(m3, truncate_dim=8), store)
        store.drop()


def test_the_length_of_texts(m3: Path, random_text: Callable[[int, int], str]) -> None:
    text = random_text(50, 0)
    long, short = load(m3), load(m3, max_length=10)
    assert (long.max_length, long.options) == (8192, {})
    assert (short.max_length, short.options) == (10, {"max_length": "10"})
    assert load(m3, max_length=8192).options == {}
    assert load(m3, max_length=10**6).max_length == 8192
    expected = long.encode_documents([text], max_length=10)
    found = short.encode_documents([text])
    np.testing.assert_array_equal(found.dense, expected.dense)
    assert len(short.tokens(text)) == 9
    longer = short.encode_query(text, max_length=20).colbert  # a call may read more
    assert longer is not None
    assert len(longer) == 19
    for wrong in (0, 2, "10", True):
        with pytest.raises(InvalidOptionError, match="max_length"):
            load(m3, max_length=wrong)


def test_a_journal_belongs_to_one_length(m3: Path, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    with open_store("memory:/lengths") as store:
        store.create(load(m3).schema)
        ingest([Document("a", TEXT)], load(m3), store, journal=journal)
        with pytest.raises(JournalError, match="max_length"):
            ingest([Document("a", TEXT)], load(m3, max_length=4), store, journal=journal)
        store.drop()


def test_weights_under_the_texts_of_their_tokens(m3: Path) -> None:
    encoder = load(m3)
    sparse = encoder.encode_query(TEXT).sparse
    assert sparse
    texts = {token.id: token.text for token in encoder.tokens(TEXT)}
    expected = {texts[token]: weight for token, weight in sparse.items()}
    assert encoder.convert_id_to_token(sparse) == expected
    of_numpy: Any = {np.int64(token): weight for token, weight in sparse.items()}
    assert encoder.convert_id_to_token(of_numpy) == expected
    wrong_ids: list[Any] = [10**6, -1, 2**40, "5", 5.0, True]
    for wrong in wrong_ids:
        with pytest.raises(InvalidInputError, match="no token of this model"):
            encoder.convert_id_to_token({wrong: 0.5})
    several: Any = [sparse]
    with pytest.raises(InvalidInputError, match="weights by token id"):
        encoder.convert_id_to_token(several)


def test_names_with_options(tmp_path: Path) -> None:
    for heads in ("c d&e", "c++", "50%25?=", "a/b@main"):
        variant = ModelVariant("a/b", heads=heads, truncate_dim=4)
        assert ModelVariant.parse(str(variant)) == variant
    assert ModelVariant.parse("a/b?heads=./c++").heads == "./c++"
    assert model_name("a/b?truncate_dim=4&heads=c") == "a/b?heads=c&truncate_dim=4"
    (tmp_path / "what?ever").mkdir()
    assert model_name(tmp_path / "what?ever") == "what?ever"
    for wrong in ("?dim=4", "?truncate_dim=", "?truncate_dim=x", "?heads", "?heads=a&heads=b"):
        with pytest.raises(InvalidOptionError):
            ModelVariant.parse(f"a/b{wrong}")
    with pytest.raises(InvalidOptionError, match="truncate_dim is given twice"):
        ModelVariant.parse("a/b?truncate_dim=4", truncate_dim=8)
