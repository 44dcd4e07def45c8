"""What an `agent.toml` says: frozen values, valid once read.

The description of each type says in messages what was expected, and its example how to write it.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from openmsi.kafka import KafkaSettings
from openmsi.send.formats import NATIVE, Format

_TOPIC = r"^(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}$"
_TOPIC_WORDS = "the name of a Kafka topic: letters, digits, '.', '_' and '-'"

Directory = Annotated[Path, Meta(description="the path of a directory", examples=["/data/ebsd"])]
File = Annotated[Path, Meta(description="the path of a file", examples=["agent.log"])]
Topic = Annotated[str, Meta(pattern=_TOPIC, description=_TOPIC_WORDS, examples=["ebsd"])]
Flag = Annotated[bool, Meta(description="true or false", examples=[True])]
Patterns = Annotated[
    tuple[str, ...],
    Meta(description="a list of patterns, as in .gitignore", examples=[["*.csv"]]),
]


def meta_of(kind: Any) -> Meta:
    """What the type of a field says for people."""
    for each in (kind, *typing.get_args(kind)):
        for found in getattr(each, "__metadata__", ()):
            if isinstance(found, Meta):
                return found
    raise AssertionError(f"no description of {kind}")


class Watch(msgspec.Struct, frozen=True):
    """One `[[watch]]`: a directory whose files are sent. `settle` is in seconds, `chunk_size` in
    bytes, `max_rate` in 10^6 bytes a second; the rest is as for `openmsi watch`."""

    directory: Directory
    topic: Topic
    prefix: Annotated[str, Meta(description="a path in the topic, with /", examples=["sem-3"])] = ""
    include: Patterns = ()
    exclude: Patterns = ()
    settle: Annotated[
        float, Meta(ge=0, le=86_400, description="0 to 86400 seconds", examples=[2.0])
    ] = 2.0
    new_only: Flag = False
    growing: Flag = False
    after: Annotated[
        str,
        Meta(
            pattern=r"^(keep|delete|move:.+)$",
            description="keep, delete or move:DIRECTORY",
            examples=["keep"],
        ),
    ] = "keep"
    chunk_size: (
        Annotated[
            int,
            Meta(ge=1024, le=1_000_000_000, description="1024 or more bytes", examples=[524288]),
        ]
        | None
    ) = None
    max_rate: (
        Annotated[float, Meta(ge=0.001, description="0.001 or more MB a second", examples=[2.5])]
        | None
    ) = None
    format: Annotated[
        Format,
        Meta(description="native, openmsi-9 or openmsi-10", examples=["openmsi-9"]),
    ] = NATIVE

    @property
    def title(self) -> str:
        """What tells it from all other parts of an agent."""
        below = f"/{self.prefix}" if self.prefix else ""
        return f"watch {self.directory} -> {self.topic}{below}"


class Download(msgspec.Struct, frozen=True):
    """One `[[download]]`: a directory in which a topic's files are rebuilt. After `stale_after`
    seconds without news an unfinished version holds nothing back any more."""

    directory: Directory
    topic: Topic
    group: Annotated[
        str,
        Meta(max_length=249, description="the name of a consumer group", examples=["analysis"]),
    ] = ""
    stale_after: Annotated[
        float,
        Meta(ge=60, le=31_536_000, description="60 to 31536000 seconds", examples=[86400]),
    ] = 86_400.0

    @property
    def title(self) -> str:
        """What tells it from all other parts of an agent."""
        return f"download {self.topic} -> {self.directory}"


class General(msgspec.Struct, frozen=True):
    """`[agent]`: what concerns all parts. `state_dir` None is the platform's."""

    name: Annotated[
        str,
        Meta(
            pattern=r"^[^\x00-\x1f]{0,100}$",
            description="a name of at most 100 characters",
            examples=["microscope-3"],
        ),
    ] = ""
    state_dir: Directory | None = None
    low_priority: Flag = False
    log: Annotated[
        Literal["plain", "json"], Meta(description="plain or json", examples=["json"])
    ] = "plain"
    log_file: File | None = None
    metrics_port: (
        Annotated[int, Meta(ge=1, le=65_535, description="a port, 1 to 65535", examples=[9464])]
        | None
    ) = None
    heartbeat_topic: Annotated[
        str, Meta(pattern=rf"^$|{_TOPIC}", description=_TOPIC_WORDS, examples=["heartbeats"])
    ] = ""
    heartbeat_seconds: Annotated[
        float, Meta(ge=1, le=86_400, description="1 to 86400 seconds", examples=[60])
    ] = 60.0


class Heartbeat(msgspec.Struct, frozen=True):
    """Tell a topic every so many seconds how the agent is."""

    topic: str
    seconds: float

    @property
    def title(self) -> str:
        """What tells it from all other parts of an agent."""
        return f"heartbeat -> {self.topic}"


Part = Watch | Download | Heartbeat


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """An `agent.toml`.

    Args:
        file: where it is.
        sending, receiving: what the Kafka clients of senders and of receivers are told.
    """

    file: Path
    sending: KafkaSettings
    receiving: KafkaSettings
    general: General
    watches: tuple[Watch, ...] = ()
    downloads: tuple[Download, ...] = ()

    @property
    def parts(self) -> tuple[Part, ...]:
        """All that runs, each with a title of its own."""
        general = self.general
        beats: tuple[Part, ...] = ()
        if general.heartbeat_topic:
            beats = (Heartbeat(general.heartbeat_topic, general.heartbeat_seconds),)
        return (*self.watches, *self.downloads, *beats)
