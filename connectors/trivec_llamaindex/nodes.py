"""LlamaIndex's nodes as documents of trivec, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
from llama_index.core.schema import (
    BaseNode,
    ImageDocument,
    ImageNode,
    IndexNode,
    MetadataMode,
    Node,
    NodeRelationship,
    ObjectType,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.schema import Document as LlamaDocument

from trivec import Document, Hit, Vectors
from trivec.arguments import at_least_one
from trivec.document import PRIVATE_KEY, private_metadata, public_metadata
from trivec.errors import InvalidDocumentError, InvalidVectorsError
from trivec.fields import FieldType
from trivec.passages.evidence_metadata import (
    EVIDENCE,
    EvidenceList,
    is_evidence,
    with_evidence,
    without_evidence,
)
from trivec.passages.stored import PARENT, SPAN, count_of, number_of, parent_id_of, passage_id
from trivec.rows import unit

REF_DOC_ID = f"{PRIVATE_KEY}.ref_doc_id"
"""The metadata path of the id of the document that a node was made from."""

_EXCLUSIONS = ("excluded_embed_metadata_keys", "excluded_llm_metadata_keys")

_CLASSES: dict[str, type[BaseNode]] = {
    cls.class_name(): cls
    for cls in (Node, TextNode, ImageNode, IndexNode, LlamaDocument, ImageDocument)
}


def embedded_text(node: BaseNode) -> str:
    """Return the text to encode, with the metadata that the node shows to embedding models."""
    return node.get_content(metadata_mode=MetadataMode.EMBED)


def encoded_text(document: Document) -> str:
    """Return the text that the vectors of a stored document were made of."""
    return document.text if _node_data(document) is None else embedded_text(to_node(document))


def stored_text(node: BaseNode) -> str:
    """Return the text of the stored document."""
    return node.get_content(metadata_mode=MetadataMode.NONE)


def to_document(node: BaseNode) -> Document:
    """Return a node as a document: the user's metadata as it is, the rest under `PRIVATE_KEY`."""
    if PRIVATE_KEY in node.metadata:
        raise InvalidDocumentError(
            f"node {node.node_id!r}: the metadata key {PRIVATE_KEY!r} is reserved; rename it"
        )
    text = stored_text(node)
    separate = {"id_", "embedding", "metadata", "text", "relationships"}
    rest = node.model_dump(mode="json", exclude=separate)
    # Relationships hold other nodes' metadata, which `Document` turns into plain JSON values.
    rest |= node.model_dump(include={"relationships"})
    resource = rest.get("text_resource")
    if isinstance(resource, dict) and resource.get("text") == text:
        resource["text"] = None
    private: dict[str, Any] = {"node": rest}
    if node.ref_doc_id is not None:
        private["ref_doc_id"] = node.ref_doc_id
    return Document(node.node_id, text, {**node.metadata, PRIVATE_KEY: private})


def source_path(fields: Mapping[str, FieldType]) -> str:
    """Return the metadata path of the id of the document that a stored text was made from.

    It is that of nodes, unless the collection was made for passages.

    Args:
        fields: The declared fields of the collection.
    """
    return PARENT if PARENT in fields and REF_DOC_ID not in fields else REF_DOC_ID


def group_path(group_by: str | None, fields: Mapping[str, FieldType]) -> str | None:
    """Return the metadata path that `group_by` names; "ref_doc_id" names `source_path`."""
    is_source = group_by == "ref_doc_id" and "ref_doc_id" not in fields
    return source_path(fields) if is_source else group_by


def hit_node(hit: Hit, evidence: int) -> BaseNode:
    """Return the node of a hit, with its evidence if the search asked for some.

    Texts for embedding models and for LLMs do not show the evidence.
    """
    node = to_node(hit.document)
    if not evidence:
        return node
    node.metadata = with_evidence(node.metadata, hit.evidence)
    value = node.metadata[EVIDENCE]
    value.excluded_from = tuple(n for n in _EXCLUSIONS if EVIDENCE not in getattr(node, n))
    for name in value.excluded_from:
        setattr(node, name, [*getattr(node, name), EVIDENCE])
    return node


def without_evidence_of_search(node: BaseNode) -> BaseNode:
    """Return a node as it was before `hit_node` added evidence to it."""
    value, text = node.metadata.get(EVIDENCE), stored_text(node)
    if not is_evidence(value, text):
        return node
    names = value.excluded_from if isinstance(value, EvidenceList) else _EXCLUSIONS
    update: dict[str, Any] = {
        name: [key for key in getattr(node, name) if key != EVIDENCE] for name in names
    }
    return node.model_copy(update={"metadata": without_evidence(node.metadata, text), **update})


def to_node(document: Document) -> BaseNode:
    """Return the node as it was, without its embedding; another document becomes a `TextNode`."""
    metadata = public_metadata(document)
    rest = _node_data(document)
    if rest is None:
        return _foreign_node(document, metadata)
    data = {**rest, "id_": document.id, "metadata": metadata}
    cls = _CLASSES.get(str(rest.get("class_name")), TextNode)
    if issubclass(cls, TextNode):
        return cls.from_dict({**data, "text": document.text})
    resource = rest.get("text_resource")
    if isinstance(resource, dict):
        data["text_resource"] = {**resource, "text": document.text}
    return cls.from_dict(data)


def _node_data(document: Document) -> dict[str, Any] | None:
    """Return what a node was stored with beside its text and metadata; None for no node.

    A passage may have such data of its parent.
    """
    data = private_metadata(document).get("node")
    return data if isinstance(data, dict) and parent_id_of(document) is None else None


def _foreign_node(document: Document, metadata: dict[str, Any]) -> TextNode:
    """Return a node of a document that no node was stored as; a passage knows its parent."""
    node = TextNode(id_=document.id, text=document.text, metadata=metadata)
    parent = parent_id_of(document)
    number = None if parent is None else number_of(document, parent)
    if parent is None or number is None:
        return node
    node.start_char_idx, node.end_char_idx = metadata[SPAN]
    node.relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(
        node_id=parent, node_type=ObjectType.DOCUMENT
    )
    near = {NodeRelationship.PREVIOUS: number - 1, NodeRelationship.NEXT: number + 1}
    for relationship, n in near.items():
        if 0 <= n < count_of(document):
            node.relationships[relationship] = RelatedNodeInfo(
                node_id=passage_id(parent, n), node_type=ObjectType.TEXT
            )
    node.excluded_embed_metadata_keys = list(metadata)  # as ingestion encodes passages
    node.excluded_llm_metadata_keys = [PARENT, SPAN]
    return node


def batches(nodes: Sequence[BaseNode], size: int) -> Iterator[list[BaseNode]]:
    """Yield nodes in batches; of several with the same id in a batch, the last one.

    Evidence that a search has added to a node is left out.
    """
    size = at_least_one(size, "batch_size")
    rest = map(without_evidence_of_search, nodes)
    while batch := list(islice(rest, size)):
        yield list({node.node_id: node for node in batch}.values())


def rows(nodes: Sequence[BaseNode], encoded: Vectors | None) -> tuple[list[Document], Vectors]:
    """Return nodes as documents, and their vectors; a node's own embedding is the dense one."""
    dense = None if encoded is None or encoded.dense is None else encoded.dense.copy()
    if encoded is None:
        dims = {len(node.embedding or []) for node in nodes}
        if len(dims) != 1 or 0 in dims:
            lacking = next((n.node_id for n in nodes if not n.embedding), nodes[0].node_id)
            raise InvalidVectorsError(
                f"node {lacking!r}: without an encoder every node needs an embedding, of one "
                "dimension; make the vector store with an encoder, or embed the nodes"
            )
        dense = np.zeros((len(nodes), dims.pop()), np.float32)
    if dense is not None:
        for row, node in enumerate(nodes):
            if not node.embedding:
                continue
            if len(node.embedding) != dense.shape[1]:
                raise InvalidVectorsError(
                    f"node {node.node_id!r} has an embedding of dimension {len(node.embedding)}, "
                    f"the encoder's is {dense.shape[1]}; use vector_store.embed_model"
                )
            dense[row] = unit(np.asarray(node.embedding, np.float32))
    vectors = Vectors(
        dense=dense,
        sparse=None if encoded is None else encoded.sparse,
        colbert=None if encoded is None else encoded.colbert,
    )
    return [to_document(node) for node in nodes], vectors
