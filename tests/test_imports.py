"""Searching with ready vectors costs no seconds of imports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from scripted_encoder import scripted_encoder

from trivec import Document, open_store
from trivec.testing import HashEncoder


@pytest.mark.parametrize(
    "module", ["trivec", "trivec.encoders", "trivec.reranking", "trivec.testing"]
)
def test_torch_is_imported_by_encoding_only(module: str) -> None:
    code = f"import sys, {module}; print({{'torch', 'transformers'}} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "set()"


BLOCKED = """
import sys
from importlib.abc import MetaPathFinder

class Blocked(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "tokenizers", "huggingface_hub"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
"""
"""What a Python without the extra `[torch]` is like."""


def test_a_collection_is_searched_without_torch(tmp_path: Path) -> None:
    """Over a server, from the command line and from Python."""
    texts = ["blue whale", "red fox", "the hen"]
    collection = f"qdrant+edge:{tmp_path}/animals"
    with open_store(collection) as store:
        store.create(HashEncoder().schema)
        documents = [Document(str(row), text) for row, text in enumerate(texts)]
        store.upsert(documents, HashEncoder().encode_documents(texts))
    code = f"""{BLOCKED}
import trivec
from trivec.cli import main

def search(model):
    sys.argv = ["trivec", "search", {collection!r}, "whale", "--model", model, "--json"]
    try:
        main()
    except SystemExit as end:
        return end.code

try:
    trivec.open_encoder("BAAI/bge-m3")
except trivec.TrivecError as error:
    print(type(error).__name__, error, file=sys.stderr)
assert search("hash") == 1
with trivec.open_encoder("URL") as encoder:
    assert encoder.encode_query("whale").colbert is not None
assert not search("URL")
"""
    with scripted_encoder() as server:
        url = f"trivec://127.0.0.1:{server.port}"
        done = subprocess.run(
            [sys.executable, "-c", code.replace("URL", url)],
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["document"]["text"] == "blue whale"
    assert "MissingDependencyError Encoder.load needs torch, transformers" in done.stderr
    assert done.stderr.count("pip install 'trivec[torch]'") == 2
