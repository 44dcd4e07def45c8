"""Starts the nodes of a cluster and waits until they answer; stops them again."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from openmsi.broker import logs, probe, process, settings, state
from openmsi.broker.fetch import kafka_jars
from openmsi.broker.java import find_java
from openmsi.broker.settings import Kafka
from openmsi.broker.state import Node, State
from openmsi.errors import LocalBrokerError

# After a crash a broker reads its logs again first, gigabytes of them on a slow disk.
_START_SECONDS = 180.0
_STOP_SECONDS = 20.0


def run(directory: Path, extra: Mapping[str, str], planned: State, nodes: Iterable[Node]) -> State:
    """Start those of the nodes that do not run, and wait until all of them answer.

    1. find Java, fetch Kafka, check the disk; 2. prepare the storage, once; 3. start each process
    and remember it before the next; 4. wait. On any failure the processes started here are ended.

    Raises:
        LocalBrokerError: one of these steps fails.
    """
    wanted = {node.number for node in nodes}
    missing = [node for node in planned.nodes if node.number in wanted and not is_alive(node)]
    current = planned
    try:
        if missing:
            kafka = Kafka(find_java(), kafka_jars())
            logs.check_space(directory)
            current = _prepare(directory, extra, kafka, current)
            for node in missing:
                current = _spawn(directory, kafka, current, node)
        _wait(directory, extra, current, wanted)
    except BaseException:
        started = {node.number for node in missing}
        process.kill(
            [node.process for node in current.nodes if node.number in started and node.process]
        )
        raise
    return current


def stop(directory: Path, known: State, nodes: Iterable[Node]) -> bool:
    """Stop nodes in good order and forget their processes; returns whether any was running.

    Raises:
        LocalBrokerError: a process does not end, not even when it is killed.
    """
    remembered = [node for node in nodes if node.process is not None]
    alive = [node.process for node in remembered if node.process and is_alive(node)]
    if not process.stop(alive, _STOP_SECONDS):
        raise LocalBrokerError(
            f"local broker in {directory}",
            f"it does not end (pid {', '.join(str(one.pid) for one in alive)})",
            "its disk may hang; try again when the system can end these processes",
        )
    for node in remembered:
        known = known.with_node(msgspec.structs.replace(node, process=None))
    if remembered:
        state.write(directory, known)
    return bool(alive)


def is_alive(node: Node) -> bool:
    """Whether the process that was started for a node still runs."""
    return node.process is not None and process.is_alive(node.process)


def _prepare(directory: Path, extra: Mapping[str, str], kafka: Kafka, planned: State) -> State:
    """Write the settings of all nodes; the first time, let Kafka format their storage."""
    state.write(directory, planned)
    try:
        for node in planned.nodes:
            settings.write_settings(directory, planned, node, extra)
            if not planned.formatted:
                # Nothing ran here yet: at most the rest of a start that was interrupted.
                with suppress(FileNotFoundError):
                    shutil.rmtree(directory / node.directory / "data")
        if not planned.formatted:
            with ThreadPoolExecutor(max_workers=len(planned.nodes)) as pool:
                list(pool.map(lambda n: _format(directory, kafka, planned, n), planned.nodes))
    except OSError as error:
        raise state.unusable(directory, error) from error
    return msgspec.structs.replace(planned, formatted=True)


def _format(directory: Path, kafka: Kafka, planned: State, node: Node) -> None:
    with open(logs.console_path(directory, node), "wb") as console:
        done = subprocess.run(
            settings.format_command(kafka, planned, node),
            cwd=directory,
            env=process.environment(),
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode != 0:
        raise logs.failure(directory, node, "Kafka could not prepare its storage")


def _spawn(directory: Path, kafka: Kafka, current: State, node: Node) -> State:
    try:
        logs.put_aside(directory, node)
        console = logs.console_path(directory, node)
        born = process.spawn(settings.server_command(kafka, node), directory, console)
    except OSError as error:
        raise state.unusable(directory, error) from error
    now = datetime.now(UTC).isoformat(timespec="seconds")
    current = current.with_node(msgspec.structs.replace(node, process=born))
    current = msgspec.structs.replace(current, started=now)
    try:
        state.write(directory, current)
    except BaseException:
        process.kill([born])  # nobody would know it later
        raise
    return current


def _wait(directory: Path, extra: Mapping[str, str], current: State, wanted: set[int]) -> None:
    """Wait until nodes answer and know each other, and complain when one of them dies."""
    nodes = [node for node in current.nodes if node.number in wanted]
    alive = sum(map(is_alive, current.nodes))
    if 0 < alive <= len(current.nodes) // 2:
        return  # without a majority there is no controller, and no node answers
    ready = _readiness(extra, alive)
    waiting = nodes
    deadline = time.monotonic() + _START_SECONDS
    while waiting:
        for node in nodes:
            if not is_alive(node):
                raise logs.failure(directory, node, "Kafka did not start")
        waiting = [node for node in waiting if not ready(node)]
        if waiting and time.monotonic() > deadline:
            raise LocalBrokerError(
                f"Kafka at {waiting[0].address}",
                f"it runs, but did not answer within {_START_SECONDS:.0f} s",
                f"its log is {logs.log_path(directory, waiting[0])}",
            )
        time.sleep(0.05)


def _readiness(extra: Mapping[str, str], brokers: int) -> Callable[[Node], bool]:
    # Under TLS only the connection can be tried without a Kafka client.
    protocols = extra.get("listener.security.protocol.map", "")
    encrypted = "CLIENT:SSL" in protocols or "CLIENT:SASL_SSL" in protocols
    speaks = probe.accepts if encrypted else probe.answers

    def ready(node: Node) -> bool:
        return probe.brokers_known(node.internal_port) >= brokers and speaks(node.port)

    return ready
