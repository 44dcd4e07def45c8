"""A Windows DLL of one function that another DLL has.

Wine 8 lacks bcryptprimitives.dll, which every Windows since 8 has and all that is written in Rust
asks for random numbers. Its one function is forwarded to an older one with the same arguments.
Layout: Microsoft, "PE Format", export directory with a forwarder.
"""

from __future__ import annotations

import struct

_RVA, _FILE_ALIGNMENT, _SECTION_ALIGNMENT = 0x1000, 0x200, 0x1000


def forwarding_dll(name: str, function: str, target: str) -> bytes:
    """`function` of the DLL `name` is `target`, written MODULE.FUNCTION. For 64-bit Windows."""
    section = _exports(name, function, target)
    raw = section.ljust(-(-len(section) // _FILE_ALIGNMENT) * _FILE_ALIGNMENT, b"\0")
    dos = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x40)
    coff = struct.pack("<4sHHIIIHH", b"PE\0\0", 0x8664, 1, 0, 0, 0, 240, 0x2022)
    standard = struct.pack("<HBBIIIII", 0x20B, 14, 0, 0, len(raw), 0, 0, _RVA)
    windows = struct.pack(
        "<QIIHHHHHHIIIIHHQQQQII",
        *(0x180000000, _SECTION_ALIGNMENT, _FILE_ALIGNMENT, 6, 0, 0, 0, 6, 0, 0),
        *(_RVA + _SECTION_ALIGNMENT, _FILE_ALIGNMENT, 0, 3, 0x160),
        *(0x100000, 0x1000, 0x100000, 0x1000, 0, 16),
    )
    directories = struct.pack("<II", _RVA, len(section)).ljust(16 * 8, b"\0")
    place = (len(section), _RVA, len(raw), _FILE_ALIGNMENT)
    header = struct.pack("<8sIIIIIIHHI", b".edata", *place, 0, 0, 0, 0, 0x40000040)
    head = dos + coff + standard + windows + directories + header
    return head.ljust(_FILE_ALIGNMENT, b"\0") + raw


def _exports(name: str, function: str, target: str) -> bytes:
    tables = _RVA + 40  # behind the directory: one address, one name, one number
    names = tables + 4 + 4 + 2
    texts = [each.encode() + b"\0" for each in (name, function, target)]
    at = [names, names + len(texts[0]), names + len(texts[0]) + len(texts[1])]
    numbers = (1, 1, 1, tables, tables + 4, tables + 8)
    directory = struct.pack("<IIHHIIIIIII", 0, 0, 0, 0, at[0], *numbers)
    return directory + struct.pack("<IIH", at[2], at[1], 0) + b"".join(texts)
