"""Writes into the ledger, in time, how far the files on their way are."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable

from openmsi.errors import DiskFull
from openmsi.events import Report, Waits
from openmsi.send.ledger import Entry, Ledger, in_flight
from openmsi.send.reading import Reading
from openmsi.send.transfer import Progress, State

LEDGER_SECONDS = 0.2


class Notes:
    """What a restart may rely on.

    Args:
        chunk_size: files of at most so many bytes are sent as a whole or not at all; their
            progress is not worth a note.
        report: hears when the ledger's disk is full, and when it is not any more.
    """

    def __init__(self, ledger: Ledger, chunk_size: int, report: Report) -> None:
        self.disk_full = False  # then nothing more may be begun
        self._ledger = ledger
        self._chunk_size = chunk_size
        self._due = 0.0
        self._disk = Waits(report)

    def progress(self, each: Reading) -> None:
        """Note how much of the file is acknowledged."""
        under_way = each.transfer.state in (State.GROWING, State.READING, State.DRAINING)
        if under_way and not each.comparing:
            progress = each.transfer.progress() or Progress(each.transfer.version, 0)
            self._ledger.note(in_flight(each.native, each.identity, each.attempt, progress))

    def given_up(self, entry: Entry) -> None:
        """Note it at once, before the abort is sent: after a crash, nothing may go on with a
        version that the topic calls off."""
        self._ledger.note(entry)
        with contextlib.suppress(DiskFull):  # noticed and waited for in `keep`
            self._ledger.flush()

    def keep(self, active: Iterable[Reading]) -> None:
        """Write what was noted, and the progress of these, when it is time again."""
        now = time.monotonic()
        if now < self._due:
            return
        for each in active:
            if each.identity.size > self._chunk_size:
                self.progress(each)
        self._due = now + LEDGER_SECONDS
        full = None
        try:
            self._ledger.flush()
        except DiskFull as error:
            full = error
        self.disk_full = full is not None
        self._disk.because(full)
