"""The content of a document, as hashes and as one line of JSON."""

from __future__ import annotations

import hashlib

from trivec.document import Document, metadata_json

HASH_BYTES = 16


def content_of(document: Document) -> bytes:
    """Return the hash of a document's text, followed by the hash of its metadata."""
    metadata = metadata_json(document.metadata, sort_keys=True)
    return _hash(document.text.encode()) + _hash(metadata.encode())


def content_key(id: str, content: bytes) -> bytes:
    """Return a hash that is different for every pair of id and content."""
    return _hash(id.encode() + b"\0" + content)


def document_json(document: Document) -> str:
    """Return a document as one line of JSON."""
    return metadata_json({"id": document.id, "text": document.text, "metadata": document.metadata})


def _hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=HASH_BYTES).digest()
