"""What compression gives and costs, on bytes of three kinds."""

from __future__ import annotations

import math
import random
import statistics
import sys
from array import array
from pathlib import Path

from benchmarks.contest import MB, Contestant, contest, panel, process, rated
from benchmarks.lab import Lab, Topics
from benchmarks.results import Lines, Result

_MODES = ("none", "lz4", "zstd")
_SIDE = 1024  # pixels of an image: 2 MiB
# More than a record has, so that no record repeats itself.
_BLOCK_IMAGES = 4
_BLOCK_LINES = 120_000


def compression(lab: Lab) -> Result:
    """The modes of `upload --compression`: rate, CPU, and bytes on the broker's disk."""
    size, result = lab.options.settings_mb, Result(tables=[], panels=[])
    kinds = {
        "bytes that do not compress": lab.large_file(size),
        "16-bit images": _file(lab, "images", size, _images()),
        "text (CSV and JSON)": _file(lab, "text", size, _text()),
    }
    shares_of: dict[str, list[tuple[float, float]]] = {}
    for kind, file in kinds.items():
        topics = Topics(lab)
        on_disk: dict[str, list[float]] = {mode: [] for mode in _MODES}
        contestants = [_contestant(lab, file, mode, topics, on_disk[mode]) for mode in _MODES]
        runs = contest(contestants, lab.options.repeats)
        title = f"{size} MB of {kind}, sent"
        table = rated(title, contestants, size, "MB")
        table.columns.append("% on the broker's disk")
        medians = [statistics.median(shares) for shares in on_disk.values()]
        for row, median in zip(table.rows, medians, strict=True):
            row.append(median)
        shares_of[kind] = list(enumerate(medians))
        result.tables.append(table)
        result.panels.append(panel(title, contestants, size, "MB"))
        result.runs.update({f"{kind}: {name}": each for name, each in runs.items()})
        result.samples.update({f"{kind}: {mode}, % on disk": on_disk[mode] for mode in _MODES})
    share = Lines("Of a file's bytes, on the broker's disk", "", "%", shares_of, names=[*_MODES])
    result.panels.append(share)
    result.notes.append(
        "Images are a smooth field and the noise of a detector, text is readings of an instrument."
    )
    return result


def _contestant(
    lab: Lab, file: Path, mode: str, topics: Topics, on_disk: list[float]
) -> Contestant:
    used: list[str] = []

    def command(number: int) -> list[str | Path]:
        used.append(topics.new(1))
        options = ["-t", used[-1], "--compression", mode]
        state = f"compression-{file.name}-{mode}-{number}"
        return [*lab.openmsi("upload", file, *options, state=state)]

    def after(_: int) -> None:
        on_disk.append(100 * lab.bytes_on_disk(used.pop()) / file.stat().st_size)
        topics.drop()

    return Contestant(mode, process(command), after)


def _file(lab: Lab, name: str, megabytes: int, content: bytes) -> Path:
    path = lab.path(f"{name}-{megabytes}")
    with open(path, "wb") as file:
        left = megabytes * MB
        while left > 0:
            left -= file.write(content[:left])
    return path


def _images() -> bytes:
    """What a detector of 16 bits sees: cells that shine, a background, noise of about 1 %."""
    chance = random.Random(3)
    whole = bytearray()
    for _ in range(_BLOCK_IMAGES):
        across, down = chance.uniform(40, 90), chance.uniform(40, 90)
        profile = [math.sin(x / across) + 1 for x in range(_SIDE)]
        for y in range(_SIDE):
            height = 2000 * (math.cos(y / down) + 1)
            noise = zip(chance.randbytes(_SIDE), chance.randbytes(_SIDE), strict=True)
            row = array(
                "H",
                [
                    1200 + int(height * each) + (a >> 3) + (b >> 3)
                    for each, (a, b) in zip(profile, noise, strict=True)
                ],
            )
            if sys.byteorder == "big":
                row.byteswap()
            whole += row.tobytes()
    return bytes(whole)


def _text() -> bytes:
    """Readings of an instrument, half of them as CSV and half as JSON."""
    chance = random.Random(4)
    lines = []
    for number in range(_BLOCK_LINES):
        seconds, volts = number * 0.01, math.sin(number / 700) + chance.gauss(0, 0.01)
        kelvin, counts = 293 + chance.gauss(0, 0.05), chance.randrange(900, 1100)
        if number < _BLOCK_LINES // 2:
            lines.append(f"{seconds:.3f},{volts:.6f},{kelvin:.3f},{counts}\n")
        else:
            lines.append(
                f'{{"t": {seconds:.3f}, "volts": {volts:.6f}, "kelvin": {kelvin:.3f}, '
                f'"counts": {counts}}}\n'
            )
    return "".join(lines).encode()
