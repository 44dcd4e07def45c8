"""python -m benchmarks [--quick] [--out DIR] [--peer DIR] [PART ...]"""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

import benchmarks
from benchmarks.document import RESULTS
from benchmarks.lab import Options, laboratory
from benchmarks.parts import PARTS
from benchmarks.plot import plot
from benchmarks.report import report, show, write
from openmsi.errors import OpenMSIError

_REST_SECONDS = 61
_NAMED = ("repeats", "large_mb", "files", "peer")


def main() -> None:
    given = _arguments()
    changes = {name: getattr(given, name) for name in _NAMED if getattr(given, name) is not None}
    options = dataclasses.replace(Options.quick() if given.quick else Options(), **changes)
    out = given.out or (None if given.quick else RESULTS)
    signal.signal(signal.SIGTERM, _stop)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed program has its bytecode
    with tempfile.TemporaryDirectory(prefix="openmsi-benchmark-", dir=given.work) as work:
        failed = 0
        for name in given.parts or PARTS:
            try:
                _run(name, options, Path(work).resolve(), out)
            except (RuntimeError, OSError, OpenMSIError) as error:
                print(f"{name} failed: {error}", file=sys.stderr)
                failed += 1
    if not given.quick:
        _rest()
    sys.exit(1 if failed else 0)


def _run(name: str, options: Options, work: Path, out: Path | None) -> None:
    print(f"{name}:", file=sys.stderr)
    began = time.monotonic()
    with laboratory(options, work) as lab:
        result = PARTS[name](lab)
    minutes = (time.monotonic() - began) / 60
    show(result)
    if out is None:
        return
    found = report(name, result, options, work, minutes)
    write(found, out)
    try:
        plot(found, out / f"{name}.png")
    except ImportError:
        print("  no plot without matplotlib: pip install 'openmsi[benchmarks]'", file=sys.stderr)


def _rest() -> None:
    """So that what is started next is not slowed down by what was deleted just now.

    ext4 without a journal takes no inode that was freed in the last minute, or longer ago if that
    is not on the disk yet, and searches long for another one (recently_deleted, fs/ext4/ialloc.c).
    """
    print(f"resting for {_REST_SECONDS} s: many files were deleted", file=sys.stderr)
    os.sync()
    time.sleep(_REST_SECONDS)


def _stop(number: int, _: FrameType | None) -> None:
    """End as after Ctrl-C, so that broker, programs and files are gone."""
    raise KeyboardInterrupt


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=benchmarks.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="small sizes: does it run?")
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--large-mb", type=int, help="size of the large file, in MB")
    parser.add_argument("--files", type=int, help="number of small files")
    parser.add_argument("--peer", type=Path, help="directory with the peer's programs")
    parser.add_argument(
        "--out", type=Path, help="where the results go; with --quick, nowhere by default"
    )
    parser.add_argument("--work", type=Path, help="where to work: a disk with 50 GB free")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return given


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
