"""python -m benchmarks [--quick] [--out DIR] [--peer DIR] [PART ...]"""

from __future__ import annotations

import argparse
import dataclasses
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

_NAMED = ("repeats", "large_mb", "files", "peer")


def main() -> None:
    given = _arguments()
    changes = {name: getattr(given, name) for name in _NAMED if getattr(given, name) is not None}
    options = dataclasses.replace(Options.quick() if given.quick else Options(), **changes)
    out = given.out or (None if given.quick else RESULTS)
    work = Path(given.work or tempfile.gettempdir()).resolve()
    signal.signal(signal.SIGTERM, _stop)
    for name in given.parts or PARTS:
        print(f"{name}:", file=sys.stderr)
        began = time.monotonic()
        with laboratory(options, work) as lab:
            result = PARTS[name](lab)
        show(result)
        if out:
            found = report(name, result, options, work, (time.monotonic() - began) / 60)
            write(found, out)
            try:
                plot(found, out / f"{name}.png")
            except ImportError:
                print("  no plot without matplotlib: openmsi[benchmarks]", file=sys.stderr)


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
    main()
