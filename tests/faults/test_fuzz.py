"""Whatever a filter, a URL, a dict or a damaged file holds, nothing but a `TrivecError` comes out.

TRIVEC_FUZZ_CASES says how many cases are tried in all, TRIVEC_FUZZ_SEED which ones.
"""

from __future__ import annotations

import json
import logging
import math
import os
import pickle
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from langchain_core.structured_query import Comparator, Operation, Operator
from langchain_core.structured_query import Comparison as LangChainComparison
from llama_index.core.vector_stores import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)
from pyarrow import parquet
from pydantic import ValidationError
from store_cases import FIELDS

from trivec import Document, F, Filter, Vectors, open_store
from trivec.encoders.checkpoint import open_checkpoint
from trivec.errors import TrivecError
from trivec.fields import field_types
from trivec.filters import And, Comparison, Not, Op, Or
from trivec.filters.counterexample import counterexample
from trivec.filters.declared import fit_filter
from trivec.filters.dicts import as_filter
from trivec.filters.parser import parse_filter
from trivec.ingestion.journal import Journal
from trivec.ingestion.sources import Source
from trivec.insight.judgements import read_beir, read_qrels, read_queries
from trivec.rows import SparseRows, TokenRows
from trivec.schema import Schema
from trivec.scores import as_weights
from trivec.stores.url import StoreUrl
from trivec_langchain.filters import to_filter as from_langchain
from trivec_llamaindex.filters import is_local
from trivec_llamaindex.filters import to_filter as from_llamaindex
from trivec_llamaindex.models import read_filter
from trivec_milvus.filters import render as render_milvus
from trivec_milvus.schema import Layout
from trivec_qdrant.engines.client_filters import render as render_qdrant
from trivec_qdrant.filters import lower
from trivec_qdrant.schema import Names
from trivec_vespa.filters import render as render_vespa

CASES = int(os.environ.get("TRIVEC_FUZZ_CASES", "10000"))
SEED = os.environ.get("TRIVEC_FUZZ_SEED", "0")

DECLARED = field_types(FIELDS)
COLUMNS = Layout(Schema(dense=2, sparse=False, colbert=None), DECLARED).columns
PATHS = [*FIELDS, "extra", "a.b.c", "x" * 300, "", "a..b", "1", "a-b", "operator", "$and"]
TEXTS = ["", "en", "it's", 'a"b', "\\", "\0", "\ud800", "北京 🐋", "a\nb", "%", "x" * 3_000]
TEXTS += ["2026-01-31", "2026-02-31", "0001-01-01T00:00+23:59", "9999-12-31T23:59:60Z", "NaN"]
NUMBERS: list[Any] = [0, 1, -1, 2.5, -0.0, 2**53 + 1, 2**63 - 1, -(2**63), 1e308, -1e308, 5e-324]
WRONG_NUMBERS: list[Any] = [2**63, 10**400, 10**5_000, -(10**5_000), math.inf, -math.inf, math.nan]
MOMENTS = [date(2026, 1, 31), datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_999)]
ODD: list[Any] = [None, True, False, b"x", object(), np.int64(3), np.float32("nan"), {1, 2}, F("a")]
SECRET = "hunter2"

Case = Callable[[Random, Path], object]


def _scalar(rng: Random) -> Any:
    kinds: list[list[Any]] = [TEXTS, NUMBERS, NUMBERS, MOMENTS, [True, False]]
    if rng.random() < 0.2:
        kinds = [WRONG_NUMBERS, ODD]
    return rng.choice(rng.choice(kinds))


def _nested(rng: Random, depth: int = 0) -> Any:
    """Return any value in any objects and lists, now and then very deep ones."""
    drawn = rng.random()
    if drawn < 0.02:
        value: Any = _scalar(rng)
        for _ in range(rng.choice([30, 33, 110, 2_000, 20_000])):
            value = rng.choice([[value], {"$not": value}, {"a": value}])
        return value
    if depth < 4 and drawn < 0.3:
        return [_nested(rng, depth + 1) for _ in range(rng.randrange(4))]
    if depth < 4 and drawn < 0.5:
        return {_key(rng): _nested(rng, depth + 1) for _ in range(rng.randrange(4))}
    return _scalar(rng)


def _key(rng: Random) -> Any:
    operators = ["$and", "$or", "$not", "$eq", "$gt", "$in", "$nin", "$all", "$text", "$exists"]
    keys = [*PATHS, *operators, "operator", "conditions", "field", "value", "datetime", "written"]
    return rng.choice(keys) if rng.random() < 0.95 else rng.choice([1, None, 10**5_000, 1.5, True])


def _plain(rng: Random, depth: int = 0) -> Any:
    """Return a dict that looks like a filter in one of the two notations."""
    drawn = rng.random()
    if drawn < 0.1:
        return _nested(rng)
    if drawn < 0.35 and depth < 40:
        parts = [_plain(rng, depth + 1) for _ in range(rng.randrange(3))]
        return {rng.choice(["$and", "$or"]): parts, **({_key(rng): 1} if drawn < 0.12 else {})}
    if drawn < 0.5 and depth < 40:
        return {"$not": _plain(rng, depth + 1)}
    if drawn < 0.6 and depth < 40:
        parts = [_plain(rng, depth + 1) for _ in range(rng.randrange(3))]
        return {"operator": rng.choice(["AND", "OR", "NOT", "XOR"]), "conditions": parts}
    if drawn < 0.7:
        operator = rng.choice([*map(str, Op), "~", 3])
        return {"field": rng.choice(PATHS), "operator": operator, "value": _nested(rng, 3)}
    value = _nested(rng, 3) if rng.random() < 0.5 else [_scalar(rng) for _ in range(3)]
    return {rng.choice(PATHS): rng.choice([value, {_key(rng): value}])}


def _tree(rng: Random, depth: int = 0) -> Filter:
    """Return a filter; now and then it cannot be one."""
    drawn = rng.random()
    if drawn < 0.4 and depth < 35:
        parts = tuple(_tree(rng, depth + 1) for _ in range(rng.choice([0, 1, 1, 2])))
        return And(parts) if drawn < 0.2 else Or(parts)
    if drawn < 0.6 and depth < 35:
        return Not(_tree(rng, depth + 1))
    path = rng.choice(list(FIELDS) if rng.random() < 0.95 else PATHS)
    op = rng.choice(list(Op))
    value: Any = _scalar(rng)
    if op in (Op.IN, Op.NIN, Op.ANY, Op.ALL):
        value = tuple(_scalar(rng) for _ in range(rng.randrange(3)))
    return Comparison(path, op, None if op in (Op.EXISTS, Op.IS_NULL) else value)


def _use(condition: Filter) -> None:
    """Do with a filter whatever stores and their users do."""
    metadata: dict[str, Any] = {
        "lang": "en",
        "year": 2020,
        "tags": ["a", None, 2.5],
        "nested": {"kind": {}},
    }
    meant = condition.matches(metadata)
    assert condition.simplified().matches(metadata) == meant
    if is_local(condition):
        return
    assert Filter.from_dict(json.loads(json.dumps(condition.to_dict()))) == condition
    assert pickle.loads(pickle.dumps(condition)) == condition
    assert hash(condition) == hash(pickle.loads(pickle.dumps(condition)))
    repr(condition)
    render_qdrant(lower(condition, {}, Names()))
    render_milvus(condition, {}, id_field="id")
    fitted = fit_filter(condition, DECLARED)
    counterexample(fitted, DECLARED) if len(list(fitted.comparisons())) < 3 else None
    render_qdrant(lower(fitted, DECLARED, Names()))
    render_milvus(fitted, COLUMNS, id_field="id")
    if all(one.path in DECLARED for one in fitted.comparisons()):
        render_vespa(fit_filter(condition, DECLARED, declared_only=True), DECLARED)


def _mutated(rng: Random, text: str, alphabet: str) -> str:
    for _ in range(rng.choice([0, 1, 1, 2, 5])):
        place = rng.randrange(len(text) + 1)
        stop = place + rng.choice([0, 0, 1, 3])
        text = text[:place] + "".join(rng.choices(alphabet, k=rng.randrange(3))) + text[stop:]
    return text


# --- filters and values -----------------------------------------------------------------------


def parsed_text(rng: Random, folder: Path) -> None:
    pieces = [
        "year",
        "lang",
        "tags",
        ">=",
        "<",
        "=",
        "==",
        "!=",
        "in",
        "not",
        "and",
        "or",
        "(",
        ")",
    ]
    pieces += ["[", "]", ",", "contains", "any", "all", "text", "is", "null", "exists", "true"]
    pieces += ["1", "-2.5e3", "1e400", "9" * 30, "9" * 5_000, "2026-01-31", "2026-99-99", "'a'"]
    pieces += [
        '"b"',
        "'it\\'s'",
        "'\\ud800'",
        '"',
        "'",
        "\\",
        "\0",
        "é",
        "٣",
        "x.y",
        ".",
        "-",
        "🐋",
    ]
    if rng.random() < 0.5:
        text = " ".join(rng.choices(pieces, k=rng.randrange(12)))
    else:
        text = 'year >= 2020 and not (lang in ["de", "en"] or a.b text \'x\') and c is not null'
        text = _mutated(rng, text, "()[]'\"\\,=<>!. \0é9-T:Z")
    if rng.random() < 0.05:
        text = rng.choice(["(", "not ", "a=1 and ", "((a=1) or ", "["]) * 500 + text
    _use(parse_filter(text))


def dict_as_filter(rng: Random, folder: Path) -> None:
    _use(as_filter(_plain(rng)))


def filter_tree(rng: Random, folder: Path) -> None:
    _use(_tree(rng))


def langchain_filter(rng: Random, folder: Path) -> None:
    def made(depth: int) -> Any:
        if depth < rng.choice([1, 3, 40]) and rng.random() < 0.6:
            parts = [made(depth + 1) for _ in range(rng.choice([0, 1, 1, 2]))]
            return Operation(rng.choice(list(Operator)), parts)
        value = {"date": _scalar(rng), "type": rng.choice(["date", 10**5_000])}
        value = value if rng.random() < 0.1 else _nested(rng, 3)
        return LangChainComparison(rng.choice(list(Comparator)), rng.choice(PATHS), value)

    condition = from_langchain(made(0))
    assert condition is not None
    _use(condition)


def llamaindex_filter(rng: Random, folder: Path) -> None:
    def made(depth: int) -> Any:
        if depth < rng.choice([1, 3, 40]) and rng.random() < 0.6:
            parts = [made(depth + 1) for _ in range(rng.choice([0, 1, 1, 2]))]
            return MetadataFilters(filters=parts, condition=rng.choice(list(FilterCondition)))
        operator = rng.choice(list(FilterOperator))
        return MetadataFilter(key=rng.choice(PATHS), value=_nested(rng, 3), operator=operator)

    if rng.random() < 0.2:
        read_filter({"filters": _nested(rng), "condition": rng.choice(["and", 1, None])})
    with suppress(ValidationError):  # LlamaIndex's own classes refuse the value
        given = made(0)
        if isinstance(given, MetadataFilters):
            condition = from_llamaindex(given, DECLARED if rng.random() < 0.5 else None)
            if condition is not None:
                _use(condition)


def metadata_and_options(rng: Random, folder: Path) -> None:
    value: Any = _nested(rng)
    if isinstance(value, dict):
        Document("a", "text", value)
    weights: dict[Any, Any] = {rng.choice(["dense", "sparse", "colbert", "x", 1]): _scalar(rng)}
    as_weights(weights)
    field_types({rng.choice(PATHS): rng.choice([str, int, list, _scalar(rng)])})


def store_url(rng: Random, folder: Path) -> None:
    scheme = rng.choice(["qdrant", "qdrants", "milvus", "vespa", "memory", "https", "Q", "", "a+b"])
    scheme = rng.choice([scheme, "qdrant+edge", "archive", "milvus+lite", "qdrant+local"])
    user = rng.choice(["", "", f"me:{SECRET}@", f"{SECRET}@", f"a:b/{SECRET}@", f"?{SECRET}@"])
    host = rng.choice(
        ["h", "localhost", "[::1]", "[", "]", "a" * 70, "bücher.de", "xn--0", "-", ""]
    )
    port = rng.choice(["", ":1", ":0", ":99999", ":x", ":٣", ":-1", ":", ":" + "9" * 5_000])
    name = rng.choice(["/n", "/n/m", "/", "", "/..", "/%2e", "/" + "n" * 300, "/\ud800", "/é"])
    query = rng.choice(["", "", f"?api_key={SECRET}", f"#{SECRET}", f"?{SECRET}"])
    colbert = [
        "",
        "",
        "?colbert=bits=1,pool=2",
        "?colbert=prune=1/3",
        f"?colbert=bits=1&x={SECRET}",
    ]
    query += rng.choice(colbert)
    url = scheme + rng.choice([":", "://", ":/", ":~/", ":///"]) + user + host + port + name + query
    url = _mutated(rng, url, "/:@?#[]%.\\\0 ~é=&")
    try:
        parsed = StoreUrl.parse(url)
        if parsed.scheme in ("memory", "qdrant", "vespa", "unknown") and rng.random() < 0.2:
            open_store(url).close()
    except TrivecError as error:
        before, found, after = url.partition(SECRET)
        embedded = re.match(r"(?:[^:]*\+[^:]*|memory|archive):(?!//)", url)
        once = found and SECRET not in after  # a second one may stand where no secret does
        if once and not embedded and ("@" in after or set("?#=") & set(before)):
            shown = "".join(traceback.format_exception(error, limit=0))
            if SECRET in shown:
                raise AssertionError(f"{url!r} is told with its secret: {shown}") from error
        raise


# --- files ------------------------------------------------------------------------------------


def _damaged(rng: Random, content: bytes) -> bytes:
    """Return a file that was cut short, hit by a few wrong bytes, or is another one."""
    data = bytearray(content)
    match rng.randrange(4):
        case 0:
            return bytes(data[: rng.randrange(len(data))])
        case 1:
            for _ in range(rng.randint(1, 12)):
                data[rng.randrange(len(data))] = rng.randrange(256)
        case 2:
            for _ in range(rng.randint(1, 6)):
                data[rng.randrange(min(len(data), 300))] = rng.randrange(256)
        case 3 if rng.random() < 0.5:
            others = [b"", b"\0" * 99, b"[" * 9_000, b"9" * 5_000, b'{"a":' * 3_000, b"\xff\xfe"]
            return rng.choice([*others, b"{}", b"[]", b"null", b"SQLite format 3\0"])
        case _:
            place = rng.randrange(len(data))
            data[place:place] = rng.choice([b"\n", b'"', b"\t", b"\0", b"}", b",", b"9" * 4_400])
    return bytes(data)


def _vectors() -> Vectors:
    return Vectors(
        dense=np.eye(3, 4),
        sparse=SparseRows.from_dicts([{1: 0.5, 9: 1.0}, {}, {3: 0.25}]),
        colbert=TokenRows.from_arrays([np.ones((n, 2), np.float32) for n in (1, 0, 2)]),
    )


def vector_file(rng: Random, folder: Path) -> None:
    path = folder / "whole.safetensors"
    if not path.exists():
        _vectors().save(path)
    damaged = folder / "damaged.safetensors"
    damaged.write_bytes(_damaged(rng, path.read_bytes()))
    start, stop = rng.randrange(-2, 5), rng.choice([None, 0, 1, 2, 99])
    found = Vectors.load(damaged, start=start, stop=stop)
    list(found)


IDENTITY = {"store": "memory:/a", "model": "hash"}
DOCUMENTS = [Document(f"d{i}", f"text {i}", {"n": i}) for i in range(30)]


def journal_file(rng: Random, folder: Path) -> None:
    whole, damaged = folder / "whole.journal", folder / "damaged.journal"
    if not whole.exists():
        with Journal(whole, IDENTITY) as journal:
            journal.worklist([*DOCUMENTS, Document("d3", "again")])
            journal.acknowledge(DOCUMENTS[:20])
            journal.fail(DOCUMENTS[25], "refused")
    for old in folder.glob("damaged.journal*"):
        old.unlink()
    damaged.write_bytes(_damaged(rng, whole.read_bytes()))
    with Journal(damaged, IDENTITY) as journal:
        journal.worklist(DOCUMENTS)
        assert len(journal) >= 0
        for read in (journal.failures, journal.newest, journal.vanished):
            list(read())
        journal.acknowledge(DOCUMENTS)
        journal.finish()


CHECKPOINT: dict[str, Any] = {
    "config.json": {
        "model_type": "xlm-roberta",
        "vocab_size": 9,
        "hidden_size": 4,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
        "max_position_embeddings": 16,
        "type_vocab_size": 1,
        "pad_token_id": 1,
        "layer_norm_eps": 1e-5,
        "hidden_act": "gelu",
        "num_labels": 2,
    },
    "modules.json": [
        {"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ],
    "1_Pooling/config.json": {"pooling_mode": "cls", "include_prompt": True},
    "sentence_bert_config.json": {"max_seq_length": 12, "processing_kwargs": {"text": {}}},
    "config_sentence_transformers.json": {"prompts": {"query": "q: "}, "truncate_dim": None},
    "tokenizer_config.json": {"model_max_length": 12, "extra_ids": 0, "auto_map": None},
    "model.safetensors.index.json": {"weight_map": {"a": "one.safetensors"}},
    "adapter_config.json": {"base_model_name_or_path": "x"},
}
SETTINGS: list[Any] = [None, True, False, 0, -1, 3, 10**8, 10**30, 1.5, 1e308, "", "x", "../..", []]
SETTINGS += [{}, [None], {"a": 1}, "\0", "x" * 5_000, "cls", [[[[[]]]]], "one.safetensors/../x"]


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield place
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from _places(value[key], (*place, key))


def checkpoint_files(rng: Random, folder: Path) -> None:
    chosen = rng.choice(list(CHECKPOINT))
    for name, content in CHECKPOINT.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        text = json.dumps(content)
        if name == chosen:
            copy = [json.loads(text)]
            place = rng.choice([one for one in _places(copy) if one])
            inner: Any = copy
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = rng.choice(SETTINGS)
            text = json.dumps(copy[0])
        data = text.encode()
        damaged = name == chosen and rng.random() < 0.3
        path.write_bytes(_damaged(rng, data) if damaged else data)
    (folder / "tokenizer.json").write_text("{}")
    open_checkpoint(folder, model=folder, purpose=rng.choice(["encoder", "reranker"]))


def judgement_files(rng: Random, folder: Path) -> None:
    qrels = "query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t2.0\n"
    trec = "q1 0 d1 1\nq2 0 d2 0\n"
    objects = '{"query_id": "q1", "doc_id": "d1", "relevance": 2}\n{"_id": 7, "text": "x"}\n'
    numbers = f"q1\td1\t{'9' * 5_000}\n"
    content = rng.choice([qrels, trec, objects, numbers, "q1\tone\nq2\ttwo\n"])
    (folder / "queries.jsonl").write_bytes(_damaged(rng, content.encode()))
    (folder / "qrels.tsv").write_bytes(_damaged(rng, qrels.encode()))
    read = rng.choice([read_qrels, read_queries])
    if rng.random() < 0.2:
        read_beir(folder)
    read(folder / "queries.jsonl")


def source_file(rng: Random, folder: Path) -> None:
    kind = rng.choice(["jsonl", "csv", "tsv", "parquet"])
    path = folder / f"source.{kind}"
    if kind == "parquet":
        whole = folder / "whole.parquet"
        if not whole.exists():
            columns = {"id": ["a", "b"], "text": ["x", "y"], "n": [1, None], "t": [[1], []]}
            keyed = pa.array([[(date(2026, 1, 31), 1)], []], pa.map_(pa.date32(), pa.int64()))
            table = pa.table(columns).append_column("m", keyed)
            parquet.write_table(table, whole)
        content = whole.read_bytes()
    elif kind == "jsonl":
        rows = [{"id": "a", "text": "x", "n": 1}, {"id": 2, "text": "y", "metadata": {"a": [1]}}]
        content = "\n".join(map(json.dumps, rows)).encode()
    else:
        mark = "," if kind == "csv" else "\t"
        content = f'id{mark}text{mark}year\na{mark}"x"{mark}2020\nb{mark}y{mark}\n'.encode()
    path.write_bytes(_damaged(rng, content))
    for row in Source(path, fields={"year": int} if kind in ("csv", "tsv") else {}):
        repr(row)


SHARES: dict[Case, float] = {
    parsed_text: 0.2,
    dict_as_filter: 0.2,
    filter_tree: 0.1,
    langchain_filter: 0.05,
    llamaindex_filter: 0.05,
    metadata_and_options: 0.1,
    store_url: 0.165,
    vector_file: 0.05,
    journal_file: 0.02,
    checkpoint_files: 0.005,
    judgement_files: 0.03,
    source_file: 0.03,
}


@pytest.mark.parametrize("case", SHARES, ids=lambda case: case.__name__)
def test_nothing_but_a_trivec_error_comes_out(
    case: Case, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    refused = 0
    count = round(CASES * SHARES[case])
    for number in range(count):
        name = f"{SEED}/{case.__name__}/{number}"
        try:
            case(Random(name), tmp_path)
        except TrivecError as error:
            refused += 1
            if len(str(error)) > 5_000:
                pytest.fail(
                    f"seed {SEED!r}, case {name!r}: a message of {len(str(error))} characters"
                )
        except Exception as error:
            trace = "".join(traceback.format_exception(error)[-12:])
            pytest.fail(f"seed {SEED!r}, case {name!r}:\n{trace}")
    assert count < 100 or 0 < refused < count or case is checkpoint_files
