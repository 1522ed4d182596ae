"""What a damaged folder of an embedded store does to every call, for one seed after another.

`damage.py fill URL` makes a collection. `damage.py URL WHOLE FOLDER FIRST LAST` copies the folder
WHOLE to FOLDER, damages it and calls everything. It prints the seed before it begins, and what was
raised that is no `TrivecError`. It runs in a process of its own, since the embedded engine could
end it.
"""

# ruff: noqa: T201

from __future__ import annotations

import os
import random
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from trivec import Document, F, Store, TrivecError, open_store
from trivec.testing import HashEncoder

ENCODER = HashEncoder()
DOCUMENTS = [
    Document(f"d{i}", f"blue whale {i} of the sea", {"lang": "en", "n": i}) for i in range(40)
]
KINDS = ("cut", "flip", "flip", "delete", "folder", "empty", "noise", "swap")


def fill(url: str) -> None:
    """Make the collection that is damaged."""
    with open_store(url) as store:
        store.create(ENCODER.schema, fields={"lang": str, "n": int})
        for start in range(0, 40, 10):
            batch = DOCUMENTS[start : start + 10]
            store.upsert(batch, ENCODER.encode_documents([d.text for d in batch]))
        store.delete(["d3"])


def copy_folder(whole: Path, folder: Path) -> None:
    """Copy files without filling their holes."""
    shutil.rmtree(folder, ignore_errors=True)
    for path in sorted(whole.rglob("*")):
        place = folder / path.relative_to(whole)
        if path.is_dir():
            place.mkdir(parents=True, exist_ok=True)
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        with path.open("rb") as source, place.open("wb") as target:
            target.truncate(path.stat().st_size)
            start = _data(source.fileno(), 0)
            while start is not None:
                stop = os.lseek(source.fileno(), start, os.SEEK_HOLE)
                target.seek(start)
                target.write(os.pread(source.fileno(), stop - start, start))
                start = _data(source.fileno(), stop)


def _data(descriptor: int, start: int) -> int | None:
    """Return where the next bytes that are no hole begin; None behind the last."""
    try:
        return os.lseek(descriptor, start, os.SEEK_DATA)
    except OSError:
        return None


def damage(rng: random.Random, folder: Path) -> str:
    """Damage one file; return what was done."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    file, kind = rng.choice(files), rng.choice(KINDS)
    size = file.stat().st_size
    match kind:
        case "cut":
            os.truncate(file, min(size, rng.choice([size // 2, max(size - 1, 0), 7, 100, 4096])))
        case "empty":
            os.truncate(file, 0)
        case "delete":
            file.unlink()
        case "folder":
            file.unlink()
            file.mkdir()
        case "swap":
            shutil.copyfile(rng.choice(files), file.with_name("swapped"))
            file.with_name("swapped").replace(file)
        case _:
            with file.open("r+b") as opened:
                for _ in range(rng.choice([1, 5, 50])):
                    # Most of what a file says of itself is at its beginning.
                    place = rng.randrange(max(1, min(size, rng.choice([200, 4096, size]))))
                    opened.seek(place)
                    old = (opened.read(1) or b"\0")[0]
                    new = rng.randrange(256) if kind == "noise" else old ^ 1 << rng.randrange(8)
                    opened.seek(place)
                    opened.write(bytes([new]))
    return f"{kind} {file.relative_to(folder)}"


def call_everything(url: str) -> list[str]:
    """Return what was raised that is no `TrivecError`."""
    query = ENCODER.encode_query("blue whale 3")
    vectors = ENCODER.encode_documents([d.text for d in DOCUMENTS])
    calls: dict[str, Callable[[Store], object]] = {
        "describe": lambda store: store.describe(),
        "count": lambda store: store.count(),
        "count where": lambda store: store.count(F("lang") == "en"),
        "search": lambda store: store.search(query),
        "search where": lambda store: store.search(query, filter=F("n") > 3, mode="rrf"),
        "get": lambda store: store.get(["d1", "d22"], with_vectors=True),
        "scan": lambda store: list(store.scan(with_vectors=True, batch_size=7)),
        "upsert": lambda store: store.upsert(DOCUMENTS, vectors),
        "delete": lambda store: store.delete(["d4"]),
        "delete where": lambda store: store.delete_where(F("n") == 5),
        "optimize": lambda store: store.optimize(),
        "create": lambda store: store.create(ENCODER.schema, exist_ok=True),
        "drop": lambda store: store.drop(),
    }
    wrong: list[str] = []

    def attempt(name: str, function: Callable[[], object]) -> object:
        try:
            return function()
        except TrivecError:
            return None
        except BaseException as error:
            wrong.append(f"{name}: {type(error).__name__}: {str(error)[:200]}")
            return None

    store = attempt("open", lambda: open_store(url))
    if isinstance(store, Store):
        for name, function in calls.items():
            attempt(name, lambda function=function: function(store))  # type: ignore[misc]
        attempt("close", store.close)
    return wrong


def main(url: str, whole: str, folder: str, first: str, last: str) -> None:
    """Damage and call, for each seed."""
    warnings.simplefilter("ignore")
    for seed in range(int(first), int(last)):
        print(f"seed {seed}", flush=True)
        copy_folder(Path(whole), Path(folder))
        done = damage(random.Random(seed), Path(folder))
        for wrong in call_everything(url):
            print(f"wrong: {seed}, {done}: {wrong}", flush=True)
    print("end", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "fill":
        fill(sys.argv[2])
    else:
        main(*sys.argv[1:])
