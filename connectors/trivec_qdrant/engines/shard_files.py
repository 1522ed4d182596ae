"""The files of an embedded shard, by the names that the engine and trivec give them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from trivec.errors import StoreError
from trivec.outputs import PRIVATE_FILE, PRIVATE_FOLDER

try:
    import fcntl
except ImportError:  # Windows, where a file that somebody has open cannot be deleted
    fcntl = None  # type: ignore[assignment]

CONFIG = "edge_config.json"  # the engine's own description
OURS = "trivec.json"  # trivec's own metadata; see `schema.own_metadata`
UNFINISHED = "trivec.json.part"  # exists while a collection without OURS is made or dropped

_FILES = frozenset({CONFIG, "payload_index.json", "applied_seq.json", OURS, UNFINISHED})
_WAL = re.compile(r"first-index|(?:open|closed)-[0-9]+|tmp-[\w-]+")
_SEGMENT = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?:\.deleted)?")
# All file names that qdrant-edge-py 0.9.0 gives in a segment, from the strings of its library.
_IN_SEGMENT = re.compile(
    r"""(?:version\.info|(?:segment|config|segment_manifest|applied_seq|histogram_config)\.json
    |(?:mutable_)?id_tracker\.(?:mappings|versions|deleted)
    |(?:chunk|page|log_page)_[0-9]+\.(?:mmap|dat)
    |(?:flags_[ab]|compact_flags|status|bitmask|gaps|(?:log_|compacted_)?tracker|tracker_journal
      |matrix|deleted|deleted_points|vocab|postings|inverted_index|term_frequencies
      |point_to_(?:tokens_count|doc_len)|tq_vectors)\.dat
    |(?:links|links_compressed|links_comp_vec|graph|points_map|points_map_ids
      |points_map_block_index|point_to_values|values_to_points|prefix_index|data|data_block_index
      |counts_per_hash|counts_per_hash_block_index|histogram_borders|deleted|deleted_mask)\.bin
    |(?:quantized(?:\.offsets)?|offsets|inverted_index|tq_vectors)\.data
    |(?:quantized\.meta|quantized\.config|hnsw_config|sparse_index_config|inverted_index_config
      |indices_tracker|mmap_field_index_config|mmap_field_index_stats|meta|quantized_meta)\.json
    |quantized_offsets_data)""",
    re.VERBOSE,
)


def remove_shard(folder: Path) -> None:
    """Delete a shard: its own files by their names, and the folders that are empty then.

    Other files stay, and links are not followed. The shard's description is deleted first: if the
    process dies, the rest is no collection, and the next `create` or `drop` deletes it.
    """
    (folder / UNFINISHED).touch(PRIVATE_FILE)
    for name in (OURS, CONFIG, *_FILES - {OURS, CONFIG, UNFINISHED}):
        _remove_file(folder / name)
    _remove_tree(folder / "wal", _WAL)
    for segments in ("segments", "temp_segments"):
        for segment in _folders_in(folder / segments):
            if _SEGMENT.fullmatch(segment.name):
                _remove_tree(segment, _IN_SEGMENT)
        _remove_tree(folder / segments, re.compile(r"manifest\.json"))
    _remove_file(folder / UNFINISHED)
    _remove_empty(folder)


def _remove_tree(folder: Path, known: re.Pattern[str]) -> None:
    """Delete the files of known names in a folder and below it, and then empty folders."""
    if folder.is_symlink() or not folder.is_dir():
        return
    for entry in list(folder.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            if known is _IN_SEGMENT:
                _remove_tree(entry, known)
        elif known.fullmatch(entry.name):
            _remove_file(entry)
    _remove_empty(folder)


def _folders_in(folder: Path) -> list[Path]:
    if folder.is_symlink() or not folder.is_dir():
        return []
    return [entry for entry in folder.iterdir() if entry.is_dir() and not entry.is_symlink()]


def _remove_file(file: Path) -> None:
    if not file.is_symlink() and file.is_file():
        file.unlink()


def _remove_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()


def make_private(folder: Path) -> None:
    """Let only the owner read the engine's files in a folder that others may enter."""
    for name in ("wal", "segments"):
        (folder / name).chmod(PRIVATE_FOLDER)
    for name in (CONFIG, "payload_index.json"):
        if (folder / name).is_file():
            (folder / name).chmod(PRIVATE_FILE)


def check_unlocked(folder: Path) -> None:
    """Raise StoreError if another process holds the engine's lock, on the folder of its log."""
    if fcntl is None or not (folder / "wal").is_dir():
        return
    descriptor = os.open(folder / "wal", os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise StoreError(f"{folder} is open in another process; close it there") from error
    finally:
        os.close(descriptor)


def allocated_bytes(folder: Path) -> int:
    """Return the bytes that the files of a folder take on the disk, without their holes."""
    return sum(status.st_blocks * 512 for _, status in _files(folder))


def bytes_to_open(folder: Path) -> int:
    """Return the bytes that opening a shard takes: none, except in a file system in memory.

    The engine reads its whole log. In such a file system a hole takes memory once it was read.
    """
    if not _is_in_memory(folder):
        return 0
    return sum(
        max(0, status.st_size - status.st_blocks * 512) for _, status in _files(folder / "wal")
    )


def _is_in_memory(folder: Path) -> bool:
    device = folder.stat().st_dev
    try:
        mounts = Path("/proc/self/mountinfo").read_text("utf-8", "replace").splitlines()
    except OSError:  # no Linux
        return False
    number = f"{os.major(device)}:{os.minor(device)}"
    return any(line.split()[2] == number and " - tmpfs " in line for line in mounts)


def points_of_all_times(folder: Path) -> int:
    """Return how many points the segments hold, including deleted ones.

    The engine keeps a version of 8 bytes for each.
    """
    return sum(
        status.st_size // 8
        for file, status in _files(folder / "segments")
        if file.name in ("mutable_id_tracker.versions", "id_tracker.versions")
    )


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for path, _, names in os.walk(folder):
        for name in names:
            file = Path(path) / name
            try:
                yield file, file.lstat()
            except FileNotFoundError:  # the engine has just deleted it
                continue
