"""The parts of the benchmark: each returns the table of what it found."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.contest import Contestant, contest, measured, remove
from benchmarks.lab import MB, Lab, Table, Watching
from benchmarks.peer import Peer

CHUNK = 1_000_000  # openmsi's default


def compared(title: str, contestants: Sequence[Contestant], amount: float, unit: str) -> Table:
    """Rates of `amount` in so many seconds, and how they compare with the first contestant's."""
    table = Table(title, [f"{unit}/s median", "min", "max", "of openmsi", "CPU s", "peak MB"])
    base = contestants[0].median()
    for each in contestants:
        rates = sorted(amount / run.seconds for run in each.runs)
        cpu = statistics.median(run.cpu for run in each.runs)
        rss = max(run.rss for run in each.runs) / MB
        median = statistics.median(rates)
        row = [median, rates[0], rates[-1], base / each.median(), cpu, rss]
        table.rows.append([each.name, *row])
    return table


def large_send(lab: Lab) -> Table:
    """A large file onto a topic."""
    size = lab.options.large_mb
    file = lab.large_file(size)
    topics: list[str] = []

    def topic() -> str:
        topics.append(lab.topic(1))
        return topics[-1]

    def drop(_: int) -> None:
        lab.drop(topics.pop())

    contestants = [
        Contestant(
            "openmsi upload",
            lambda n: lab.openmsi("upload", file, "--topic", topic(), state=f"ls{n}"),
            drop,
        ),
        Contestant("bare producer", lambda _: lab.bare("send", file, topic(), CHUNK), drop),
    ]
    if peer := Peer.of(lab):
        contestants.append(
            Contestant("peer, best chunk size", lambda _: peer.upload(file, topic()), drop)
        )
    contest(contestants, lab.options.repeats)
    return compared(f"One file of {size} MB, sent", contestants, size, "MB")


def large_receive(lab: Lab) -> Table:
    """A large file out of a topic, durable."""
    size = lab.options.large_mb
    file, topic = lab.large_file(size), lab.topic(1)
    measured(lab.openmsi("upload", file, "--topic", topic, state="lr"))

    def clean(_: int) -> None:
        lab.clean("out", "out.file", "state-lrd")

    contestants = [
        Contestant(
            "openmsi download",
            lambda _: lab.openmsi(
                "download", lab.path("out"), "--topic", topic, "--until-end", state="lrd"
            ),
            clean,
        ),
        Contestant(
            "bare consumer, one fsync",
            lambda _: lab.bare("receive", lab.path("out.file"), topic, size * MB),
            clean,
        ),
    ]
    contest(contestants, lab.options.repeats)
    lab.drop(topic)
    return compared(f"One file of {size} MB, received", contestants, size, "MB")


def small_send(lab: Lab) -> Table:
    """Many small files onto a topic."""
    count = lab.options.files
    root = lab.small_files(count)
    topics: list[str] = []

    def topic() -> str:
        topics.append(lab.topic())
        return topics[-1]

    def drop(_: int) -> None:
        while topics:
            lab.drop(topics.pop())

    contestants = [
        Contestant(
            "openmsi upload",
            lambda n: lab.openmsi("upload", root, "--topic", topic(), state=f"ss{n}"),
            drop,
        ),
        Contestant("cp -r", lambda n: ["cp", "-r", root, lab.path(f"copy-{n}")]),
    ]
    if shutil.which("rsync"):

        def rsync(number: int) -> list[str | Path]:
            return ["rsync", "-a", "--fsync", f"{root}/", f"{lab.path(f'synced-{number}')}/"]

        contestants.append(Contestant("rsync -a --fsync", rsync))
    contest(contestants, lab.options.repeats)
    for number in range(lab.options.repeats):
        lab.clean(f"copy-{number}", f"synced-{number}")
    return compared(f"{count} files of 10 kB, sent", contestants, count, "files")


def small_receive(lab: Lab) -> Table:
    """Many small files out of a topic, durable."""
    count = lab.options.files
    topic = lab.topic()
    measured(lab.openmsi("upload", lab.small_files(count), "--topic", topic, state="srs"))
    contestants = [
        Contestant(
            "openmsi download",
            lambda n: lab.openmsi(
                "download", lab.path(f"out-{n}"), "--topic", topic, "--until-end", state=f"sr{n}"
            ),
        )
    ]
    contest(contestants, lab.options.repeats)
    lab.drop(topic)
    for number in range(lab.options.repeats):
        lab.clean(f"out-{number}")
    return compared(f"{count} files of 10 kB, received", contestants, count, "files")


def small_peer(lab: Lab) -> Table:
    """The same with the peer, from a directory that is watched to one where files are rebuilt."""
    peer, count = Peer.of(lab), lab.options.peer_files
    table = Table("Small files, from watched to rebuilt", ["files", "seconds", "files/s"])
    root = lab.small_files(count)
    contestants: list[tuple[str, Callable[[str, Path, Path], float]]] = [("openmsi", _ours(lab))]
    if peer:
        contestants.append(("peer", peer.stream))
    for name, stream in contestants:
        seconds = []
        for number in range(lab.options.repeats):
            topic = lab.topic()
            lab.path("watched").mkdir()
            seconds.append(stream(topic, root, lab.path(f"rebuilt-{name}-{number}")))
            lab.path("watched").rename(lab.path(f"watched-{name}-{number}"))
            lab.drop(topic)
        median = statistics.median(seconds)
        table.rows.append([name, count, median, count / median])
    return table


def _ours(lab: Lab) -> Callable[[str, Path, Path], float]:
    def stream(topic: str, root: Path, target: Path) -> float:
        source = lab.path("watched")
        receiver = Watching(lab.openmsi("download", target, "--topic", topic, state="sp1"))
        sender = Watching(lab.openmsi("watch", source, "--topic", topic, state="sp2"))
        try:
            receiver.wait_for("started")
            sender.wait_for("started")
            began = time.monotonic()
            shutil.copytree(root, source, dirs_exist_ok=True)
            count = sum(len(files) for _, _, files in os.walk(root))
            return receiver.wait_for("rebuilt", count) - began
        finally:
            sender.stop()
            receiver.stop()
            lab.clean("state-sp1", "state-sp2")

    return stream


def latency(lab: Lab) -> Table:
    """From closing a file of 100 kB to its final name at the receiver."""
    table = Table("Milliseconds from close to final name", ["p50", "p95", "p99", "max"])
    content = os.urandom(100_000)
    topic = lab.topic()
    source, target = lab.path("source"), lab.path("target")
    source.mkdir()
    receiver = Watching(lab.openmsi("download", target, "--topic", topic, state="l1"))
    sender = Watching(lab.openmsi("watch", source, "--topic", topic, state="l2"))
    receiver.wait_for("started")
    sender.wait_for("started")
    (source / "first").write_bytes(content)
    receiver.wait_for("rebuilt")
    for rate in (1, 10, 100):
        closed: dict[str, float] = {}
        begin = time.monotonic()
        for number in range(rate * lab.options.latency_seconds):
            time.sleep(max(0.0, begin + number / rate - time.monotonic()))
            name = f"{rate}-{number}"
            (source / name).write_bytes(content)
            closed[name] = time.monotonic()
        count = 1 + sum(1 for _ in source.iterdir()) - 1
        receiver.wait_for("rebuilt", count)
        took = sorted(
            1000 * (at - closed[each["path"]])
            for at, each in receiver.events
            if each["event"] == "rebuilt" and each["path"] in closed
        )
        cuts = [took[min(len(took) - 1, int(len(took) * share))] for share in (0.5, 0.95, 0.99)]
        table.rows.append([f"{rate} files a second", *cuts, took[-1]])
    sender.stop()
    receiver.stop()
    lab.clean("source", "target", "state-l1", "state-l2")
    return table


def memory(lab: Lab) -> Table:
    """Peak memory, processor time per GB and per file, over the size of a file and of a tree."""
    table = Table("Memory and cost", ["sender MB", "receiver MB", "send CPU", "receive CPU"])
    table.note = "CPU is in seconds per GB for one file, in milliseconds per file for trees."
    for size in lab.options.memory_mb:
        file = lab.large_file(size)
        table.rows.append([f"one file of {size} MB", *_both_ways(lab, file, size / 1000)])
        file.unlink()
    for count in lab.options.memory_files:
        root = lab.small_files(count, 1000)
        table.rows.append([f"{count} files of 1 kB", *_both_ways(lab, root, count / 1000)])
        remove(root)
    return table


def _both_ways(lab: Lab, source: Path, amount: float) -> list[float]:
    topic = lab.topic()
    send = measured(lab.openmsi("upload", source, "--topic", topic, state="m1"))
    target = lab.path("out")
    command = lab.openmsi("download", target, "--topic", topic, "--until-end", state="m2")
    receive = measured(command)
    lab.drop(topic)
    lab.clean("out", "state-m1", "state-m2")
    return [send.rss / MB, receive.rss / MB, send.cpu / amount, receive.cpu / amount]


def idle(lab: Lab) -> Table:
    """What `watch` costs on a tree where nothing happens."""
    count, seconds = lab.options.idle_files, lab.options.idle_seconds
    root, topic = lab.small_files(count, 100), lab.topic()
    sender = Watching(lab.openmsi("watch", root, "--topic", topic, state="i"))
    try:
        sender.wait_for("sent", count, 3600)
        time.sleep(5)
        before = sender.cpu()
        time.sleep(seconds)
        share = 100 * (sender.cpu() - before) / seconds
        table = Table("Idle watch", ["% of a core", "peak MB"])
        table.rows.append([f"{count} files", share, sender.peak_rss() / MB])
        return table
    finally:
        sender.stop()


def group(lab: Lab) -> Table:
    """Receivers that share a group."""
    size, count = lab.options.large_mb // 20, 20
    table = Table(f"{count} files of {size} MB by a group", ["MB/s median", "min", "max"])
    topic = lab.topic(12)
    for number in range(count):
        os.link(lab.large_file(size), lab.path(f"part-{number}"))
    files = [lab.path(f"part-{each}") for each in range(count)]
    measured(lab.openmsi("upload", *files, "--topic", topic, state="g"))
    for members in (1, 2, 4):
        rates = []
        for repeat in range(lab.options.repeats):
            began = time.monotonic()
            names = [f"g{members}-{repeat}-{each}" for each in range(members)]
            running = [
                Watching(
                    lab.openmsi(
                        "download",
                        lab.path(name),
                        "--topic",
                        topic,
                        "--group",
                        f"g{members}-{repeat}",
                        state=name,
                    )
                )
                for name in names
            ]
            while sum(_rebuilt(each) for each in running) < count:
                time.sleep(0.02)
            rates.append(size * count / (time.monotonic() - began))
            for each in running:
                each.stop()
            for name in names:
                lab.clean(name, f"state-{name}")
        rates.sort()
        row = [statistics.median(rates), rates[0], rates[-1]]
        table.rows.append([f"{members} receivers", *row])
    return table


def _rebuilt(program: Watching) -> int:
    if program.process.poll() is not None:
        raise subprocess.SubprocessError(f"a receiver ended with {program.process.returncode}")
    return sum(each["event"] == "rebuilt" for _, each in program.events)


PARTS: dict[str, Callable[[Lab], Table]] = {
    "large-send": large_send,
    "large-receive": large_receive,
    "small-send": small_send,
    "small-receive": small_receive,
    "peer": small_peer,
    "latency": latency,
    "memory": memory,
    "idle": idle,
    "group": group,
}
