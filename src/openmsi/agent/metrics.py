"""An agent's numbers for Prometheus, at a port that only this computer can reach."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from openmsi.agent.status import RUNNING, AgentStatus, PartStatus
from openmsi.events import Event, Notice

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

ADDRESS = "127.0.0.1"
RETRY_SECONDS = 10.0


class Metrics:
    """Serves the numbers of an agent while it is asked to.

    Args:
        status: how the agent is; called from the server's threads.
        tell: hears why nothing can be served. That stops nothing else.
    """

    def __init__(self, status: Callable[[], AgentStatus], tell: Callable[[Event], None]) -> None:
        self._status = status
        self._tell = tell
        self._port: int | None = None
        self._close: Callable[[], None] | None = None
        self._due = 0.0
        self._told = ""

    def keep(self, port: int | None) -> None:
        """Serve at `port`, or not at all; to be called again and again."""
        if port != self._port:
            self.close()
            self._port, self._due = port, 0.0
        if port is None or self._close is not None or time.monotonic() < self._due:
            return
        self._due = time.monotonic() + RETRY_SECONDS
        why = self._open(port)
        if why and why != self._told:
            self._tell(Notice(f"no metrics at port {port}: {why}"))
        self._told = why

    def _open(self, port: int) -> str:
        try:
            from prometheus_client import CollectorRegistry, start_http_server
        except ImportError:
            return 'the package is missing; run: pip install "openmsi[metrics]"'
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collector(self._status))
        try:
            server, thread = start_http_server(port, ADDRESS, registry)
        except OSError as error:
            return error.strerror or str(error)

        def close() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        self._close = close
        return ""

    def close(self) -> None:
        if self._close is not None:
            self._close()
            self._close = None


class _Collector:
    """What prometheus_client asks for at each visit."""

    def __init__(self, status: Callable[[], AgentStatus]) -> None:
        self._status = status

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield from metrics_of(self._status())


_PART = ("part", "kind", "topic", "directory")

_GAUGES: tuple[tuple[str, str, Callable[[PartStatus], float | None]], ...] = (
    ("openmsi_part_up", "1 while the part is at work.", lambda part: part.state == RUNNING),
    ("openmsi_files_waiting", "Files that are known and wait.", lambda part: part.waiting),
    ("openmsi_files_in_flight", "Files on their way.", lambda part: part.in_flight),
    (
        "openmsi_oldest_waiting_seconds",
        "For how long the oldest file is known that is not done.",
        lambda part: part.oldest_seconds,
    ),
    ("openmsi_lag_records", "Records that were not received yet.", lambda part: part.lag),
    (
        "openmsi_last_success_timestamp_seconds",
        "When a file was last sent or rebuilt, in seconds since 1970.",
        lambda part: part.last_success,
    ),
)

_COUNTERS = (
    ("openmsi_files", "Files by what became of them.", "state"),
    ("openmsi_bytes", "Bytes of sent or rebuilt files."),
    ("openmsi_errors", "Errors by kind.", "error"),
    ("openmsi_restarts", "How often the part had to begin again."),
)


def metrics_of(status: AgentStatus) -> Iterator[Metric]:
    """The numbers of every part, and who the agent is."""
    from prometheus_client.metrics_core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        InfoMetricFamily,
    )

    who = {"name": status.name, "host": status.host, "version": status.version}
    yield InfoMetricFamily("openmsi_agent", "The agent.", who)
    files, size, errors, starts = (
        CounterMetricFamily(name, text, None, [*_PART, *more]) for name, text, *more in _COUNTERS
    )
    gauges = [GaugeMetricFamily(name, text, None, _PART) for name, text, _ in _GAUGES]
    for each in status.parts:
        labels = (each.part, each.kind, each.topic, each.directory)
        for state, count in each.files.items():
            files.add_metric([*labels, state], count)
        for kind, count in each.errors.items():
            errors.add_metric([*labels, kind], count)
        size.add_metric(labels, each.bytes)
        starts.add_metric(labels, each.restarts)
        for gauge, (_, _, value) in zip(gauges, _GAUGES, strict=True):
            number = value(each)
            if number is not None:
                gauge.add_metric(labels, number)
    yield from (files, size, errors, starts, *gauges)
