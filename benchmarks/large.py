"""Large files: sent, received, and by receivers that share a group."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.contest import MB, Contestant, compared, contest, measured, panel, process
from benchmarks.lab import CHUNK, Lab, Topics
from benchmarks.peer import Peer
from benchmarks.perf_test import TOOLS_VERSION, ProducerPerformance, payload_file
from benchmarks.results import Fact, Result, number, timed
from benchmarks.watching import Watching

_START = "The start of each process counts, as does its end. A topic has one partition."
_PEER = (
    "The peer moves a file of {mb} MB. Its defaults: chunks of 512 KiB, lz4, linger.ms 100. Its "
    "best settings: chunks of 8 MiB on a topic that takes them, no compression, linger.ms 5."
)


def large_send(lab: Lab) -> Result:
    """A large file onto a topic."""
    size, topics = lab.options.large_mb, Topics(lab)
    file, notes = lab.large_file(size), [_START]

    def openmsi(number: int) -> list[str | Path]:
        return [*lab.openmsi("upload", file, "-t", topics.new(), state=f"send-{number}")]

    def bare(_: int) -> list[str | Path]:
        return [*lab.bare("send", file, topics.new(), CHUNK)]

    contestants = [
        Contestant("openmsi upload", process(openmsi), topics.drop),
        Contestant("bare producer", process(bare), topics.drop),
    ]
    if test := ProducerPerformance.here():
        payloads = payload_file(lab.path("payloads"), MB)
        notes.append(
            f"kafka-producer-perf-test is that of kafka-tools {TOOLS_VERSION}: records of 1 MB out "
            "of memory, acks=all, idempotent. It reads no file."
        )
        contestants.append(
            Contestant(
                "kafka-producer-perf-test",
                process(lambda _: test.command(lab.bootstrap, topics.new(), size, payloads)),
                topics.drop,
            )
        )
    if peer := Peer.of(lab):
        notes.append(_PEER.format(mb=lab.options.peer_mb))
        contestants += [_peer_sender(lab, peer, topics, best) for best in (False, True)]
    return _result(lab, f"One file of {size} MB, sent", contestants, notes, file)


def _peer_sender(lab: Lab, peer: Peer, topics: Topics, best: bool) -> Contestant:
    file = lab.large_file(lab.options.peer_mb)
    return Contestant(
        _peer_name(best),
        process(lambda _: peer.upload(file, topics.keep(peer.topic(best)), best)),
        topics.drop,
        lab.options.peer_mb,
    )


def large_receive(lab: Lab) -> Result:
    """A large file out of a topic, durable."""
    size = lab.options.large_mb
    file, topic, target = lab.large_file(size), lab.topic(1), lab.path("out")
    measured(lab.openmsi("upload", file, "-t", topic, state="sent"))

    def openmsi(_: int) -> list[str | Path]:
        return [*lab.openmsi("download", target, "-t", topic, "--until-end", state="received")]

    def bare(_: int) -> list[str | Path]:
        return [*lab.bare("receive", target, topic, size * MB)]

    def clean(_: int) -> None:
        lab.clean("out", "state-received")

    contestants = [
        Contestant("openmsi download", process(openmsi), clean),
        Contestant("bare consumer, one fsync", process(bare), clean),
    ]
    notes = [
        _START,
        "openmsi joins a consumer group, checks the digest and makes file and journal durable; the "
        "bare consumer reads the partition without a group, writes one file and makes it durable.",
    ]
    if peer := Peer.of(lab):
        contestants += [_peer_receiver(lab, peer, best) for best in (False, True)]
        notes += [
            _PEER.format(mb=lab.options.peer_mb),
            "Its seconds end when the file has its full size; it makes nothing durable.",
        ]
    return _result(lab, f"One file of {size} MB, received", contestants, notes)


def _peer_receiver(lab: Lab, peer: Peer, best: bool) -> Contestant:
    size, topic = lab.options.peer_mb, peer.topic(best)
    measured(peer.upload(lab.large_file(size), topic, best))
    name = f"peer-{best}"
    return Contestant(
        _peer_name(best),
        lambda _: peer.download(topic, lab.path(name), size * MB, best),
        lambda _: lab.clean(name),
        size,
    )


def _peer_name(best: bool) -> str:
    return "peer, best settings" if best else "peer, defaults"


def _result(
    lab: Lab,
    title: str,
    contestants: list[Contestant],
    notes: list[str],
    source: Path | None = None,
) -> Result:
    runs = contest(contestants, lab.options.repeats, source)
    table = compared(title, contestants, lab.options.large_mb, "MB")
    ours, bare = table.rows[:2]
    fact = f"{number(ours[1])} MB/s, {number(bare[4])} times a bare Kafka client"
    if Peer.of(lab):
        fact += f", {number(table.rows[-1][4])} times the peer with its best settings"
    return Result(
        tables=[table],
        panels=[panel(title, contestants, lab.options.large_mb, "MB")],
        facts=[Fact(title, fact)],
        notes=notes,
        runs=runs,
    )


def group(lab: Lab) -> Result:
    """Receivers that share a group."""
    count = lab.options.group_files
    size = lab.options.large_mb // count
    title = f"{count} files of {size} MB by a group of receivers"
    topic = lab.topic(12)
    files = [lab.path(f"part-{each}") for each in range(count)]
    for each in files:
        os.link(lab.large_file(size), each)
    measured(lab.openmsi("upload", *files, "-t", topic, state="group"))
    seconds: dict[str, list[float]] = {"1 receiver": [], "2 receivers": [], "4 receivers": []}
    for repeat in range(lab.options.repeats):
        for name, taken in seconds.items():
            taken.append(_by_group(lab, topic, int(name[0]), f"{name[0]}-{repeat}"))
    note = "All receivers of a group start at once, and share 12 partitions. The seconds end "
    return timed(title, (size * count, "MB"), seconds, note + "with the last file.")


def _by_group(lab: Lab, topic: str, members: int, name: str) -> float:
    count = lab.options.group_files
    names = [f"group-{name}-{each}" for each in range(members)]
    os.sync()
    with ExitStack() as stack:
        began = time.monotonic()
        running = [
            stack.enter_context(
                Watching(
                    lab.openmsi(
                        "download", lab.path(each), "-t", topic, "--group", f"g{name}", state=each
                    )
                )
            )
            for each in names
        ]
        while sum(each.count("rebuilt") for each in running) < count:
            time.sleep(0.005)
        seconds = time.monotonic() - began
    for each in names:
        lab.clean(each, f"state-{each}")
    return seconds
