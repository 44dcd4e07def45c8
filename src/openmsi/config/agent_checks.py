"""What the parts of an agent must not do to each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from openmsi.config.agent_settings import Download, General, Watch
from openmsi.config.toml import Place
from openmsi.errors import ConfigError
from openmsi.send.formats import NATIVE

Fault = Callable[[Place, str, str], ConfigError]


def check_together(
    watches: Sequence[Watch], downloads: Sequence[Download], general: General, fault: Fault
) -> None:
    """Raises what `fault` makes of the first part that cannot be."""
    titles: dict[str, Place] = {}
    parts: list[tuple[Place, Watch | Download]] = [
        *((("watch", i), each) for i, each in enumerate(watches)),
        *((("download", i), each) for i, each in enumerate(downloads)),
    ]
    for place, part in parts:
        if part.title in titles:
            why = f"another [[{place[0]}]] above has the same directory and topic"
            raise fault((*place, "directory"), why, "Keep one of the two.")
        titles[part.title] = place
        if part.topic == general.heartbeat_topic:
            why = "the files of an agent and its heartbeats cannot share a topic"
            raise fault((*place, "topic"), why, "Name another heartbeat_topic under [agent].")
    for index, watch in enumerate(watches):
        _check_watch(("watch", index), watch, downloads, fault)


def _check_watch(place: Place, watch: Watch, downloads: Sequence[Download], fault: Fault) -> None:
    if watch.growing and watch.format != NATIVE:
        why = f"a file that still grows cannot be sent in the format {watch.format}"
        raise fault((*place, "growing"), why, "Take away growing, or format.")
    for download in downloads:
        both = (watch.directory, download.directory)
        if watch.topic == download.topic and _nested(*both):
            why = f"what a [[download]] writes to {download.directory} would be sent again for ever"
            cure = "Watch a directory apart from it, or send to another topic."
            raise fault((*place, "directory"), why, cure)


def _nested(one: Path, other: Path) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)
