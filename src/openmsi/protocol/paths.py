"""The file's name in a topic: relative, POSIX, UTF-8 in Unicode form NFC, safe on any system.

One rule for sender and receiver: a name that some receiver could not write safely is refused
where it is sent, and refused again wherever it is decoded. The reserved names are those of
Microsoft's "Naming Files, Paths, and Namespaces".
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import NewType

from openmsi.errors import RecordRejected

Path = NewType("Path", str)

MAX_PATH_BYTES = 4096
MAX_NAME_BYTES = 255
# Receivers keep unfinished files under this name, so no file of a topic may lie there.
SPOOL_NAME = ".openmsi"

_DRIVE = re.compile(r"[A-Za-z]:")
_RESERVED = re.compile(
    r"(?i:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])[ ]*(?:[.:].*)?", re.S
)


def check_path(text: str) -> Path:
    """Return `text` as a Path.

    Raises:
        RecordRejected: reason `bad-path`; the detail says which rule is broken.
    """
    if not text:
        raise _bad(text, "it is empty")
    if "\0" in text:
        raise _bad(text, "it contains a NUL character")
    try:
        length = len(text.encode())
    except UnicodeEncodeError:
        raise _bad(text, "it is not valid Unicode") from None
    if length > MAX_PATH_BYTES:
        raise _bad(text, f"it has {length} bytes, more than {MAX_PATH_BYTES}")
    if not unicodedata.is_normalized("NFC", text):
        raise _bad(text, "it is not in Unicode form NFC")
    if text[0] == "/":
        raise _bad(text, "it is absolute")
    if _DRIVE.match(text):
        raise _bad(text, "it starts with a drive letter")
    names = text.split("/")
    for name in names:
        _check_name(text, name)
    if names[0] == SPOOL_NAME:
        raise _bad(text, f"{SPOOL_NAME} is where receivers keep unfinished files")
    return Path(text)


def _check_name(text: str, name: str) -> None:
    if not name:
        raise _bad(text, "it has an empty part")
    if name in (".", ".."):
        raise _bad(text, f"it contains {name!r}")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise _bad(text, f"a part of it has more than {MAX_NAME_BYTES} bytes")
    if name[0] == "\\" or "..\\" in name or name.endswith("\\.."):
        raise _bad(text, "it climbs or is absolute where \\ separates names")
    if _RESERVED.fullmatch(name):
        raise _bad(text, f"{name!r} is a reserved device name on Windows")


def to_path(native: str) -> Path:
    """The topic's path for a relative POSIX name found on disk: normalised, then checked.

    Raises:
        RecordRejected: as `check_path`.
    """
    return check_path(unicodedata.normalize("NFC", native))


# A path comes once per chunk, and a large file has thousands of them.
@lru_cache(maxsize=1024)
def decode_path(key: bytes) -> Path:
    """Return the path that a record's key holds.

    Raises:
        RecordRejected: as `check_path`, also for bytes that are not UTF-8.
    """
    if len(key) > MAX_PATH_BYTES:
        raise RecordRejected(
            "bad-path", f"the key has {len(key)} bytes, more than {MAX_PATH_BYTES}"
        )
    try:
        text = key.decode()
    except UnicodeDecodeError:
        raise RecordRejected("bad-path", f"the key {key[:40]!r} is not UTF-8") from None
    return check_path(text)


def _bad(text: str, why: str) -> RecordRejected:
    shown = text if len(text) <= 100 else text[:97] + "..."
    return RecordRejected("bad-path", f"path {shown!r}: {why}")
