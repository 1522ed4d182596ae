"""LlamaIndex's nodes as trivec's documents, and back."""

from __future__ import annotations

from typing import Any

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

from trivec import Document
from trivec.document import PRIVATE_KEY, private_metadata, public_metadata
from trivec.errors import InvalidDocumentError

__all__ = ["REF_DOC_ID", "embedded_text", "stored_text", "to_document", "to_node"]

REF_DOC_ID = f"{PRIVATE_KEY}.ref_doc_id"
"""Where a stored document says which document its node was made from."""

_CLASSES: dict[str, type[BaseNode]] = {
    cls.class_name(): cls
    for cls in (Node, TextNode, ImageNode, IndexNode, LlamaDocument, ImageDocument)
}


def embedded_text(node: BaseNode) -> str:
    """Return what is encoded: the text with the metadata that the node shows to embed models."""
    return node.get_content(metadata_mode=MetadataMode.EMBED)


def stored_text(node: BaseNode) -> str:
    """Return the text of the stored document."""
    return node.get_content(metadata_mode=MetadataMode.NONE)


def to_document(node: BaseNode) -> Document:
    """Return a node as a document: the user's metadata as it is, the rest under `PRIVATE_KEY`.

    Raises:
        InvalidDocumentError: If JSON cannot hold the metadata.
    """
    if PRIVATE_KEY in node.metadata:
        raise InvalidDocumentError(
            f"node {node.node_id!r}: the metadata key {PRIVATE_KEY!r} is reserved; rename it"
        )
    text = stored_text(node)
    apart = {"id_", "embedding", "metadata", "text", "relationships"}
    rest = node.model_dump(mode="json", exclude=apart)
    # They hold other nodes' metadata, whose values are made plain as a document's are.
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
