"""What must be true after everything: the files, the topic, the ledger and the journal agree."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from crash.harness import World
from crash.programs import Failed, Program
from crash.tree import digest_of, files_below
from openmsi.errors import RecordRejected
from openmsi.protocol import Abort, Record
from openmsi.protocol.native import decode_native


@dataclass
class TopicContent:
    """What a topic holds, read by a client that knows only the record format.

    `complete`: by path, the version and digest of each closing record, in order.
    """

    records: int = 0
    bytes: int = 0
    repeated: int = 0  # records with the version and index of an earlier one
    repeated_bytes: int = 0
    aborted: int = 0
    rejected: int = 0
    complete: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))

    def current(self) -> dict[str, str]:
        """The current version of each path."""
        return {path: versions[-1][0] for path, versions in self.complete.items()}

    def sent_twice(self) -> list[str]:
        """Paths with one content under several versions."""
        return [
            path
            for path, versions in self.complete.items()
            if len({digest for _, digest in versions}) < len({version for version, _ in versions})
        ]


def read_topic(bootstrap: str, topic: str) -> TopicContent:
    """All of it."""
    found = TopicContent()
    seen: set[tuple[str, int]] = set()
    for record in _records(bootstrap, topic):
        found.records += 1
        found.bytes += len(record.value or b"")
        try:
            item = decode_native(record)
        except RecordRejected:
            found.rejected += 1
            continue
        if isinstance(item, Abort):
            found.aborted += 1
            continue
        if (item.version, item.index) in seen:
            found.repeated += 1
            found.repeated_bytes += len(item.data)
        seen.add((item.version, item.index))
        if item.closing is not None:
            found.complete[item.path].append((item.version, item.closing.digest))
    return found


def _records(bootstrap: str, topic: str) -> Iterator[Record]:
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": f"{topic}-look", "check.crcs": True}
    )
    try:
        for partition in sorted(consumer.list_topics(topic, 30).topics[topic].partitions):
            place = TopicPartition(topic, partition)
            at, end = consumer.get_watermark_offsets(place, 30)
            consumer.assign([TopicPartition(topic, partition, at)])
            while at < end:
                message = consumer.poll(60)
                if message is None:
                    raise Failed(f"{topic}[{partition}] gives nothing at {at} of {end}")
                if message.error() is not None:
                    continue
                at = (message.offset() or 0) + 1
                headers: Any = message.headers() or []
                yield Record(message.key(), message.value(), list(headers))
    finally:
        consumer.close()


def rows(state: Path, kind: str, query: str) -> list[tuple[Any, ...]]:
    """The answer of every ledger (`send`) or journal (`receive`) in a state directory."""
    found: list[tuple[Any, ...]] = []
    for file in sorted((state / kind).glob("*.sqlite")):
        database = sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)
        try:
            found += database.execute(query).fetchall()
        finally:
            database.close()
    return found


def assert_equal_trees(source: Path, target: Path) -> int:
    """Every file of the source in the target, with its content and time, and nothing else.
    Returns how many."""
    sent, rebuilt = files_below(source), files_below(target)
    # What is being written when all is over does not exist: hidden files are never sent.
    expected = {name: path for name, path in sent.items() if not _is_hidden(name)}
    lost = sorted(set(expected) - set(rebuilt))
    extra = sorted(set(rebuilt) - set(expected))
    changed = sorted(
        name
        for name in set(expected) & set(rebuilt)
        if digest_of(expected[name]) != digest_of(rebuilt[name])
    )
    if lost or extra or changed:
        raise Failed(f"lost {lost[:10]}, too much {extra[:10]}, changed {changed[:10]}")
    late = [n for n in expected if expected[n].stat().st_mtime_ns != rebuilt[n].stat().st_mtime_ns]
    if late:
        raise Failed(f"another time: {late[:10]}")
    return len(expected)


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def assert_ledger_agrees(world: World, content: TopicContent) -> None:
    """The ledger's sent files are the topic's current versions."""
    query = "SELECT directory, name, state, version FROM files"
    entries = rows(world.state_of("sender"), "send", query)
    unsent = [row for row in entries if row[2] != "sent"]
    if unsent:
        raise Failed(f"not sent in the ledger: {unsent[:5]}")
    ledger = {f"{row[0]}/{row[1]}" if row[0] else row[1]: row[3] for row in entries}
    _assert_same("ledger and topic", ledger, content.current())


def assert_journal_agrees(world: World, content: TopicContent, *receivers: str) -> None:
    """The journals know the current version of each path, and no dead letter."""
    known: set[str] = set()
    for name in receivers or ("receiver",):
        state = world.state_of(name)
        known |= {row[0] for row in rows(state, "receive", "SELECT version FROM published")}
        letters = rows(state, "receive", "SELECT * FROM dead_letters")
        if letters:
            raise Failed(f"dead letters of {name}: {letters[:5]}")
    unknown = {path: each for path, each in content.current().items() if each not in known}
    if unknown:
        raise Failed(f"not in the journal: {dict(list(unknown.items())[:5])}")


def _assert_same(what: str, one: Mapping[str, str], other: Mapping[str, str]) -> None:
    differ = {
        name: (one.get(name), other.get(name))
        for name in one.keys() | other.keys()
        if one.get(name) != other.get(name)
    }
    if differ:
        raise Failed(f"{what} differ: {dict(list(differ.items())[:5])}")


def assert_status_and_verify(world: World) -> None:
    code, told, complaint = world.run("status", world.source, "--json", state="sender")
    if code != 0:
        raise Failed(f"status says {code}: {told[:2000]} {complaint}")
    code, told, complaint = world.verify()
    if code != 0:
        named = [line for line in told.splitlines() if '"problem"' in line]
        raise Failed(f"verify --deep says {code}: {named[:5]} {complaint}")


def doubles(*receivers: Program) -> dict[str, int]:
    """Versions that were published more than once, and how often."""
    times = Counter(each["version"] for one in receivers for each in one.events("rebuilt"))
    return {version: count for version, count in times.items() if count > 1}


def assert_nothing_left(world: World, *expected: str) -> None:
    """Nothing lies beside the directories that have a purpose, nor in the destination."""
    usual = {"source", "target", "logs", "state-sender", "state-receiver", *expected}
    beside = sorted(each.name for each in world.directory.iterdir() if each.name not in usual)
    if beside:
        raise Failed(f"written outside: {beside}")
    left = sorted(str(each) for each in (world.target / ".openmsi").rglob("*"))
    if left or (world.target / ".openmsi").exists():
        raise Failed(f"left behind in the destination: {left[:10]}")


def problem_events(*programs: Program) -> list[str]:
    """What no run may tell when nothing is wrong with any file."""
    return [
        f"{each.name}: {json.dumps(told)}"
        for each in programs
        for kind in ("dead-letter", "failed", "stale", "kept")
        for told in each.events(kind)
    ]
