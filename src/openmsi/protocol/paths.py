r"""The file's name in a topic: relative, POSIX, UTF-8 in Unicode form NFC, safe on any system.

One rule for sender and receiver: a name that some receiver could not write safely is refused
where it is sent, and refused again wherever it is decoded. `\` is an ordinary character on Linux
and a separator on Windows: a name may contain it, but what it separates obeys the same rules.
The reserved names are those of Microsoft's "Naming Files, Paths, and Namespaces".
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

_SEPARATOR = re.compile(r"[/\\]")
_DRIVE = re.compile(r"[A-Za-z]:")
_RESERVED = re.compile(
    r"(?i:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³]) *(?:[.:].*)?", re.S
)
# The second and third are the short (8.3) names that Windows makes for the first.
_SPOOL = re.compile(r"\.openmsi|openms~[0-9]+|op[0-9a-f]{4}~[0-9]+")


# A sender checks a file's path, and at once the record that it made of it.
@lru_cache(maxsize=256)
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
    if text[0] in "/\\":
        raise _bad(text, "it is absolute")
    if text[1:2] == ":":  # Windows takes any first character for a drive here, also a digit
        raise _bad(text, "it starts with a drive")
    if any(len(name.encode()) > MAX_NAME_BYTES for name in text.split("/")):
        raise _bad(text, f"a part of it has more than {MAX_NAME_BYTES} bytes")
    parts = _SEPARATOR.split(text)
    for part in parts:
        _check_part(text, part)
    if _is_spool(parts[0]):
        raise _bad(text, f"{SPOOL_NAME} is where receivers keep unfinished files")
    return Path(text)


def _check_part(text: str, part: str) -> None:
    if not part:
        raise _bad(text, "it has an empty part")
    # Windows drops dots and spaces at the end of a name, and a colon starts the name of a stream
    # in the file before it: what is left here may be the directory itself, or the one above.
    if not part.partition(":")[0].strip(". "):
        raise _bad(text, f"its part {part[:80]!r} starts with nothing but dots and spaces")
    if _DRIVE.match(part):
        raise _bad(text, f"its part {part[:80]!r} starts with a drive letter")
    if _RESERVED.fullmatch(part):
        raise _bad(text, f"its part {part[:80]!r} is a reserved device name on Windows")


def _is_spool(part: str) -> bool:
    # As file systems compare: macOS and Windows ignore case, HFS+ also characters that are not
    # seen, Windows the dots and spaces at the end and what follows a colon.
    if not part.isascii():
        part = "".join(each for each in part if unicodedata.category(each) != "Cf")
    return bool(_SPOOL.fullmatch(part.partition(":")[0].rstrip(". ").casefold()))


def to_path(native: str) -> Path:
    """The topic's path for a relative POSIX name found on disk: normalised, then checked.

    Raises:
        RecordRejected: as `check_path`.
    """
    return check_path(unicodedata.normalize("NFC", native))


# A path comes once per chunk, and a large file has thousands of them.
@lru_cache(maxsize=256)
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
