"""What the parts of an agent do: the same as the commands `watch` and `download`."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

from openmsi.agent import Counts, Task
from openmsi.cli.download import DownloadOptions
from openmsi.cli.download import run as receive
from openmsi.cli.options import Host, Stop, existing_directory
from openmsi.cli.sending import SendOptions
from openmsi.cli.watch import Watching
from openmsi.cli.watch import run as send
from openmsi.config import Download, Watch
from openmsi.errors import LocalDiskError
from openmsi.receive.receiver import Receiver
from openmsi.send.filters import Filter
from openmsi.send.sender import Sender

LOOK_SECONDS = 5.0


def work(task: Task, state_dir: Path) -> None:
    """Do the part's work until it is to stop.

    Raises:
        OpenMSIError: it cannot be done now; the caller tries again later.
    """
    if isinstance(task.part, Watch):
        _watch(task, task.part, state_dir)
    elif isinstance(task.part, Download):
        _download(task, task.part, state_dir)


def _watch(task: Task, part: Watch, state_dir: Path) -> None:
    root = existing_directory(part.directory)
    options = SendOptions(
        part.topic,
        task.settings.sending,
        state_dir,
        part.prefix,
        part.chunk_size,
        part.after,
        part.format,
        part.max_rate,
    )
    how = Watching(Filter(part.include, part.exclude), part.settle, part.new_only, part.growing)
    gone = _Gone(root, task.stop)

    def started(sender: Sender) -> None:
        task.counts(partial(_send_counts, sender))

    send(root, options, how, Host(task.report, gone, started))
    if gone.is_gone:
        raise LocalDiskError(str(root), "it is not there any more", "It goes on when it is back.")


class _Gone:
    """Also stops a sender whose directory is gone: one that is made again, or mounted again, is
    another one, and has to be watched anew."""

    def __init__(self, root: Path, stop: Stop) -> None:
        self.is_gone = False
        self._root = root
        self._stop = stop
        self._inode = os.stat(root).st_ino
        self._due = 0.0

    def __call__(self) -> bool:
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + LOOK_SECONDS
            try:
                self.is_gone = os.stat(self._root).st_ino != self._inode
            except FileNotFoundError:
                self.is_gone = True
            except OSError:
                self.is_gone = False  # a network drive that does not answer now may still be there
        return self._stop() or self.is_gone


def _send_counts(sender: Sender) -> Counts:
    now = time.monotonic()
    times = [each.began for each in sender.in_flight()]
    if (since := sender.finder.waiting_since()) is not None:
        times.append(since)
    oldest = now - min(times) if times else None
    return Counts(sender.finder.waiting(), len(sender.in_flight()), oldest)


def _download(task: Task, part: Download, state_dir: Path) -> None:
    options = DownloadOptions(
        part.topic,
        part.group,
        False,
        task.settings.receiving,
        state_dir,
        not part.directory.exists(),
        part.stale_after,
    )

    def started(receiver: Receiver) -> None:
        task.counts(partial(_receive_counts, receiver))

    receive(part.directory, options, Host(task.report, task.stop, started))


def _receive_counts(receiver: Receiver) -> Counts:
    return Counts(in_flight=receiver.stats.open, lag=receiver.stats.lag)
