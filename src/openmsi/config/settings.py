"""What a configuration file says to the Kafka clients."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Format = Literal["openmsi-9"]


@dataclass(frozen=True, slots=True, repr=False)
class ClientSettings:
    """Settings of librdkafka as literal text, by whom they are for, and what openmsi makes of the
    rest.

    Args:
        broker: for every client; `bootstrap.servers` is among them if the file names any.
        producer, consumer: what senders and receivers have beside or instead.
        group: the consumer group; None if the file names none, or wants a fresh one.
        format: how to write records; None if the file does not say.
        notes: which settings are not used, with file, line and reason. No secrets.
    """

    broker: dict[str, str] = field(default_factory=dict)
    producer: dict[str, str] = field(default_factory=dict)
    consumer: dict[str, str] = field(default_factory=dict)
    group: str | None = None
    format: Format | None = None
    notes: tuple[str, ...] = ()

    def sending(self) -> dict[str, str]:
        """All that a sender's client is told, `bootstrap.servers` included."""
        return self.broker | self.producer

    def receiving(self) -> dict[str, str]:
        """All that a receiver's client is told, `bootstrap.servers` included."""
        return self.broker | self.consumer

    def __repr__(self) -> str:
        # Values may be passwords and keys: only names are shown.
        names = ", ".join(sorted({*self.broker, *self.producer, *self.consumer}))
        return f"ClientSettings(<{names}>, group={self.group!r}, format={self.format!r})"


@dataclass(frozen=True, slots=True)
class DirectoryStream:
    """The section [openmsi_directory_stream_service] of 2021.

    Args:
        file_directory: the directory whose files are sent, as it stands in the file.
        topic: the topic they go to.
        chunk_size: bytes; None if the file does not say.
        new_files_only: leave alone what is there at the first start.
    """

    file_directory: str
    topic: str
    chunk_size: int | None = None
    new_files_only: bool = True


@dataclass(frozen=True, slots=True)
class LegacyConfig:
    """A `.config` file of the OpenMSI programs.

    Args:
        source: the file, or the name of a built-in configuration, for people.
        client: what the Kafka clients are told.
        service: what the service of 2021 does; None if the file is only about Kafka.
        heartbeat, log: what producers of such messages have beside or instead of what stands in
            [broker]; None without the section.
    """

    source: str
    client: ClientSettings
    service: DirectoryStream | None = None
    heartbeat: dict[str, str] | None = field(default=None, repr=False)
    log: dict[str, str] | None = field(default=None, repr=False)

    @property
    def notes(self) -> tuple[str, ...]:
        return self.client.notes
