"""The options of LlamaIndex's queries, and the searches that answer them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from trivec import Vector, Weights
from trivec.errors import InvalidOptionError
from trivec.fields import FieldType
from trivec.filters import F
from trivec.passages.parent_hits import grouped_by_parent, updated_options
from trivec.rows import Float, unit
from trivec.scores import AnyWeights, as_weights
from trivec.search import CommonSearchOptions, Mode, Search, SearchOptions, with_options
from trivec.stores.view import together
from trivec_llamaindex.filters import LlamaIndexFilter, is_local, to_filter
from trivec_llamaindex.nodes import group_path, source_path

_MODES: Mapping[VectorStoreQueryMode, Mode] = {
    VectorStoreQueryMode.DEFAULT: "dense",
    VectorStoreQueryMode.SPARSE: "sparse",
    VectorStoreQueryMode.HYBRID: "hybrid",
    VectorStoreQueryMode.MMR: "dense",
}
_PREFETCH_FACTOR = 4


class VectorStoreOptions(CommonSearchOptions[AnyWeights, LlamaIndexFilter], total=False):
    """The search options of a vector store.

    Attributes:
        weights: The weights of HYBRID.
        candidates: How many documents the dense and the sparse search each give to HYBRID.
        filter: Bounds the vector store: a node that does not satisfy it is not found, returned,
            deleted, overwritten or written, as if the collection did not hold it.
        group_by: A declared field of the metadata; "ref_doc_id", the document that a node was made
            from; or "parent", the document that a passage is of. The nodes are those of the best
            groups, as many as the query asks for, side by side, the best group first.
            `group_by=None` takes back the vector store's own, with its `per_group` and `parents`.
        per_group: The most nodes of one group; 1 by default.
        evidence: How many passages of each node to return that match the query best, as the
            metadata "evidence": a list of dicts with the keys start, end, text and score, best
            first. Texts for embedding models and LLMs do not show it. It stands in place of a value
            that the node has under this key, and is not stored when the node is added again.
        parents: Whether each document that `trivec.ingest` stored as passages is returned instead
            of its passages, with its own text and metadata, and with the score of its best passage.
            The results are grouped by "parent". Its evidence is that of the `per_group` passages. A
            node that is no such passage is returned as it is.
    """

    parents: bool


class RetrieverOptions(SearchOptions, total=False):
    """The options of a retriever: those of `Store.search`, and `parents`.

    Attributes:
        group_by: "ref_doc_id" is the document that a node was made from.
        parents: See `VectorStoreOptions`.
    """

    parents: bool


class QueryOptions(VectorStoreOptions, total=False):
    """The options of a query beside LlamaIndex's own, given through `vector_store_kwargs`.

    Attributes:
        weights: The weights of HYBRID, as `Weights` or as a dict of them.
        candidates: How many documents the dense and the sparse search each give to HYBRID.
        mmr_threshold: How MMR weighs nearness (1) against difference (0). LlamaIndex's retriever
            does not set the threshold of the query itself.
        mmr_prefetch_k: How many MMR chooses from; 4 times `similarity_top_k` without it.
        filter: Holds together with the query's own filters.
        group_by: As for the vector store, like the three below, which it has defaults for. MMR
            chooses groups by their best nodes.
        per_group: The most nodes of one group.
        evidence: How many passages of each node to return with it.
        parents: Whether to return documents instead of their passages.
    """

    mmr_threshold: float
    mmr_prefetch_k: int


@dataclass(frozen=True, slots=True)
class NodeSearch:
    """How one query is answered.

    Args:
        search: The search, whose `k` is the number of hits to choose from.
        k: How many nodes to return, or groups of them.
        parents: Whether to return the parents of passages.
        dense: The dense vector that the query came with, scaled to unit length, or None.
        text: The text to encode for the parts that the query did not come with, or None.
        ids: The only nodes to search, or None.
        local: Whether this process must evaluate the filter.
        relevance: How much MMR weighs nearness; None for other modes.
    """

    search: Search
    k: int
    parents: bool
    dense: Float | None
    text: str | None
    ids: Sequence[str] | None
    local: bool
    relevance: float | None

    def vector(self, encoded: Vector | None) -> Vector:
        """Return the encoded query; the dense vector that it came with replaces the encoded one."""
        if self.dense is None:
            assert encoded is not None
            return encoded
        return Vector(
            dense=self.dense,
            sparse=None if encoded is None else encoded.sparse,
            colbert=None if encoded is None else encoded.colbert,
        )


def read_defaults(options: Mapping[str, Any]) -> tuple[Search, bool]:
    """Return the defaults of queries, and whether they return parents.

    Args:
        options: The options of a vector store; its filter is left out.
    """
    given = updated_options({}, options)
    given.pop("filter", None)
    parents = given.pop("parents", False)
    return grouped_by_parent(with_options(Search(k=1), given), parents), parents


def read_query(
    query: VectorStoreQuery,
    options: QueryOptions,
    defaults: Search,
    *,
    parents: bool,
    fields: Mapping[str, FieldType],
    encodes: bool,
) -> NodeSearch:
    """Return how to answer a query.

    `alpha` makes the weights of HYBRID `dense=alpha, sparse=1-alpha, colbert=0`, since it knows
    two signals only; `weights` of the options take precedence. The defaults and `parents` are the
    options that are not given, and the declared fields give the values of filters their types.
    """
    unknown = sorted(set(options) - QueryOptions.__optional_keys__)
    if unknown:
        known = ", ".join(sorted(QueryOptions.__optional_keys__))  # TypeError, as for any keyword
        raise TypeError(f"unknown query option {', '.join(unknown)}; known are {known}")
    if query.mode not in _MODES:
        raise InvalidOptionError(
            f"query mode {query.mode!r} is not supported; "
            f"supported are {', '.join(mode.value for mode in _MODES)}"
        )
    k = prefetched = query.similarity_top_k
    candidates, relevance = defaults.candidates, None
    if query.mode is VectorStoreQueryMode.SPARSE:
        k = prefetched = query.sparse_top_k or k
    elif query.mode is VectorStoreQueryMode.HYBRID:
        candidates = max(candidates, k, query.sparse_top_k or 0)
        k = prefetched = query.hybrid_top_k or k
    elif query.mode is VectorStoreQueryMode.MMR:
        prefetched = max(k, options.get("mmr_prefetch_k", _PREFETCH_FACTOR * k))
        own = 0.5 if query.mmr_threshold is None else query.mmr_threshold
        relevance = options.get("mmr_threshold", own)
    conditions = [to_filter(query.filters, fields), to_filter(options.get("filter"), fields)]
    if query.doc_ids:
        conditions.append(F(source_path(fields)).in_(query.doc_ids))
    condition = together(*conditions)
    results = _results(query, options, defaults, parents)
    parents = results.pop("parents")
    results["group_by"] = group_path(results["group_by"], fields)
    search = Search(
        mode=_MODES[query.mode],
        k=prefetched,
        weights=_weights(query, options, defaults.weights),
        candidates=options.get("candidates", candidates),
        filter=condition,
        **results,
    )
    search = grouped_by_parent(search, parents)
    dense = given_embedding(query.query_embedding)
    needs_text = search.mode != "dense" or dense is None or search.evidence
    text = query.query_str if needs_text else None
    if search.mode == "sparse":
        dense = None
    if text is None and needs_text:
        what = "the evidence of a" if search.evidence else "a"
        raise InvalidOptionError(f"{what} {query.mode.value} query needs query_str, which is None")
    if text is not None and not encodes:
        raise InvalidOptionError(
            f"this {query.mode.value} query needs a trivec encoder; make the vector store with "
            "one, or give a query_embedding and mode 'default' or 'mmr'"
        )
    return NodeSearch(
        search=search,
        k=k,
        parents=parents,
        dense=dense,
        text=text,
        ids=query.node_ids or None,
        local=condition is not None and is_local(condition),
        relevance=relevance,
    )


def given_embedding(embedding: Sequence[float] | None) -> Float | None:
    """Return a query's embedding, list or array, scaled to unit length; None for an empty one."""
    if embedding is None or len(embedding) == 0:
        return None
    return unit(np.asarray(embedding, np.float32))


def _results(
    query: VectorStoreQuery, options: QueryOptions, defaults: Search, parents: bool
) -> dict[str, Any]:
    """Return the options of groups, evidence and parents: those given, over the defaults."""
    own = {name: getattr(defaults, name) for name in ("group_by", "per_group", "evidence")}
    own["parents"] = parents
    if query.query_str is None:  # an embedding has no evidence
        own["evidence"] = 0
    return updated_options(own, {n: option for n, option in options.items() if n in own})


def _weights(query: VectorStoreQuery, options: QueryOptions, weights: Weights) -> Weights:
    given = options.get("weights")
    if given is not None:
        return as_weights(given)
    if query.mode is VectorStoreQueryMode.HYBRID and query.alpha is not None:
        if not 0 <= query.alpha <= 1:
            raise InvalidOptionError(
                f"alpha={query.alpha} must be between 0 (sparse) and 1 (dense)"
            )
        return Weights(query.alpha, 1 - query.alpha, 0)
    return weights
