"""What is to be examined: brokers, and what is to be done with topics and directories."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from openmsi.config import AgentSettings, Download, Heartbeat, Part, Watch
from openmsi.kafka import KafkaSettings
from openmsi.send.formats import NATIVE, Format


class TopicUse(msgspec.Struct, frozen=True):
    """What is to be done with a topic.

    Args:
        chunk_size: in bytes; None for what fits.
        files: whether it carries files, not messages about an agent.
        group: of the receiver; empty for one of its own.
    """

    topic: str
    sends: bool = False
    receives: bool = False
    chunk_size: int | None = None
    format: Format = NATIVE
    files: bool = True
    group: str = ""


class FileUse(msgspec.Struct, frozen=True):
    """What a directory is for: files are sent from it, rebuilt in it, or moved to it; or it holds
    the state. Of the first, `changes` says whether sent files go away."""

    directory: Path
    purpose: Literal["send", "receive", "move", "state", "log"]
    changes: bool = False


class Case(msgspec.Struct, frozen=True):
    """All that is to be examined.

    Args:
        service: the name of the service to look for; empty for none.
        agent: the agent.toml, if there is one.
    """

    sending: KafkaSettings
    receiving: KafkaSettings
    topics: tuple[TopicUse, ...] = ()
    directories: tuple[FileUse, ...] = ()
    service: str = "openmsi"
    agent: Path | None = None


def case_of(settings: AgentSettings, state_dir: Path, service: str) -> Case:
    """What an agent with these settings needs; `state_dir` is where it keeps its state."""
    directories: list[FileUse] = []
    for watch in settings.watches:
        directories.append(FileUse(watch.directory, "send", watch.after != "keep"))
        if watch.after.startswith("move:"):
            directories.append(FileUse(Path(watch.after.removeprefix("move:")), "move"))
    directories += [FileUse(each.directory, "receive") for each in settings.downloads]
    directories.append(FileUse(state_dir, "state"))
    if settings.general.log_file:
        directories.append(FileUse(settings.general.log_file.parent, "log"))
    return Case(
        settings.sending,
        settings.receiving,
        _once(map(_topic_use, settings.parts)),
        tuple(dict.fromkeys(directories)),
        service,
        settings.file,
    )


def _topic_use(part: Part) -> TopicUse:
    match part:
        case Watch():
            # A file is deleted only after it was read back.
            reads = part.after == "delete"
            return TopicUse(part.topic, True, reads, part.chunk_size, part.format)
        case Download():
            return TopicUse(part.topic, receives=True, group=part.group)
        case Heartbeat():
            return TopicUse(part.topic, sends=True, files=False)


def _once(uses: Iterable[TopicUse]) -> tuple[TopicUse, ...]:
    """The same topic, used in the same way, is examined once."""
    return tuple(dict.fromkeys(uses))
