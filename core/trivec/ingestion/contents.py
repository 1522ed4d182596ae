"""What a document says, as hashes."""

from __future__ import annotations

import hashlib

from trivec.document import Document, metadata_json

__all__ = ["HASH_BYTES", "content_key", "content_of"]

HASH_BYTES = 16


def content_of(document: Document) -> bytes:
    """Return the hash of a document's text, and behind it that of its metadata."""
    metadata = metadata_json(document.metadata, sort_keys=True)
    return _hash(document.text.encode()) + _hash(metadata.encode())


def content_key(id: str, content: bytes) -> bytes:
    """Return a hash that tells the contents of all ids apart."""
    return _hash(id.encode() + b"\0" + content)


def _hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=HASH_BYTES).digest()
