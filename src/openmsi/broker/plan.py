"""Decides which ports the nodes of a cluster listen on."""

from __future__ import annotations

import msgspec

from openmsi.broker import probe, state
from openmsi.broker.fetch import KAFKA_VERSION
from openmsi.broker.state import Node, State
from openmsi.errors import LocalBrokerError

DEFAULT_PORT = 9092


def plan(known: State | None, port: int | None, nodes: int) -> State:
    """The cluster to start, all of it stopped, on ports that are free at this moment.

    `port` and `nodes` mean what they mean to LocalBroker; `known` is from an earlier start.

    Raises:
        LocalBrokerError: a port that was asked for, or used before, is not free.
    """
    old = [node.ports for node in known.nodes] if known else []
    clients = _client_ports(port, nodes, [ports[0] for ports in old])
    hidden = [number for ports in old for number in ports[1:]]
    if not hidden or set(hidden) & set(clients) or not all(map(probe.is_free, hidden)):
        spare = probe.free_ports(3 * nodes)
        hidden = [number for number in spare if number not in clients][: 2 * nodes]
    placed = tuple(Node(i + 1, clients[i], hidden[2 * i], hidden[2 * i + 1]) for i in range(nodes))
    if known is None:
        return State(state.new_cluster_id(), placed)
    return msgspec.structs.replace(known, nodes=placed, kafka_version=KAFKA_VERSION)


def lost_a_port(planned: State) -> bool:
    """Whether another program has taken one of the ports since."""
    return not all(probe.is_free(port) for node in planned.nodes for port in node.ports)


def _client_ports(port: int | None, nodes: int, remembered: list[int]) -> list[int]:
    if port == 0:
        usable = remembered and all(map(probe.is_free, remembered))
        return remembered if usable else probe.free_ports(nodes)
    if port is None and remembered:
        wanted = remembered
    else:
        first = port or DEFAULT_PORT
        wanted = list(range(first, first + nodes))
    for number in wanted:
        if not probe.is_free(number):
            other = "another Kafka answers there" if probe.answers(number, 0.5) else "it is in use"
            raise LocalBrokerError(
                f"port {number}",
                f"{other}, so the local broker cannot use it",
                f"choose another one: openmsi broker start --port {_next_free(number, nodes)}",
            )
    return wanted


def _next_free(port: int, nodes: int) -> int:
    """A port after which the cluster would fit, for the user to take."""
    for first in range(port + 1, port + 1000):
        if all(map(probe.is_free, range(first, first + nodes))):
            return first
    return probe.free_ports(1)[0]
