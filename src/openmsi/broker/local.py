"""The local broker: one Apache Kafka, of one or several nodes, living in one data directory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import platformdirs

from openmsi.broker import launch, lock, process, settings, state
from openmsi.broker.plan import lost_a_port, plan
from openmsi.broker.state import Node, State
from openmsi.broker.status import Status, describe
from openmsi.errors import LocalBrokerError

MAXIMUM_NODES = 5

_LOCK_SECONDS = 180.0


def default_data_dir() -> Path:
    """Where the local broker keeps its data unless told otherwise."""
    return Path(platformdirs.user_data_dir("openmsi", appauthor=False), "broker")


class LocalBroker:
    """A real Apache Kafka on this machine, reachable from this machine alone.

    It outlives the program that started it, and its data outlive it. Any number of LocalBroker
    objects, in any number of programs, may name the same data directory: they see the same broker.

    Args:
        data_dir: a new or empty directory, or one of an earlier start; None for the user's own.
        port: of the first node; the next nodes take the next ports. 0 picks free ports; None
            takes those of the last start, and 9092 at first.
        nodes: how many brokers, 1 to 5; fixed by the first start. With 3 each record is kept
            three times and acknowledged when two have it. None: as many as there are, else 1.
        extra_config: further settings of Kafka's server.properties, over our own. Clients use the
            listener CLIENT, so "listener.security.protocol.map" may put a login on that.
    """

    def __init__(
        self,
        data_dir: str | os.PathLike[str] | None = None,
        port: int | None = None,
        nodes: int | None = None,
        extra_config: Mapping[str, str] | None = None,
    ) -> None:
        if nodes is not None and not 1 <= nodes <= MAXIMUM_NODES:
            raise ValueError(f"nodes must be 1 to {MAXIMUM_NODES}, not {nodes}")
        if port is not None and not 0 <= port <= 65535 - MAXIMUM_NODES:
            raise ValueError(f"port must be 0 to {65535 - MAXIMUM_NODES}, not {port}")
        self.data_dir = Path(os.path.abspath(data_dir or default_data_dir()))
        self.port = port
        self.nodes = nodes
        self.extra_config = dict(extra_config or {})

    def start(self) -> str:
        """Start what does not run yet, and wait until every node answers.

        Returns the address for clients, "127.0.0.1:9092" or several of these joined by commas.
        The very first start of all fetches Kafka. When anything fails, what this call started is
        ended again.

        Raises:
            LocalBrokerError: no Java, no network for the first fetch, no space, a port is taken,
                the directory is not ours or of a newer version, it already runs in another way
                than asked, or Kafka does not come up.
        """
        state.adopt(self.data_dir)
        with self._locked():
            known = state.read(self.data_dir)
            if known is not None and any(map(launch.is_alive, known.nodes)):
                self._check_port(known)
                self._check_nodes(known)
                return self._run(known, known.nodes)
            return self._start_anew(known)

    def stop(self) -> bool:
        """Stop all nodes, letting Kafka close its files; returns whether any was running.

        Raises:
            LocalBrokerError: the state file is damaged or of a newer version.
        """
        if state.read(self.data_dir) is None:
            return False
        with self._locked():
            known = state.read(self.data_dir)
            return known is not None and launch.stop(self.data_dir, known, known.nodes)

    def wipe(self) -> bool:
        """Stop all nodes and delete all data; returns whether there was anything to delete.

        Only what the local broker made is deleted: a file of yours in the directory stays.

        Raises:
            LocalBrokerError: the directory is not a local broker's, or cannot be deleted.
        """
        if not self.data_dir.exists():
            return False
        if not state.is_ours(self.data_dir) and state.foreign_files(self.data_dir):
            raise LocalBrokerError(
                str(self.data_dir),
                "it is not the local broker's data directory, so nothing was deleted",
                "give the directory that you gave to: openmsi broker start --data-dir",
            )
        with self._locked():
            known = state.read_leniently(self.data_dir)
            if known is not None:
                launch.stop(self.data_dir, known, known.nodes)
            try:
                self._delete()
            except OSError as error:
                raise LocalBrokerError(
                    str(self.data_dir), f"it cannot be deleted ({error.strerror or error})"
                ) from error
            lock.remove_locked_directory(self.data_dir)
        lock.remove_leftovers(self.data_dir)
        return True

    def status(self) -> Status:
        """How it is at this moment; waits for nobody, at most 1 s for each node to answer.

        Raises:
            LocalBrokerError: the state file is damaged or of a newer version.
        """
        return describe(self.data_dir, state.read(self.data_dir))

    def start_node(self, number: int) -> None:
        """Start one node (1 is the first) of a cluster, and wait until it answers.

        A node answers only if most nodes of the cluster run. If too few do even with this one, it
        returns once the process is there.

        Raises:
            LocalBrokerError: there is no such node, or it does not come up.
        """
        with self._locked():
            known, node = self._find(number)
            self._run(known, [node])

    def stop_node(self, number: int) -> None:
        """Stop one node (1 is the first) in good order: it hands its partitions over first.

        Raises:
            LocalBrokerError: there is no such node.
        """
        with self._locked():
            known, node = self._find(number)
            launch.stop(self.data_dir, known, [node])

    def kill_node(self, number: int) -> None:
        """End one node (1 is the first) without warning, as a power cut would.

        Raises:
            LocalBrokerError: there is no such node.
        """
        with self._locked():
            _, node = self._find(number)
            if node.process is not None:
                process.kill([node.process])

    def _locked(self) -> AbstractContextManager[None]:
        return lock.locked(self.data_dir, _LOCK_SECONDS)

    def _find(self, number: int) -> tuple[State, Node]:
        known = state.read(self.data_dir)
        for node in known.nodes if known else ():
            if known is not None and node.number == number:
                return known, node
        raise LocalBrokerError(f"node {number} of {self.data_dir}", "there is no such node")

    def _run(self, planned: State, nodes: Iterable[Node]) -> str:
        return launch.run(self.data_dir, self.extra_config, planned, nodes).bootstrap

    def _start_anew(self, known: State | None) -> str:
        """Start a cluster of which no node runs."""
        if known is not None and not known.formatted:
            known = None  # its first start was interrupted: there is nothing to keep
        if known is not None:
            self._check_nodes(known)
        count = len(known.nodes) if known else self.nodes or 1
        planned = plan(known, self.port, count)
        try:
            return self._run(planned, planned.nodes)
        except LocalBrokerError:
            if not lost_a_port(planned):
                raise
        # Another program took one of the ports between our look and Kafka's: once more.
        planned = plan(known, self.port, count)
        return self._run(planned, planned.nodes)

    def _check_port(self, running: State) -> None:
        if self.port and self.port != running.nodes[0].port:
            raise LocalBrokerError(
                "local broker",
                f"it already runs at {running.bootstrap}, not on port {self.port}",
                "use that address, or stop it first: "
                f"openmsi broker stop --data-dir {self.data_dir}",
            )

    def _check_nodes(self, known: State) -> None:
        if self.nodes is not None and self.nodes != len(known.nodes):
            raise LocalBrokerError(
                "local broker",
                f"{self.data_dir} holds a cluster of {len(known.nodes)} node(s), not {self.nodes}",
                "give another --data-dir, or delete this one first: "
                f"openmsi broker wipe --data-dir {self.data_dir}",
            )

    def _delete(self) -> None:
        """Delete what we made, our mark last, so that an interrupted wipe can be repeated."""
        for node in self.data_dir.glob("node-[0-9]*"):
            shutil.rmtree(node)
        for name in (settings.LOG_SETTINGS, state.STATE_NAME):
            (self.data_dir / name).unlink(missing_ok=True)
