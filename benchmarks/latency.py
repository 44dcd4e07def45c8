"""How soon a file is there, and what waiting for files costs."""

from __future__ import annotations

import os
import statistics
import time
from itertools import chain, pairwise

from benchmarks.contest import MB
from benchmarks.lab import Lab
from benchmarks.results import Fact, Lines, Result, Table, number
from benchmarks.watching import Watching

_RATES = (1, 10, 100)
_SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_WINDOW = 10  # seconds


def latency(lab: Lab) -> Result:
    """From closing a file of 100 kB to its final name at the receiver."""
    content, topic = os.urandom(100_000), lab.topic()
    source, target = lab.path("source"), lab.path("target")
    source.mkdir()
    took: dict[int, list[list[float]]] = {rate: [] for rate in _RATES}
    receiver = Watching(lab.openmsi("download", target, "-t", topic, state="l1"))
    sender = Watching(lab.openmsi("watch", source, "-t", topic, state="l2"))
    with receiver, sender:
        receiver.wait_for("started")
        sender.wait_for("started")
        (source / "first").write_bytes(content)
        receiver.wait_for("rebuilt")
        for repeat in range(lab.options.repeats):
            for rate in _RATES:
                closed: dict[str, float] = {}
                begin, came = time.monotonic(), receiver.count("rebuilt")
                for each in range(rate * lab.options.latency_seconds):
                    time.sleep(max(0.0, begin + each / rate - time.monotonic()))
                    name = f"{rate}-{repeat}-{each}"
                    (source / name).write_bytes(content)
                    closed[name] = time.monotonic()
                receiver.wait_for("rebuilt", came + len(closed))
                rebuilt = receiver.events["rebuilt"][came:]
                took[rate].append([1000 * (at - closed[event["path"]]) for at, event in rebuilt])
    return _latencies(took)


def _cuts(times: list[float]) -> list[float]:
    """What so many of a hundred are not above, and the largest."""
    times = sorted(times)
    cuts = [times[min(len(times) - 1, int(len(times) * share))] for share in _SHARES.values()]
    return [*cuts, times[-1]]


def _latencies(took: dict[int, list[list[float]]]) -> Result:
    title = "Milliseconds from close to final name"
    table = Table(title, [*_SHARES, "most", "files"], [])
    result = Result([table], [])
    lines: dict[str, list[tuple[float, float]]] = {}
    for rate, rounds in took.items():
        name, times = f"{rate} a second", list(chain.from_iterable(rounds))
        cuts = _cuts(times)
        table.rows.append([name, *cuts, f"{len(times):,}"])
        lines[name] = list(enumerate(cuts))
        for at, what in enumerate([*_SHARES, "most"]):
            result.samples[f"{name}, {what} of each round, ms"] = [
                _cuts(each)[at] for each in rounds
            ]
    shown = dict(zip(took, table.rows, strict=True))[10]
    fact = f"{number(shown[1])} ms in half of all cases, below {number(shown[3])} ms in 99 of 100"
    result.panels.append(Lines(title, "", "ms", lines, names=[*_SHARES, "most"], log=True))
    result.facts.append(Fact("From closing a file to its final name, at 10 files a second", fact))
    result.notes.append(
        f"Files of 100 kB, one each time, in {len(took[10])} rounds. Measured outside both "
        "programs: from the writer's return from close to the moment at which the receiver's event "
        "(--json) has been read."
    )
    return result


def idle(lab: Lab) -> Result:
    """What `watch` costs on a tree where nothing happens."""
    count, seconds = lab.options.idle_files, lab.options.idle_seconds
    tree, topic = lab.small_files(count, 100), lab.topic()
    with Watching(lab.openmsi("watch", tree, "-t", topic, state="i")) as sender:
        sender.wait_for("sent", count, 3600)
        time.sleep(5)
        at = [sender.cpu()]
        for _ in range(max(1, seconds // _WINDOW)):
            time.sleep(min(_WINDOW, seconds))
            at.append(sender.cpu())
        peak = sender.peak_rss() / MB
    length = min(_WINDOW, seconds)
    shares = [100 * (b - a) / length for a, b in pairwise(at)]
    mean = statistics.mean(shares)
    title = f"Idle watch on {count:,} files"
    return Result(
        tables=[
            Table(
                title,
                ["% of a core", f"least in {length} s", f"most in {length} s", "peak MB"],
                [["openmsi watch", mean, min(shares), max(shares), peak]],
            )
        ],
        panels=[
            Lines(
                title,
                "seconds",
                "% of a core",
                {"openmsi watch": [(length * (i + 1), y) for i, y in enumerate(shares)]},
                time=True,
            )
        ],
        facts=[Fact(title, f"{number(mean)} % of one core")],
        notes=["Mean over all windows. The peak is from sending the tree before."],
        samples={"% of a core": shares},
    )
