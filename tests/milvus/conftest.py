"""Milvus in its two kinds: a file of milvus-lite, and the double with native token vectors."""

from __future__ import annotations

collect_ignore = ["double.py"]  # a program, on private modules of milvus-lite
