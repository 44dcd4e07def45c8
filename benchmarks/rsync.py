"""rsync with a daemon on this machine: the usual way to move many small files."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.contest import Command
from openmsi.broker.probe import accepts, free_ports

_CONFIG = """\
use chroot = no
{identity}
[all]
path = {root}
read only = no
"""


class Rsync:
    """A daemon that serves what is below `root`."""

    def __init__(self, root: Path, port: int) -> None:
        self._root = root
        self._url = f"rsync://127.0.0.1:{port}/all"

    def send(self, tree: Path, target: Path, *options: str) -> Command:
        return ["rsync", "-a", *options, f"{tree}/", f"{self._there(target)}/"]

    def receive(self, tree: Path, target: Path, *options: str) -> Command:
        return ["rsync", "-a", *options, f"{self._there(tree)}/", f"{target}/"]

    def _there(self, path: Path) -> str:
        return f"{self._url}/{path.relative_to(self._root).as_posix()}"


@contextmanager
def rsync_daemon(root: Path) -> Iterator[Rsync | None]:
    """None where there is no rsync."""
    if not shutil.which("rsync"):
        yield None
        return
    [port] = free_ports(1)
    # As root it would become nobody, who may not read what we made.
    identity = "uid = root\ngid = root\n" if os.geteuid() == 0 else ""
    config = root / "rsyncd.conf"
    config.write_text(_CONFIG.format(identity=identity, root=root))
    line = ["rsync", "--daemon", "--no-detach", "--address=127.0.0.1", f"--port={port}"]
    daemon = subprocess.Popen([*line, f"--config={config}"], stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while not accepts(port):
            if time.monotonic() > deadline:
                raise RuntimeError("the rsync daemon takes no connections")
            time.sleep(0.05)
        yield Rsync(root, port)
    finally:
        daemon.terminate()
        daemon.wait(30)
