"""A file's names: on disk, in the topic, on a screen."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

from openmsi.errors import RecordRejected
from openmsi.protocol import Path as TopicPath
from openmsi.protocol import to_path


def topic_path(native: str, prefix: str) -> TopicPath:
    """The path in the topic of the file `native` (relative, POSIX).

    Raises:
        RecordRejected: the name cannot be a path in a topic; the detail says why.
    """
    try:
        native.encode()
    except UnicodeEncodeError:
        raise RecordRejected("bad-path", "its name is not valid UTF-8; rename it") from None
    return to_path(f"{prefix}/{native}" if prefix else native)


def check_twin(root: Path, native: str) -> None:
    """Two names on disk may be one path in the topic, where one would replace the other.

    Raises:
        RecordRejected: another file has the same name in Unicode's normal form.
    """
    normal = unicodedata.normalize("NFC", native)
    if normal == native:
        return
    twin = root / normal
    if twin.exists() and not os.path.samefile(twin, root / native):
        detail = f"its name differs from {normal!r} in its Unicode form only; rename it"
        raise RecordRejected("bad-path", detail)


def shown(native: str) -> str:
    """A name that can be printed and encoded, also one that is not valid Unicode."""
    return native.encode(errors="surrogateescape").decode(errors="replace")
