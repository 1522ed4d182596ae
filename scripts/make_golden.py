"""Make tests/encoders/golden: what FlagEmbedding computes on a tiny random checkpoint.

Run it in an environment of its own, from the project's root:

    uv venv /tmp/golden
    uv pip install --python /tmp/golden/bin/python FlagEmbedding==1.4.2 pytest
    /tmp/golden/bin/python scripts/make_golden.py
"""

import json
import runpy
import shutil
from pathlib import Path

import numpy as np
from FlagEmbedding import BGEM3FlagModel  # pyright: ignore[reportMissingImports]
from safetensors.numpy import save_file

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "encoders" / "golden"
WEIGHTS = [1.0, 0.3, 1.0]
MAX_LENGTH = 128
QUERIES = ["kalo mine ruka", "tevo", "sasa lolo kalo kalo nemi"]
DOCUMENTS = [
    "kalo mine ruka sate vovo kalo",
    "neka",
    "lolo kalo unknown words in it rulo tevo tevo mimi",
    " ".join(["kalo tevo sami neru"] * 40),  # longer than MAX_LENGTH
    "",
]


def main() -> None:
    shutil.rmtree(GOLDEN, ignore_errors=True)
    checkpoint = GOLDEN / "checkpoint"
    builders = runpy.run_path(str(ROOT / "tests" / "encoders" / "conftest.py"))
    builders["save_m3"](checkpoint, positions=MAX_LENGTH + 2)
    model = BGEM3FlagModel(
        str(checkpoint), use_fp16=False, devices="cpu", colbert_dim=builders["COLBERT"]
    )
    columns: dict[str, np.ndarray] = {}
    lexical = {}
    for name, texts in (("queries", QUERIES), ("documents", DOCUMENTS)):
        found = model.encode(
            texts,
            batch_size=2,
            max_length=MAX_LENGTH,
            return_dense=True,
            return_sparse=True,
            return_colbert_vecs=True,
        )
        columns[f"{name}.dense"] = found["dense_vecs"].astype(np.float32)
        for i, vectors in enumerate(found["colbert_vecs"]):
            columns[f"{name}.colbert.{i}"] = vectors.astype(np.float32)
        lexical[name] = [{k: float(v) for k, v in row.items()} for row in found["lexical_weights"]]
    pairs = [(query, document) for query in QUERIES for document in DOCUMENTS]
    scores = model.compute_score(
        pairs,
        batch_size=2,
        max_query_length=MAX_LENGTH,
        max_passage_length=MAX_LENGTH,
        weights_for_different_modes=WEIGHTS,
    )
    save_file(columns, GOLDEN / "vectors.safetensors")
    golden = {
        "texts": {"queries": QUERIES, "documents": DOCUMENTS},
        "max_length": MAX_LENGTH,
        "weights": dict(zip(("dense", "sparse", "colbert"), WEIGHTS, strict=True)),
        "lexical": lexical,
        "scores": scores,
    }
    (GOLDEN / "golden.json").write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
