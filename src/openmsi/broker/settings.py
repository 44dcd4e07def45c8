"""How the local Kafka is configured and started. Paths are relative to the data directory, in which
every node runs: so any path will do, whatever characters it has."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from openmsi.broker.probe import HOST
from openmsi.broker.state import Node, State

LOG_SETTINGS = "log4j2.xml"

# One node is a demonstration on somebody's laptop: enough for Kafka, little for the laptop.
_HEAP = ("-Xms128m", "-Xmx512m")


class Kafka(NamedTuple):
    """What Kafka is run with."""

    java: Path
    jars: list[Path]


def server_properties(state: State, node: Node, extra: Mapping[str, str]) -> dict[str, str]:
    """The settings of one node; `extra` goes over ours.

    Clients use the listener CLIENT, the brokers among themselves (and we, to see whether they
    answer) INTERNAL: so `extra` may put a login or encryption on CLIENT and on nothing else.
    """
    count = len(state.nodes)
    copies, in_sync = (str(min(count, 3)), "2" if count >= 3 else "1")
    voters = ",".join(f"{n.number}@{HOST}:{n.controller_port}" for n in state.nodes)
    clients = f"CLIENT://{HOST}:{node.port},INTERNAL://{HOST}:{node.internal_port}"
    return {
        "process.roles": "broker,controller",
        "node.id": str(node.number),
        "controller.quorum.voters": voters,
        "controller.listener.names": "CONTROLLER",
        "listeners": f"{clients},CONTROLLER://{HOST}:{node.controller_port}",
        "advertised.listeners": clients,
        "inter.broker.listener.name": "INTERNAL",
        "listener.security.protocol.map": (
            "CLIENT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT"
        ),
        "log.dirs": f"{node.directory}/data",
        # A topic exists because somebody made it, with the settings it needs.
        "auto.create.topics.enable": "false",
        "delete.topic.enable": "true",
        "num.partitions": "6",
        "default.replication.factor": copies,
        "min.insync.replicas": in_sync,
        "log.segment.bytes": str(256 * 1024 * 1024),
        "log.retention.hours": "168",
        # Kafka's own topics, small and as safe as the number of nodes allows.
        "offsets.topic.num.partitions": "3",
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.num.partitions": "3",
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.num.partitions": "3",
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": in_sync,
        # The first member of a consumer group does not wait for others.
        "group.initial.rebalance.delay.ms": "0",
        **extra,
    }


def write_settings(directory: Path, state: State, node: Node, extra: Mapping[str, str]) -> None:
    """Write what a node reads when it starts.

    Raises:
        OSError: the directory cannot be written.
    """
    lines = [f"{k}={_escaped(v)}\n" for k, v in server_properties(state, node, extra).items()]
    (directory / node.directory).mkdir(exist_ok=True)
    (directory / _settings_file(node)).write_text("".join(lines), encoding="ascii")
    packaged = resources.files("openmsi.broker").joinpath(LOG_SETTINGS)
    (directory / LOG_SETTINGS).write_bytes(packaged.read_bytes())


def format_command(kafka: Kafka, state: State, node: Node) -> list[str]:
    """The command that prepares a node's storage; a JVM as small and short-lived as can be."""
    return [
        *_java(kafka, node, "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
        *("kafka.tools.StorageTool", "format", "--config", _settings_file(node)),
        *("--cluster-id", state.cluster_id),
    ]


def server_command(kafka: Kafka, node: Node) -> list[str]:
    """The command that runs a node."""
    tuning = ("-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:+ExitOnOutOfMemoryError")
    return [*_java(kafka, node, *_HEAP, *tuning), "kafka.Kafka", _settings_file(node)]


def _java(kafka: Kafka, node: Node, *options: str) -> list[str]:
    return [
        str(kafka.java),
        *options,
        "-Djava.awt.headless=true",
        f"-Dlog4j2.configurationFile={LOG_SETTINGS}",
        f"-Dopenmsi.log={node.log}",
        "-cp",
        os.pathsep.join(map(str, kafka.jars)),
    ]


def _settings_file(node: Node) -> str:
    return f"{node.directory}/server.properties"


def _escaped(value: str) -> str:
    """A value in Java's properties format: ASCII, with UTF-16 escapes for all else."""
    units = value.encode("utf-16-be", "surrogatepass")
    codes = (int.from_bytes(units[i : i + 2]) for i in range(0, len(units), 2))
    return "".join(
        chr(code) if 0x20 < code < 0x7F and code != 0x5C else f"\\u{code:04x}" for code in codes
    )
