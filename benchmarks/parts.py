"""The parts of the benchmark, in the order in which they are run and shown."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.compression import compression
from benchmarks.cost import cost, memory
from benchmarks.lab import Lab
from benchmarks.large import group, large_receive, large_send
from benchmarks.latency import idle, latency
from benchmarks.results import Result
from benchmarks.settings import settings
from benchmarks.small import small_receive, small_send, stream

PARTS: dict[str, Callable[[Lab], Result]] = {
    "large-send": large_send,
    "large-receive": large_receive,
    "small-send": small_send,
    "small-receive": small_receive,
    "peer": stream,
    "latency": latency,
    "group": group,
    "cost": cost,
    "memory": memory,
    "idle": idle,
    "settings": settings,
    "compression": compression,
}
