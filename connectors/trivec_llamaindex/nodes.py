"""LlamaIndex's nodes as documents of trivec, and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    TextNode,
)
from llama_index.core.schema import Document as LlamaDocument

from trivec import Document, Vectors
from trivec.arguments import at_least_one
from trivec.document import PRIVATE_KEY, private_metadata, public_metadata
from trivec.errors import InvalidDocumentError, InvalidVectorsError
from trivec.rows import unit

REF_DOC_ID = f"{PRIVATE_KEY}.ref_doc_id"
"""The metadata path of the id of the document that a node was made from."""

_CLASSES: dict[str, type[BaseNode]] = {
    cls.class_name(): cls
    for cls in (Node, TextNode, ImageNode, IndexNode, LlamaDocument, ImageDocument)
}


def embedded_text(node: BaseNode) -> str:
    """Return the text to encode, with the metadata that the node shows to embedding models."""
    return node.get_content(metadata_mode=MetadataMode.EMBED)


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


def to_node(document: Document) -> BaseNode:
    """Return the node as it was, without its embedding; another document becomes a `TextNode`."""
    metadata = public_metadata(document)
    rest = private_metadata(document).get("node")
    if not isinstance(rest, dict):
        return TextNode(id_=document.id, text=document.text, metadata=metadata)
    data = {**rest, "id_": document.id, "metadata": metadata}
    cls = _CLASSES.get(str(rest.get("class_name")), TextNode)
    if issubclass(cls, TextNode):
        return cls.from_dict({**data, "text": document.text})
    resource = rest.get("text_resource")
    if isinstance(resource, dict):
        data["text_resource"] = {**resource, "text": document.text}
    return cls.from_dict(data)


def batches(nodes: Sequence[BaseNode], size: int) -> Iterator[list[BaseNode]]:
    """Yield nodes in batches; of several with the same id in a batch, the last one."""
    size = at_least_one(size, "batch_size")
    rest = iter(nodes)
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
