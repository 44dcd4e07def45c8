"""Files such as instruments write, made up from a fixed seed: the same bytes at every run.

None of it is measured. The shapes are those of real work: one large stack of small patterns,
a table, a picture, a log in a subdirectory, an empty file that marks the end.
"""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Iterator
from pathlib import Path

SEED = 20
PATTERN_SIDE = 60  # pixels
PATTERNS = 75 * 75  # a map of 75 x 75 points
PATTERN_HEADER_BYTES = 512
IMAGE_WIDTH, IMAGE_HEIGHT = 640, 480  # pixels

# Silicon, Cu K-alpha: 2 theta in degrees, intensity in percent of the strongest (PDF 27-1402).
SILICON = ((28.44, 100), (47.30, 55), (56.12, 30), (69.13, 6), (76.38, 11))
PEAK_WIDTH = 0.12  # degrees


def prepare_sample(directory: Path) -> None:
    """Make `directory` with its subdirectories, as an instrument does at the start of a day."""
    for name in ("logs", "scans", "images", "ebsd"):
        (directory / name).mkdir(parents=True)


def drop_sample(directory: Path) -> Iterator[str]:
    """Write the files into the prepared `directory`, each as an instrument would: opened,
    written in pieces, closed. Yields its name, relative and POSIX, when it is closed."""
    for name, pieces in (
        ("logs/session.log", _log()),
        ("scans/silicon_xrd.csv", _scan()),
        ("images/overview.tif", _image()),
        ("ebsd/map1_patterns.dat", _patterns()),
        ("ebsd/map1.done", iter(())),
    ):
        with open(directory / name, "wb") as file:
            for piece in pieces:
                file.write(piece)
        yield name


def _log() -> Iterator[bytes]:
    yield b"2024-03-14T09:00:00Z session opened by operator\n"
    for step in range(200):
        minute, second = divmod(step * 3, 60)
        text = f"2024-03-14T09:{minute + 1:02d}:{second:02d}Z stage x={step * 0.4:.1f} um ok\n"
        yield text.encode()
    yield b"2024-03-14T09:12:00Z session closed\n"


def _scan() -> Iterator[bytes]:
    """A diffraction scan: Gaussian peaks on a background, with counting noise."""
    noise = random.Random(SEED)
    yield b"# Si powder, Cu K-alpha, simulated\ntwo_theta_deg,counts\n"
    for step in range(3001):
        angle = 20 + step * 0.02
        mean = 40 + sum(
            50 * height * math.exp(-(((angle - peak) / PEAK_WIDTH) ** 2))
            for peak, height in SILICON
        )
        counts = max(0, round(noise.gauss(mean, math.sqrt(mean))))
        yield f"{angle:.2f},{counts}\n".encode()


def _image() -> Iterator[bytes]:
    """A grey picture of bright discs, as an uncompressed TIFF, little-endian."""
    tags = (  # tag, type (3: 16 bits, 4: 32 bits), value; sorted by tag
        (256, 4, IMAGE_WIDTH),
        (257, 4, IMAGE_HEIGHT),
        (258, 3, 8),  # bits a sample
        (259, 3, 1),  # not compressed
        (262, 3, 1),  # 0 is black
        (273, 4, 8 + 2 + 9 * 12 + 4),  # where the pixels start
        (277, 3, 1),  # samples a pixel
        (278, 4, IMAGE_HEIGHT),  # rows in the only strip
        (279, 4, IMAGE_WIDTH * IMAGE_HEIGHT),
    )
    yield struct.pack("<2sHIH", b"II", 42, 8, len(tags))
    for tag, kind, value in tags:
        yield struct.pack("<HHII", tag, kind, 1, value)
    yield struct.pack("<I", 0)
    noise = random.Random(SEED)
    rows = [bytearray(row) for row in _grain(noise, IMAGE_WIDTH, IMAGE_HEIGHT)]
    for _ in range(40):
        x, y, radius = noise.randrange(40, 600), noise.randrange(40, 440), noise.randrange(5, 30)
        bright = bytes([noise.randrange(150, 250)])
        for dy in range(-radius, radius + 1):
            half = math.isqrt(radius**2 - dy**2)
            rows[y + dy][x - half : x + half] = bright * (2 * half)
    yield from map(bytes, rows)


def _grain(noise: random.Random, width: int, height: int) -> Iterator[bytes]:
    dim = bytes(40 + value // 8 for value in range(256))
    return (noise.randbytes(width).translate(dim) for _ in range(height))


def _patterns() -> Iterator[bytes]:
    """Diffraction patterns, 8 bits a pixel: bright bands on a round background, and noise."""
    size = PATTERN_SIDE**2
    header = (
        "EBSD patterns, simulated\n"
        f"width {PATTERN_SIDE}\nheight {PATTERN_SIDE}\nbits 8\npatterns {PATTERNS}\n"
        f"first_pattern_at {PATTERN_HEADER_BYTES}\nrows 75\ncolumns 75\nstep_um 0.4\n"
    )
    yield header.encode().ljust(PATTERN_HEADER_BYTES, b"\0")
    noise = random.Random(SEED)
    grains = [_bands(noise) for _ in range(12)]
    low_bits = int.from_bytes(b"\x1f" * size, "little")
    for number in range(PATTERNS):
        grain = grains[(number // 75 // 25) * 4 + number % 75 // 19]
        speckle = int.from_bytes(noise.randbytes(size), "little") & low_bits
        yield (int.from_bytes(grain, "little") ^ speckle).to_bytes(size, "little")


def _bands(noise: random.Random) -> bytes:
    middle = PATTERN_SIDE / 2
    bands = [
        (math.cos(angle), math.sin(angle), noise.uniform(-15, 15), noise.uniform(1.5, 4))
        for angle in (noise.uniform(0, math.pi) for _ in range(6))
    ]
    pixels = bytearray()
    for row in range(PATTERN_SIDE):
        for column in range(PATTERN_SIDE):
            x, y = column - middle, row - middle
            value = 110 - (x * x + y * y) / 30
            value += sum(35 for c, s, at, width in bands if abs(x * c + y * s - at) < width)
            pixels.append(min(max(int(value), 0), 223))
    return bytes(pixels)
