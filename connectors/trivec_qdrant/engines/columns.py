"""The vectors of a collection as the client's models, and back."""

from __future__ import annotations

from collections.abc import Mapping

from qdrant_client import models

from trivec.collection import Collection
from trivec_qdrant.schema import (
    DATATYPES,
    Description,
    Names,
    Quantization,
    SparseColumn,
    VectorColumn,
    colbert_bits,
    sparse_datatype,
)

_TURBO = {"turbo4": "bits4", "turbo2": "bits2", "turbo1": "bits1"}


def vector_params(
    collection: Collection, names: Names, quantization: Quantization | None
) -> dict[str, models.VectorParams]:
    """Return how a new collection keeps its dense vectors and its token vectors."""
    schema = collection.schema
    vectors: dict[str, models.VectorParams] = {}
    if schema.dense is not None:
        vectors[names.dense] = models.VectorParams(
            size=schema.dense,
            # Exactly the definition of the score; the cosine would rescale what is stored.
            distance=models.Distance.DOT,
            quantization_config=_quantization(quantization),
        )
    if schema.colbert is not None:
        vectors[names.colbert] = models.VectorParams(
            size=schema.colbert,
            distance=models.Distance.DOT,
            multivector_config=models.MultiVectorConfig(
                comparator=models.MultiVectorComparator.MAX_SIM
            ),
            # No index, since token vectors only rescore. Building one took 150 s instead of 0.8 s
            # for 200 documents of 200 tokens. Without payload_m the collection's would apply.
            hnsw_config=models.HnswConfigDiff(m=0, payload_m=0),
            datatype=models.Datatype(DATATYPES[colbert_bits(collection)]),
            on_disk=True,
        )
    return vectors


def sparse_params(
    collection: Collection, names: Names
) -> dict[str, models.SparseVectorParams] | None:
    """Return how a new collection keeps its lexical weights; None if it has none."""
    if not collection.schema.sparse:
        return None
    datatype = models.Datatype(sparse_datatype(collection))
    index = models.SparseIndexParams(on_disk=False, datatype=datatype)
    return {names.sparse: models.SparseVectorParams(index=index)}


def description(info: models.CollectionInfo) -> Description:
    """Return the client's description of a collection that exists."""
    params = info.config.params
    vectors: Mapping[str, models.VectorParams] | models.VectorParams = params.vectors or {}
    if isinstance(vectors, models.VectorParams):
        vectors = {"": vectors}
    return Description(
        vectors={name: _column(vector) for name, vector in vectors.items()},
        sparse={
            name: SparseColumn(
                None if vector.modifier is None else vector.modifier.value,
                vector.index.datatype.value if vector.index and vector.index.datatype else None,
            )
            for name, vector in (params.sparse_vectors or {}).items()
        },
        indexes={key: index.data_type.value for key, index in info.payload_schema.items()},
        metadata=info.config.metadata or {},
    )


def _column(vector: models.VectorParams) -> VectorColumn:
    return VectorColumn(
        size=vector.size,
        distance=vector.distance.value,
        multivector=vector.multivector_config is not None,
        datatype=vector.datatype.value if vector.datatype is not None else "float32",
    )


def _quantization(name: str | None) -> models.QuantizationConfig | None:
    if name is None:
        return None
    if name == "int8":
        int8 = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True)
        return models.ScalarQuantization(scalar=int8)
    if name == "binary":
        return models.BinaryQuantization(binary=models.BinaryQuantizationConfig(always_ram=True))
    bits = models.TurboQuantBitSize(_TURBO[name])
    return models.TurboQuantization(
        turbo=models.TurboQuantQuantizationConfig(always_ram=True, bits=bits)
    )
