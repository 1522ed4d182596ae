"""The Vespa application of a collection: its fields, its rank profiles, and how it is checked."""

from __future__ import annotations

import re
from collections.abc import Mapping

from trivec.colbert_storage import ColbertStorage
from trivec.errors import InvalidOptionError, MissingDependencyError
from trivec.fields import FieldType, field_types
from trivec.schema import Schema
from trivec_vespa.token_layout import TokenLayout

try:
    from vespa import package as vp
except ImportError as error:
    raise MissingDependencyError(
        f"Vespa's client is not installed ({error}); run: pip install 'trivec[vespa]'"
    ) from error

APPLICATION = "trivec"
"""The application's name; its clusters are `trivec_container` and `trivec_content`."""

UNION = "union"
"""The rank profile of the dense and the sparse score."""

MAX_HITS = 10_000
"""The most hits of one query; Vespa's own default of 400 is not enough for k=1000."""

SPARSE_SCALE = 10_000
"""Lexical weights times this are the integer weights of `wand`, which refuses floats. The largest
relative error of a product of 8 terms is 0.03 % (3 % at a scale of 100). It only affects which
documents are candidates; their scores are computed from the floats."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ATTRIBUTES = {
    FieldType.STR: "string",
    FieldType.INT: "long",
    FieldType.FLOAT: "double",
    FieldType.BOOL: "bool",
    FieldType.DATETIME: "long",
    FieldType.LIST_STR: "array<string>",
    FieldType.LIST_INT: "array<long>",
}
_FAST_SEARCH = ["fast-search"]
# `rank: filter` lets the content node keep only bit vectors. pyvespa 1.2 has no option for
# `dictionary`, which must be cased as `match` is, so it is appended to the last line of a field.
_FILTER = "filter"
_CASED_FILTER = "filter\n    dictionary {\n        btree\n        cased\n    }"


def application_package(
    schema: Schema,
    fields: Mapping[str, type | FieldType],
    name: str,
    *,
    colbert: ColbertStorage | None = None,
) -> vp.ApplicationPackage:
    """Return the application package of one collection.

    To put the collection into your own application, add `package.schemas[0]` to it and set
    `maxHits` in its query profile as `package.query_profile` does.

    Args:
        schema: Which vectors the collection holds; usually `encoder.schema`.
        fields: The metadata that filters use, as for `Store.create`.
        name: The collection, which becomes the schema's name.
        colbert: How the collection keeps token vectors; 16 bits by default.

    Raises:
        InvalidOptionError: If Vespa cannot have the name or a field, or token vectors of this
            dimension do not fill whole bytes.

    Example:
        >>> package = application_package(Schema(dense=8, sparse=True, colbert=8), {}, "articles")
        >>> [profile for profile in package.schemas[0].rank_profiles]
        ['union', 'hybrid']
    """
    check_name(name)
    layout = TokenLayout.of(schema, colbert)
    declared = field_types(fields)
    document = vp.Document(
        [*_base_fields(), *_vector_fields(schema, layout), *_metadata_fields(declared)]
    )
    return vp.ApplicationPackage(
        APPLICATION,
        schema=[vp.Schema(name, document, rank_profiles=_profiles(schema, layout))],
        query_profile=vp.QueryProfile([vp.QueryField("maxHits", MAX_HITS)]),
    )


def check_name(name: str) -> str:
    """Return a collection's name, or raise `InvalidOptionError` if no schema can have it."""
    if not _NAME.fullmatch(name):
        raise InvalidOptionError(
            f"collection {name!r}: a Vespa schema's name is a letter or '_' followed by letters, "
            "digits and '_'"
        )
    return name


def attribute_name(path: str) -> str:
    """Return the attribute that holds a declared metadata field.

    >>> attribute_name("author.name")
    'm_author__name'
    """
    return "m_" + path.replace(".", "__")


def _base_fields() -> list[vp.Field]:
    return [
        vp.Field("id", "string", ["summary", "attribute"], attribute=_FAST_SEARCH,
                 match=["word", "cased"], rank=_CASED_FILTER),
        vp.Field("text", "string", ["summary", "index"], index="enable-bm25"),
        # The metadata as it was given, in JSON; filters read attributes.
        vp.Field("metadata", "string", ["summary"]),
        # Which vectors the document has: a missing tensor scores 0, but so may another one.
        vp.Field("parts", "int", ["attribute"], attribute=_FAST_SEARCH),
        # The declared fields that have a value: Vespa cannot ask whether an attribute is set.
        vp.Field("present", "array<string>", ["attribute"], attribute=_FAST_SEARCH,
                 match=["word", "cased"], rank=_CASED_FILTER),
    ]  # fmt: skip


def _vector_fields(schema: Schema, layout: TokenLayout | None) -> list[vp.Field]:
    fields = []
    if schema.dense is not None:
        hnsw = vp.HNSW("prenormalized-angular", 16, 200)
        tensor = f"tensor<bfloat16>(x[{schema.dense}])"
        fields.append(vp.Field("dense_rep", tensor, ["attribute", "index"], ann=hnsw))
    if schema.sparse:
        # Without `rank: filter`, which would disable the fast path of `wand`.
        weights = vp.Field("lexical_ws", "weightedset<int>", ["attribute"], attribute=_FAST_SEARCH)
        exact = vp.Field(
            "lexical_rep", "tensor<float>(t{})", ["attribute"], attribute=["fast-rank"]
        )
        fields += [weights, exact]
    # Read by the second phase only, so they may lie on disk.
    for name, tensor in ({} if layout is None else layout.tensors).items():
        fields.append(vp.Field(name, tensor, ["attribute"], attribute=["paged"]))
    return fields


def _metadata_fields(declared: Mapping[str, FieldType]) -> list[vp.Field]:
    taken: dict[str, str] = {}
    fields = []
    for path, type_ in declared.items():
        name = attribute_name(path)
        # Vespa ignores the case of names.
        other = taken.setdefault(name.lower(), path)
        if other != path:
            raise InvalidOptionError(
                f"the fields {other!r} and {path!r} would be one attribute {name!r} in Vespa, "
                "which does not tell '.' from '__' nor upper from lower case"
            )
        if type_.item is FieldType.STR:
            field = vp.Field(name, _ATTRIBUTES[type_], ["attribute"], attribute=_FAST_SEARCH,
                             match=["word", "cased"], rank=_CASED_FILTER)  # fmt: skip
        elif type_ is FieldType.BOOL:  # one bit per document, searched without an index
            field = vp.Field(name, "bool", ["attribute"])
        else:
            field = vp.Field(
                name, _ATTRIBUTES[type_], ["attribute"], attribute=_FAST_SEARCH, rank=_FILTER
            )
        fields.append(field)
    return fields


def _profiles(schema: Schema, layout: TokenLayout | None) -> list[vp.RankProfile]:
    inputs: list[tuple[str, str] | tuple[str, str, str]] = [
        ("query(w_dense)", "double", "1.0"),
        ("query(w_sparse)", "double", "1.0"),
    ]
    functions = []
    if schema.dense is not None:
        inputs.append(("query(q_dense)", f"tensor<float>(x[{schema.dense}])"))
        functions.append(vp.Function("dense", "sum(query(q_dense) * attribute(dense_rep))"))
    if schema.sparse:
        inputs.append(("query(q_lexical)", "tensor<float>(t{})"))
        functions.append(vp.Function("sparse", "sum(query(q_lexical) * attribute(lexical_rep))"))
    names = [function.name for function in functions]
    first = " + ".join(f"query(w_{name}) * {name}" for name in names) or "0"
    features = [*names, "attribute(parts)"]
    profiles = [
        vp.RankProfile(UNION, first, inputs=inputs, functions=functions, match_features=features)
    ]
    if layout is None:
        return profiles
    hybrid = vp.RankProfile(
        layout.profile,
        first,
        inputs=[
            *inputs,
            ("query(q_colbert)", f"tensor<float>(qt{{}}, x[{layout.dimension}])"),
            ("query(q_len)", "double", "1.0"),
            ("query(w_colbert)", "double", "1.0"),
        ],
        functions=[*functions, vp.Function("colbert", layout.expression)],
        second_phase=vp.SecondPhaseRanking(
            f"{first} + query(w_colbert) * colbert", rerank_count=200
        ),
        match_features=[*names, "colbert", "attribute(parts)"],
    )
    return [*profiles, hybrid]
