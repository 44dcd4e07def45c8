"""The programs of OpenMSIStream on the same broker, as separate processes."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

from benchmarks.lab import Lab

# Powers of two only; the next one does not fit a topic with the default limit.
BEST_CHUNK_SIZE = 524_288
_CONFIG = """\
[broker]
bootstrap.servers = {bootstrap}

[producer]
batch.size = 2000000
linger.ms = 100
key.serializer = StringSerializer
value.serializer = DataFileChunkSerializer

[consumer]
group.id = create_new
auto.offset.reset = earliest
enable.auto.commit = False
fetch.min.bytes = 100000
key.deserializer = StringDeserializer
value.deserializer = DataFileChunkDeserializer
"""


class Peer:
    """Args:
    programs: the directory with UploadDataFile and the others.
    """

    def __init__(self, lab: Lab, programs: Path) -> None:
        self._programs = programs
        self._lab = lab
        self._config = lab.path("peer.config")
        self._config.write_text(_CONFIG.format(bootstrap=lab.bootstrap))

    @classmethod
    def of(cls, lab: Lab) -> Peer | None:
        return cls(lab, lab.options.peer) if lab.options.peer else None

    def _command(self, name: str, *arguments: str | Path, topic: str) -> list[str | Path]:
        program = self._programs / name
        return [program, *arguments, "--config", self._config, "--topic_name", topic]

    def upload(self, file: Path, topic: str) -> list[str | Path]:
        chunk = ["--chunk_size", str(BEST_CHUNK_SIZE)]
        return self._command("UploadDataFile", file, *chunk, topic=topic)

    def stream(self, topic: str, root: Path, target: Path) -> float:
        """Seconds from the first file in the watched directory to the last one rebuilt."""
        source = self._lab.path("watched")
        count = sum(1 for each in root.rglob("*") if each.is_file())
        running = [
            self._start(self._command("DataFileDownloadDirectory", target, topic=topic)),
            self._start(self._command("DataFileUploadDirectory", source, topic=topic)),
        ]
        try:
            time.sleep(10)  # they tell nobody when they are ready
            began = time.monotonic()
            shutil.copytree(root, source, dirs_exist_ok=True)
            while self._rebuilt(target) < count:
                time.sleep(0.05)
                if time.monotonic() - began > 600:
                    raise RuntimeError(f"the peer rebuilt {self._rebuilt(target)} of {count}")
            return time.monotonic() - began
        finally:
            for each in running:
                each.communicate(b"q\n", timeout=120)

    def _start(self, command: list[str | Path]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _rebuilt(self, target: Path) -> int:
        return sum(1 for each in target.rglob("*.dat"))
