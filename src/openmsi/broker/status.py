"""Describes a local broker at one moment."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import msgspec

from openmsi.broker import launch, logs, probe
from openmsi.broker.fetch import KAFKA_VERSION
from openmsi.broker.state import Node, State


class NodeStatus(msgspec.Struct, frozen=True):
    """One node: `running` is its process, `answers` that it speaks to clients at its address.

    `problem` says why a node that nobody stopped does not run; empty if nothing is wrong.
    """

    number: int
    address: str
    pid: int | None
    running: bool
    answers: bool
    log: str
    problem: str


class Status(msgspec.Struct, frozen=True):
    """The local broker at one moment. It is `running` when at least one node's process is.

    `bootstrap` is the address for clients, also while it is stopped; `started` is UTC in ISO 8601;
    both are "" before the first start. `size_bytes` is what the data directory takes on the disk.
    """

    running: bool
    bootstrap: str
    nodes: tuple[NodeStatus, ...]
    kafka_version: str
    cluster_id: str
    started: str
    data_dir: str
    size_bytes: int


def describe(directory: Path, known: State | None) -> Status:
    """The status of what a data directory holds; waits at most 1 s for each node to answer."""
    nodes = tuple(_describe_node(directory, node) for node in known.nodes) if known else ()
    return Status(
        running=any(node.running for node in nodes),
        bootstrap=known.bootstrap if known else "",
        nodes=nodes,
        kafka_version=known.kafka_version if known else KAFKA_VERSION,
        cluster_id=known.cluster_id if known else "",
        started=known.started if known else "",
        data_dir=str(directory),
        size_bytes=_size_on_disk(directory),
    )


def _describe_node(directory: Path, node: Node) -> NodeStatus:
    alive = launch.is_alive(node)
    died = node.process is not None and not alive
    why = logs.known_cause(directory, node) if died else ""
    return NodeStatus(
        number=node.number,
        address=node.address,
        pid=node.process.pid if alive and node.process else None,
        running=alive,
        answers=alive and probe.answers(node.port, timeout=1.0),
        log=str(logs.log_path(directory, node)),
        problem=(why or "it ended by itself, or somebody ended it") if died else "",
    )


def _size_on_disk(directory: Path) -> int:
    """Bytes that a directory takes; less than its files' lengths where these have holes."""
    total = 0
    for parent, _, names in os.walk(directory):
        for name in names:
            with suppress(OSError):
                found = os.lstat(os.path.join(parent, name))
                total += getattr(found, "st_blocks", -(-found.st_size // 512)) * 512
    return total
