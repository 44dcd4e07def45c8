"""What a data directory of the local broker remembers between commands, in one JSON file.

The file is also the mark that the directory is ours: nothing without it is ever used or deleted.
"""

from __future__ import annotations

import base64
import os
import uuid
from pathlib import Path

import msgspec

from openmsi.broker.fetch import KAFKA_VERSION
from openmsi.broker.lock import LOCK_NAME
from openmsi.broker.probe import HOST
from openmsi.broker.process import ProcessId
from openmsi.errors import LocalBrokerError

STATE_NAME = "openmsi-broker.json"
FORMAT = 1


class Node(msgspec.Struct, frozen=True):
    """One broker of the cluster. Ports are on the loopback interface.

    `process` is the one that was started last; None once it was stopped on purpose.
    """

    number: int
    port: int
    internal_port: int
    controller_port: int
    process: ProcessId | None = None

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def directory(self) -> str:
        return f"node-{self.number}"

    @property
    def log(self) -> str:
        return f"{self.directory}/kafka.log"

    @property
    def ports(self) -> tuple[int, int, int]:
        return self.port, self.internal_port, self.controller_port


class State(msgspec.Struct, frozen=True):
    """A cluster. `formatted`: the nodes' storage is ready; `started`: UTC in ISO 8601, or ""."""

    cluster_id: str
    nodes: tuple[Node, ...]
    kafka_version: str = KAFKA_VERSION
    formatted: bool = False
    started: str = ""
    format: int = FORMAT

    @property
    def bootstrap(self) -> str:
        return ",".join(node.address for node in self.nodes)

    def with_node(self, node: Node) -> State:
        nodes = tuple(node if old.number == node.number else old for old in self.nodes)
        return msgspec.structs.replace(self, nodes=nodes)


class _Mark(msgspec.Struct):
    format: int
    kafka_version: str = "?"


def new_cluster_id() -> str:
    """A random id as Kafka writes its own: 16 bytes in URL-safe base64, without padding."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # Kafka's command line would take a leading dash for an option.
        if not text.startswith("-"):
            return text


def read(directory: Path) -> State | None:
    """What the directory remembers; None when it is not (or not yet) one of ours.

    Raises:
        LocalBrokerError: the file is damaged, or made by a newer openmsi or a newer Kafka.
    """
    path = directory / STATE_NAME
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise unusable(directory, error) from error
    cure = f"use another --data-dir, or delete this one: openmsi broker wipe --data-dir {directory}"
    try:
        mark = msgspec.json.decode(data, type=_Mark)
        if mark.format > FORMAT or _numbers(mark.kafka_version) > _numbers(KAFKA_VERSION):
            raise LocalBrokerError(
                str(directory),
                f"it was made by a newer openmsi, with Kafka {mark.kafka_version}; "
                f"this one runs Kafka {KAFKA_VERSION}",
                f"update openmsi; or {cure}",
            )
        return msgspec.json.decode(data, type=State)
    except (msgspec.DecodeError, ValueError) as error:
        raise LocalBrokerError(str(path), f"it is damaged ({error})", cure) from error


def read_leniently(directory: Path) -> State | None:
    """What can be understood of the directory's state, even of a newer openmsi; else None."""
    try:
        return msgspec.json.decode((directory / STATE_NAME).read_bytes(), type=State)
    except (OSError, msgspec.DecodeError):
        return None


def is_ours(directory: Path) -> bool:
    """Whether the directory bears our mark, be it damaged or from a newer openmsi."""
    return (directory / STATE_NAME).is_file()


def foreign_files(directory: Path) -> set[str]:
    """What an unmarked directory holds besides the rest of a start that did not get far."""
    return set(os.listdir(directory)) - {LOCK_NAME, f"{STATE_NAME}.new"}


def write(directory: Path, state: State) -> None:
    """Replace the file in one step, so that a reader sees the old state or the new one.

    Raises:
        LocalBrokerError: the directory cannot be written, or is full.
    """
    new = directory / f"{STATE_NAME}.new"
    try:
        new.write_bytes(msgspec.json.format(msgspec.json.encode(state), indent=2))
        os.replace(new, directory / STATE_NAME)
    except OSError as error:
        raise unusable(directory, error) from error


def adopt(directory: Path) -> None:
    """Make sure that the directory exists and holds nothing that is not ours.

    Raises:
        LocalBrokerError: it cannot be created, or it holds other things.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        foreign = not is_ours(directory) and foreign_files(directory)
    except OSError as error:
        raise unusable(directory, error) from error
    if foreign:
        raise LocalBrokerError(
            str(directory),
            "it holds files that are not the local broker's",
            "give an empty or a new directory with --data-dir",
        )


def unusable(directory: Path, error: OSError) -> LocalBrokerError:
    """The error for a data directory in which the system does not let us work."""
    return LocalBrokerError(
        str(directory),
        f"the local broker's data directory cannot be used ({error.strerror or error})",
        "give one that you may write to and that has space, with --data-dir",
    )


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdigit()]
