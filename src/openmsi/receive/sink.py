"""Where complete files go: what the receiver needs of a destination."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from openmsi.protocol import Manifest


class Refused(Exception):
    """This file can never be written here; `args` are a short reason and a sentence."""


class Sink(Protocol):
    """A destination for complete, verified files."""

    @property
    def spool_directory(self) -> Path:
        """Where incomplete files may be kept so that `publish` is cheap."""
        ...

    def publish(self, manifest: Manifest, spooled: str) -> None:
        """Give the durable file `spooled` its final name, atomically.

        Raises:
            Refused: it can never be written here.
            OSError: it cannot be written now; it is tried again.
        """
        ...

    def sync(self) -> None:
        """Make durable what was published since the last call."""
        ...
