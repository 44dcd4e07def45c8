"""Many small files: sent, received, and from one directory to another."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.contest import Contestant, compared, contest, measured, panel, process
from benchmarks.lab import Lab, Topics
from benchmarks.peer import Peer, copied
from benchmarks.results import Fact, Result, Run, number, timed
from benchmarks.rsync import Rsync, rsync_daemon
from benchmarks.watching import Watching

_NOTES = [
    "The start of each process counts, as does its end. rsync talks to a daemon on this machine; "
    "its CPU is that of the client alone, as Kafka's is nowhere counted."
]
_PEER = (
    "The peer sends {count} files, since it takes minutes for more. Its seconds are those from the "
    "first file to the last, without its start."
)


_STREAM = (
    "All programs run already when the first file is written, and directories are there. A file in "
    "a directory that is new itself may come too early for the system to tell of it; it is then "
    "sent after the quiet period of 2 s."
)


def small_send(lab: Lab) -> Result:
    """Many small files onto a topic."""
    count, topics = lab.options.files, Topics(lab)
    tree = lab.small_files(count)

    def openmsi(number: int) -> list[str | Path]:
        return [*lab.openmsi("upload", tree, "-t", topics.new(6), state=f"sent-{number}")]

    contestants = [
        Contestant("openmsi upload", process(openmsi), topics.drop),
        Contestant("cp -r", process(lambda n: ["cp", "-r", tree, lab.path(f"copy-{n}")])),
    ]
    notes = [*_NOTES, "What cp and rsync write is not durable, as records in Kafka are not."]
    with rsync_daemon(lab.root) as rsync:
        if rsync:
            contestants.append(
                Contestant(
                    "rsync to a daemon",
                    process(lambda n: rsync.send(tree, lab.path(f"synced-{n}"))),
                )
            )
        if peer := Peer.of(lab):
            contestants.append(_peer_sender(lab, peer, topics))
            notes.append(_PEER.format(count=lab.options.peer_files))
        return _result(lab, f"{count:,} files of 10 kB, sent", contestants, notes)


def _peer_sender(lab: Lab, peer: Peer, topics: Topics) -> Contestant:
    count = lab.options.peer_files
    tree = lab.small_files(count)

    def run(number: int) -> Run:
        mine = copied(tree, lab.path(f"peer-{number}"))
        return peer.send_tree(mine, topics.keep(peer.topic(best=True)))

    return Contestant("peer, best settings", run, topics.drop, count)


def small_receive(lab: Lab) -> Result:
    """Many small files out of a topic, durable."""
    count, topic = lab.options.files, lab.topic(6)
    tree = lab.small_files(count)
    measured(lab.openmsi("upload", tree, "-t", topic, state="sent"))

    def openmsi(number: int) -> list[str | Path]:
        target = lab.path(f"out-{number}")
        return [*lab.openmsi("download", target, "-t", topic, "--until-end", state=f"got-{number}")]

    contestants = [
        Contestant("openmsi download", process(openmsi)),
        Contestant("cp -r", process(lambda n: ["cp", "-r", tree, lab.path(f"copy-{n}")])),
    ]
    notes = [*_NOTES, "Durable are only what openmsi writes, and rsync with --fsync."]
    with rsync_daemon(lab.root) as rsync:
        if rsync:
            contestants += _rsyncs(lab, rsync, tree)
        if peer := Peer.of(lab):
            contestants.append(_peer_receiver(lab, peer))
            notes.append("The peer reads the same files, which openmsi sent in the older format.")
        return _result(lab, f"{count:,} files of 10 kB, received", contestants, notes)


def _rsyncs(lab: Lab, rsync: Rsync, tree: Path) -> list[Contestant]:
    return [
        Contestant(
            "rsync from a daemon, --fsync",
            process(lambda n: rsync.receive(tree, lab.path(f"synced-{n}"), "--fsync")),
        ),
        Contestant(
            "rsync from a daemon",
            process(lambda n: rsync.receive(tree, lab.path(f"unsynced-{n}"))),
        ),
    ]


def _peer_receiver(lab: Lab, peer: Peer) -> Contestant:
    count, topic = lab.options.files, peer.topic(best=True)
    older = ("--format", "openmsi-9")
    measured(lab.openmsi("upload", lab.small_files(count), "-t", topic, *older, state="older"))
    return Contestant(
        "peer, best settings",
        lambda number: peer.receive_tree(topic, lab.path(f"peer-{number}"), count),
    )


def _result(lab: Lab, title: str, contestants: list[Contestant], notes: list[str]) -> Result:
    count = lab.options.files
    runs = contest(contestants, lab.options.repeats, lab.small_files(count))
    table = compared(title, contestants, count, "files")
    fact = f"{number(table.rows[0][1])} files a second"
    for name, *row in table.rows[2:]:
        fact += f"; {number(row[3])} times {name}"
    return Result(
        tables=[table],
        panels=[panel(title, contestants, count, "files")],
        facts=[Fact(title, fact)],
        notes=notes,
        runs=runs,
    )


def stream(lab: Lab) -> Result:
    """From a directory that is watched to one where files are rebuilt, beside the peer."""
    peer, count = Peer.of(lab), lab.options.peer_files
    title = f"{count} files of 10 kB, from watched to rebuilt"
    tree = lab.small_files(count)
    seconds: dict[str, list[float]] = {"openmsi watch, download": []}
    streams: list[Callable[[str, Path, Path], float]] = [
        lambda topic, source, target: _ours(lab, topic, source, target)
    ]
    if peer:
        seconds["peer, best settings"] = []
        streams.append(lambda topic, *where: peer.stream(topic, tree, *where))
    for number_ in range(lab.options.repeats):
        for (name, taken), each in zip(seconds.items(), streams, strict=True):
            where = [lab.path(f"{verb}-{name[:4]}-{number_}") for verb in ("from", "to")]
            for directory in tree.iterdir():
                (where[0] / directory.name).mkdir(parents=True)
            topic = peer.topic(best=True, partitions=6) if peer else lab.topic()
            taken.append(each(topic, *where))
            lab.drop(topic)
    return timed(title, (count, "files"), seconds, _STREAM)


def _ours(lab: Lab, topic: str, source: Path, target: Path) -> float:
    count, tree = lab.options.peer_files, lab.small_files(lab.options.peer_files)
    states = (f"state-{target.name}", f"state-{source.name}")
    receiver = Watching(lab.openmsi("download", target, "-t", topic, state=target.name))
    sender = Watching(lab.openmsi("watch", source, "-t", topic, state=source.name))
    with receiver, sender:
        receiver.wait_for("started")
        sender.wait_for("started")
        began = time.monotonic()
        shutil.copytree(tree, source, dirs_exist_ok=True)
        seconds = receiver.wait_for("rebuilt", count) - began
    lab.clean(*states)
    os.sync()
    return seconds
