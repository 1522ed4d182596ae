"""Searching among a few documents that were read with their vectors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from trivec.collection import Page
from trivec.errors import InvalidOptionError
from trivec.fields import FieldType
from trivec.filters.declared import fit_filter
from trivec.grouping import check_group_field, group_hits
from trivec.hit import Hit
from trivec.ranking import rank_hits
from trivec.search import Search
from trivec.stores.memory import search_rows
from trivec.stores.store import Store
from trivec.stores.validation import check_ids
from trivec.stores.view import batches_of
from trivec.twins import Twin, either
from trivec.vectors import Vector


def search_among(
    query: Vector, page: Page, search: Search, fields: Mapping[str, FieldType]
) -> list[Hit]:
    """Return the best documents of a page, as a store that holds no others would.

    With groups, all documents of the page are candidates.

    Args:
        query: The encoded question.
        page: The documents, with their vectors.
        search: The options of the search.
        fields: The declared fields, which give the values of the filter and of groups their types.

    Raises:
        InvalidOptionError: If the mode is "rrf": ranks need the whole collection. If the field of
            the groups is not declared or holds lists.
        InvalidFilterError: If a value of the filter has another type than its field.
    """
    return _cut(_ranked(query, page, search, fields), search, fields)


def search_ids(store: Store, query: Vector, ids: Iterable[str], search: Search) -> Twin[list[Hit]]:
    """Search among the documents with these ids, which are read in pages; see `search_among`.

    Args:
        store: Where the documents are.
        query: The encoded question.
        ids: Any number; unknown ids are left out.
        search: The options of the search.
    """
    wanted = check_ids(ids)
    if search.group_by is not None:  # a wrong field is told before documents are read
        yield from either(store.search_many, store.asearch_many, [], group_by=search.group_by)
    hits: list[Hit] = []
    for batch in batches_of(wanted):
        page = yield from either(store.get, store.aget, batch, with_vectors=True)
        hits += _ranked(query, page, search, store.fields)
    return _cut(hits, search, store.fields) if hits else []


def _ranked(
    query: Vector, page: Page, search: Search, fields: Mapping[str, FieldType]
) -> list[Hit]:
    """Return the best documents of a page; with groups, all of them."""
    if search.mode == "rrf":
        raise InvalidOptionError("mode='rrf' cannot be asked of some documents only")
    if page.vectors is None:
        return []
    order = sorted(range(len(page.documents)), key=lambda row: page.documents[row].id)
    documents = [page.documents[row] for row in order]
    if search.filter is not None:
        search = replace(search, filter=fit_filter(search.filter, fields))
    if search.group_by is not None:
        search = replace(search, candidates=max(search.candidates, len(documents)))
    return search_rows([query], documents, page.vectors.take(order), search)[0]


def _cut(hits: Sequence[Hit], search: Search, fields: Mapping[str, FieldType]) -> list[Hit]:
    """Return the k best hits, or those of the k best groups."""
    if search.group_by is None:
        return rank_hits(hits, search.k)
    check_group_field(search.group_by, fields)
    groups = group_hits(rank_hits(hits, len(hits)), search, fields)
    return [hit for members in groups for hit in members]
