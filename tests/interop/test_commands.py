"""Our commands in the place of the peer's: same arguments, same file, same topics."""

from __future__ import annotations

import json
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from helpers import Lab, wait_until

from interop.files import arrived, make_files
from interop.peer import Peer, PeerProgram

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="its console is not a pipe")

TREE = {"root.dat": 40_000, "nested/Zoë 1.csv": 300_000}
Shape = dict[str, object]


class OurCommands:
    """The commands that openmsi installs, started as the peer's are."""

    def __init__(self, lab: Lab, peer: Peer, directory: Path) -> None:
        self._lab = lab
        self._config = peer.config
        self._directory = directory
        self._count = 0

    def start(self, name: str, subject: Path, *options: str) -> PeerProgram:
        self._count += 1
        script = str(Path(sysconfig.get_path("scripts")) / name)
        named = ["--config", str(self._config), "--topic_name", self._lab.topic]
        log = self._directory / f"our-{self._count}.log"
        return PeerProgram([script, str(subject), *named, *options], self._lab.environment, log)


@pytest.fixture
def ours(lab: Lab, peer: Peer, tmp_path: Path) -> OurCommands:
    return OurCommands(lab, peer, tmp_path)


def test_our_senders_of_all_times_serve_the_peers_receiver(
    lab: Lab, peer: Peer, ours: OurCommands
) -> None:
    lab.create_topic(3)
    expected = make_files(lab.source, TREE)
    expected |= make_files(lab.source.parent, single := {"single.dat": 20_000})
    with peer.download_directory(lab.target) as receiver:
        watching = ours.start("DataFileUploadDirectory", lab.source, "--upload_existing")
        with watching as sender:
            for name in single:
                with ours.start("upload_data_file", lab.source.parent / name) as one:
                    one.wait()
            wait_until(
                lambda: receiver.running() and arrived(lab.target) == expected, 60, "the files"
            )
            sender.quit()
        receiver.quit()


def test_our_receiver_of_2021_serves_the_peers_sender(
    lab: Lab, peer: Peer, ours: OurCommands
) -> None:
    lab.create_topic(3)
    expected = make_files(lab.source, TREE)
    with peer.upload_directory(lab.source) as sender:
        with ours.start("reconstruct_data_files", lab.target) as receiver:
            wait_until(
                lambda: receiver.running() and arrived(lab.target) == expected, 90, "the files"
            )
            printed = receiver.quit()
        sender.quit()
    assert "the following 2 files were successfully reconstructed from" in printed


@pytest.fixture
def told_topics(lab: Lab) -> Iterator[tuple[str, str]]:
    topics = (f"{lab.topic}-hearts", f"{lab.topic}-logs")
    admin = AdminClient({"bootstrap.servers": lab.bootstrap, "log_level": 0})
    for each in topics:
        admin.create_topics([NewTopic(each, 1, 1)])[each].result(30)
    yield topics
    for each in topics:
        admin.delete_topics([each])[each].result(30)
    del admin


def test_heartbeats_and_logs_have_the_peers_form(
    lab: Lab, peer: Peer, ours: OurCommands, told_topics: tuple[str, str]
) -> None:
    lab.create_topic(1)
    make_files(lab.source, TREE)
    hearts, logs = told_topics

    def told(who: str) -> list[str]:
        options: list[str] = []
        for what, topic in (("heartbeat", hearts), ("log", logs)):
            options += [f"--{what}_topic_name", topic, f"--{what}_program_id", who]
            options += [f"--{what}_interval_secs", "1"]
        return options

    with peer.upload_directory(lab.source, *told("theirs-up")) as theirs:
        theirs.sends(lab, 2)
        theirs.quit()
    up = ["--upload_existing", *told("ours-up")]
    with ours.start("DataFileUploadDirectory", lab.source, *up) as mine:
        wait_until(lambda: mine.printed.count("] sent ") == len(TREE), 30, "the files")
        mine.quit()
    with peer.download_directory(lab.target, *told("theirs-down")) as theirs:
        wait_until(lambda: len(arrived(lab.target)) == len(TREE), 60, "the files")
        theirs.quit()
    with ours.start("DataFileDownloadDirectory", lab.target, *told("ours-down")) as mine:
        wait_until(lambda: mine.printed.count(" successfully ") == len(TREE), 30, "the files")
        mine.quit()
    for topic, what in ((hearts, "heartbeat"), (logs, "log")):
        shapes = shapes_in(lab.bootstrap, topic)
        for side in ("up", "down"):
            assert shapes[f"ours-{side}_{what}"] == shapes[f"theirs-{side}_{what}"]


def shapes_in(bootstrap: str, topic: str) -> dict[str, Shape]:
    """The names and types in the last message of each key."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"{topic}-look"})
    found: dict[str, Shape] = {}
    _, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), 10)
    consumer.assign([TopicPartition(topic, 0, 0)])
    at = 0
    while at < end:
        record = consumer.poll(10)
        assert record is not None and record.error() is None
        key, value = record.key(), record.value()
        assert isinstance(key, bytes) and isinstance(value, bytes)
        message = json.loads(value)
        if isinstance(message["timestamp"], str):
            assert message["timestamp"].endswith("+00:00")
        found[key.decode()] = {name: type(each) for name, each in message.items()}
        at = (record.offset() or 0) + 1
    consumer.close()
    return found
