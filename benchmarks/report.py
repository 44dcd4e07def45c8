"""What a part found: shown as a table, kept as JSON with all that it was measured on."""

from __future__ import annotations

import dataclasses
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import confluent_kafka
import msgspec
from rich.console import Console
from rich.table import Table as Shown

from benchmarks.lab import Options
from benchmarks.perf_test import TOOLS_VERSION
from benchmarks.results import Report, Result, number
from openmsi import __version__
from openmsi.broker.fetch import KAFKA_VERSION


def report(part: str, result: Result, options: Options, work: Path, minutes: float) -> Report:
    """Args:
    work: a directory on the disk on which everything was.
    """
    given = {key: value for key, value in dataclasses.asdict(options).items() if key != "peer"}
    return Report(
        part=part,
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        minutes=round(minutes, 1),
        machine={
            "processor": _processor(),
            "cores": str(os.cpu_count()),
            "memory": f"{_memory() / 2**30:.0f} GiB",
            "file system": _file_system(work),
            "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        },
        versions={
            "openmsi": __version__,
            "Apache Kafka": KAFKA_VERSION,
            "librdkafka": confluent_kafka.libversion()[0],
            "confluent-kafka": version("confluent-kafka"),
            "kafka-tools": TOOLS_VERSION,
            "Python": platform.python_version(),
        },
        options=given,
        result=result,
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _file_system(directory: Path) -> str:
    """Its type, from the longest mount point above the directory. Linux only."""
    try:
        mounts = Path("/proc/mounts").read_text().splitlines()
    except OSError:
        return "unknown"
    fields = [line.split() for line in mounts]
    above = [
        (len(at), kind) for _, at, kind, *_ in fields if Path(at) in (directory, *directory.parents)
    ]
    kind = max(above)[1]
    journals = Path("/proc/fs/jbd2")
    # What makes a file durable there costs less than with a journal.
    without = kind == "ext4" and journals.is_dir() and not any(journals.iterdir())
    return f"{kind} without a journal" if without else kind


def show(result: Result) -> None:
    """On the terminal."""
    console = Console(width=120)
    for table in result.tables:
        shown = Shown(title=table.title, title_justify="left")
        shown.add_column("")
        for column in table.columns:
            shown.add_column(column, justify="right")
        for row in table.rows:
            shown.add_row(*map(number, row))
        console.print(shown)
    for note in result.notes:
        console.print(note, style="dim")


def write(report: Report, directory: Path) -> None:
    """As PART.json."""
    directory.mkdir(parents=True, exist_ok=True)
    content = msgspec.json.format(msgspec.json.encode(report), indent=1)
    (directory / f"{report.part}.json").write_bytes(content + b"\n")


def read(file: Path) -> Report:
    return msgspec.json.decode(file.read_bytes(), type=Report)
