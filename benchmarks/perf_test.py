"""Kafka's own measure of a producer, `kafka-producer-perf-test`, run with the broker's Java."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import platformdirs

from benchmarks.contest import Command
from openmsi.broker.fetch import resolved
from openmsi.broker.java import find_java

# The newest on Maven Central; it need not be that of the broker, since it is a program of its own.
TOOLS_VERSION = "4.3.1"
_PAYLOADS = 8
_MAIN = "org.apache.kafka.tools.ProducerPerformance"
# A record is a batch of its own, as with openmsi. The rest is what suits records of this size.
_SETTINGS = {
    "acks": "all",
    "enable.idempotence": "true",
    "linger.ms": "5",
    "batch.size": "1048576",
    "buffer.memory": str(64 * 1024 * 1024),
    "compression.type": "none",
}


class ProducerPerformance:
    """Raises what jgo raises when the jars can neither be found in the user's cache nor fetched."""

    def __init__(self) -> None:
        self._java = find_java()
        self._jars = _jars()

    @classmethod
    def here(cls) -> ProducerPerformance | None:
        """None, and a line on stderr, when it cannot be had."""
        try:
            return cls()
        except (ImportError, RuntimeError, ValueError, OSError) as error:
            print(f"  without kafka-producer-perf-test: {error}", file=sys.stderr)
            return None

    def command(self, bootstrap: str, topic: str, records: int, payloads: Path) -> Command:
        """Args:
        payloads: a line each. The tool can make them itself, but is then busy with nothing else.
        """
        settings = {"bootstrap.servers": bootstrap, **_SETTINGS}
        return [
            self._java,
            "-Xmx512m",
            "-cp",
            os.pathsep.join(map(str, self._jars)),
            _MAIN,
            *("--topic", topic, "--throughput", "-1"),
            *("--num-records", str(records), "--payload-file", payloads),
            "--command-property",
            *(f"{key}={value}" for key, value in settings.items()),
        ]


def payload_file(path: Path, size: int) -> Path:
    """A few payloads of `size` letters each."""
    chance = random.Random(5)
    letters = [bytes(65 + each % 26 for each in chance.randbytes(size)) for _ in range(_PAYLOADS)]
    path.write_bytes(b"\n".join(letters))
    return path


def _jars() -> list[Path]:
    """Those of the tools and of all that they need, about 45 MB."""
    home = Path(platformdirs.user_cache_dir("openmsi-benchmarks", appauthor=False))
    paths = home / f"kafka-tools-{TOOLS_VERSION}"
    if not paths.exists():
        home.mkdir(parents=True, exist_ok=True)
        print(f"  fetching kafka-tools {TOOLS_VERSION}", file=sys.stderr)
        found = resolved(f"org.apache.kafka:kafka-tools:{TOOLS_VERSION}", home / "repository")
        paths.write_text("".join(f"{each}\n" for each in found), encoding="utf-8")
    return [Path(line) for line in paths.read_text(encoding="utf-8").splitlines()]
