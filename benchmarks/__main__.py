"""python -m benchmarks [--quick] [--repeats N] [--large-mb N] [--peer DIR] [PART ...]"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from benchmarks.lab import Options, laboratory
from benchmarks.parts import PARTS
from benchmarks.report import show, write

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="small sizes: does it run?")
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--large-mb", type=int, help="size of the large file, in MB")
    parser.add_argument("--files", type=int, help="number of small files")
    parser.add_argument("--peer", type=Path, help="directory with the peer's programs")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the results go")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    named = ("repeats", "large_mb", "files", "peer")
    changes = {name: getattr(given, name) for name in named if getattr(given, name) is not None}
    options = replace(Options.quick() if given.quick else Options(), **changes)
    with laboratory(options) as lab:
        for name in given.parts or PARTS:
            table = PARTS[name](lab)
            show(table)
            write({name: table}, given.out)


if __name__ == "__main__":
    main()
