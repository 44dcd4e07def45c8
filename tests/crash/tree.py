"""A tree of files as instruments write them, from a seed."""

from __future__ import annotations

import hashlib
import os
import random
import threading
import time
from pathlib import Path
from typing import NamedTuple

MB = 1_000_000
MIB = 2**20

ODD_NAMES = (
    "with space.dat",
    "Größe µm.txt",
    "日本語/データ.csv",
    "emoji 🔬.bin",
    "quote ' and \" two",
    "percent %20 # & ? = +",
    "-leading-dash",
    "new\nline",
    "tab\tand\\backslash",
    "no_extension",
    "very/deep/" + "d/" * 20 + "file",
    "n" * 200 + ".long",
    "UPPER/lower.TXT",
)


class TreePlan(NamedTuple):
    """How much to write: counts, bytes, and how fast."""

    small: int
    medium: int
    large: int
    per_second: float


def random_file(path: Path, size: int, seed: int) -> Path:
    """`size` bytes that no compression makes smaller, no two MiB of which are equal."""
    path.parent.mkdir(parents=True, exist_ok=True)
    block = random.Random(seed).randbytes(MIB)
    with open(path, "wb") as file:
        for start in range(0, size, MIB):
            file.write((b"%016d" % start + block[16:])[: size - start])
    return path


def digest_of(path: str | Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_below(root: Path) -> dict[str, Path]:
    """Every file, by its relative name; also hidden ones."""
    found = {}
    for directory, _, names in os.walk(root):
        for name in names:
            path = Path(directory, name)
            found[path.relative_to(root).as_posix()] = path
    return found


class TreeWriter(threading.Thread):
    """Writes the plan into `root`, then changes files until it is told to end.

    New files, appends, rewrites in place and replacements by rename come in any order; what a
    file is in the end is what lies on the disk. `finish` raises what went wrong.
    """

    def __init__(self, root: Path, seed: int, plan: TreePlan) -> None:
        super().__init__(name="tree-writer", daemon=True)
        self.root = root
        self.bytes_written = 0
        self.changes = 0
        self._random = random.Random(seed)
        self._plan = plan
        self._pace = 1 / plan.per_second
        self._enough = threading.Event()
        self._problem: BaseException | None = None
        self._files: list[Path] = []
        self._number = 0

    def run(self) -> None:
        try:
            self._run()
        except BaseException as problem:  # noqa: BLE001 - raised again by finish
            self._problem = problem

    def finish(self) -> None:
        """Write what is left of the plan, without pauses, and end."""
        self._enough.set()
        self.join()
        if self._problem is not None:
            raise self._problem

    def _run(self) -> None:
        large = random_file(self.root / "large/one.h5", self._plan.large, self._number)
        self.bytes_written += self._plan.large
        left = ["small"] * self._plan.small + ["medium"] * self._plan.medium + ["append large"]
        left += [f"odd {number}" for number in range(len(ODD_NAMES))]
        self._random.shuffle(left)
        while left or not self._enough.is_set():
            if left and (self._enough.is_set() or not self._files or self._random.random() < 0.7):
                self._write_new(left.pop(), large)
            else:
                self._change(self._random.choice(self._files))
            self._enough.wait(self._random.uniform(0, 2 * self._pace))

    def _write_new(self, kind: str, large: Path) -> None:
        if kind == "append large":
            self._append(large)
            return
        self._number += 1
        if kind.startswith("odd"):
            path = self.root / "odd" / ODD_NAMES[int(kind[4:])]
        else:
            where = self._random.choice(("", "run-1", "run-2/scans", "a/b/c/d"))
            path = self.root / where / f"{kind}-{self._number:05}.dat"
        size = self._random.choice((0, 1, 100, 5_000, 40_000))
        if kind == "medium":
            size = self._random.randrange(MB, 5 * MB)
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as file:
            self._write(file.fileno(), size, slowly=self._random.random() < 0.2)
        self._files.append(path)

    def _change(self, path: Path) -> None:
        self.changes += 1
        kind = self._random.choice(("append", "rewrite", "replace", "shorten"))
        if kind == "append":
            self._append(path)
        elif kind == "rewrite":
            with open(path, "r+b") as file:
                self._write(file.fileno(), 64, slowly=False)
        elif kind == "shorten":
            with open(path, "r+b") as file:
                self._write(file.fileno(), 32, slowly=False)
                file.truncate(max(32, os.path.getsize(path) // 2))
        else:
            hidden = path.with_name(f".{path.name[:100]}.new")
            with open(hidden, "wb") as file:
                self._write(file.fileno(), self._random.randrange(50_000), slowly=False)
            os.replace(hidden, path)

    def _append(self, path: Path) -> None:
        with open(path, "ab") as file:
            self._write(file.fileno(), self._random.randrange(1, 10_000), slowly=True)

    def _write(self, handle: int, size: int, *, slowly: bool) -> None:
        data = self._random.randbytes(size)
        pieces = 3 if slowly else 1
        step = max(1, -(-size // pieces))
        for start in range(0, size, step):
            os.write(handle, data[start : start + step])
            if slowly and not self._enough.is_set():
                time.sleep(0.05)
        self.bytes_written += size
