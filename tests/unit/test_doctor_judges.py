"""What the doctor makes of what it sees: topics, rights, clocks, disks, drives, services."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from openmsi.agent import AgentStatus, PartStatus
from openmsi.agent.status import WAITING
from openmsi.config import read_agent
from openmsi.doctor import Case, FileUse, TopicUse, case_of
from openmsi.doctor.connection import (
    Address,
    addresses_of,
    judge_brokers,
    reach,
    reach_any,
    refusal,
)
from openmsi.doctor.disk import (
    Tree,
    examine_directory,
    judge_events,
    judge_space,
    judge_tree,
    look_through,
)
from openmsi.doctor.mounts import file_system
from openmsi.doctor.services import judge_service
from openmsi.doctor.topics import (
    judge_clock,
    judge_partitions,
    judge_record_limit,
    judge_retention,
    judge_rights,
    judge_topic,
)
from openmsi.errors import BrokerUnreachable, NotAuthorized
from openmsi.kafka import KafkaSettings, TopicHealth, TopicInfo
from openmsi.service.manager import ServiceStatus

DAY = 86_400_000


def info(**changes: object) -> TopicInfo:
    fields: dict[str, object] = {
        "name": "ebsd",
        "topic_id": "id",
        "partitions": 6,
        "replication": 3,
        "max_message_bytes": 1_048_588,
        "retention_ms": 7 * DAY,
        "retention_bytes": None,
        "cleanup_policy": "delete",
        "min_insync_replicas": 2,
    }
    return TopicInfo(**{**fields, **changes})  # type: ignore[arg-type]


def health(topic: TopicInfo | None = None, **changes: object) -> TopicHealth:
    fields: dict[str, object] = {
        "info": topic or info(),
        "settings_told": True,
        "stamped_by_broker": True,
        "rights": frozenset({"read", "write"}),
        "without_leader": 0,
        "least_in_sync": 3,
    }
    return TopicHealth(**{**fields, **changes})  # type: ignore[arg-type]


# -- topics ------------------------------------------------------------------------------------


def test_a_topic_that_suits_files_is_all_well() -> None:
    found = list(judge_topic(health(), [TopicUse("ebsd", sends=True)]))
    assert [(each.check, each.state) for each in found] == [
        ("topic", "ok"),
        ("record limit", "ok"),
        ("retention", "ok"),
    ]
    assert all(not each.cure for each in found)
    assert "7 days" in found[2].text and "1000000 bytes fit" in found[1].text


def test_a_topic_for_heartbeats_alone_need_not_suit_files() -> None:
    small = health(info(max_message_bytes=10_000, cleanup_policy="compact"))
    found = judge_topic(small, [TopicUse("ebsd", sends=True, files=False)])
    assert [each.check for each in found] == ["topic"]


def test_settings_that_are_not_told_are_not_judged() -> None:
    found = list(judge_topic(health(settings_told=False), [TopicUse("ebsd")]))
    assert [each.state for each in found] == ["ok", "unknown", "unknown"]
    assert all(each.cure for each in found[1:])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (health(without_leader=2), "2 of its 6 partitions"),
        (health(least_in_sync=1), "only 1 copies are in sync and 2 are needed"),
        (health(info(replication=1), least_in_sync=1), "has 1 copies and needs 2"),
    ],
)
def test_a_topic_that_takes_nothing_now_is_wrong(changed: TopicHealth, words: str) -> None:
    found = judge_partitions(changed)
    assert found.state == "wrong" and words in found.text and found.cure


def test_a_copy_that_is_missing_but_not_needed_is_a_warning() -> None:
    found = judge_partitions(health(least_in_sync=2))
    assert found.state == "warning" and "2 of 3 copies" in found.text and found.cure


def test_a_small_record_limit_is_a_warning_and_a_chunk_that_does_not_fit_is_wrong() -> None:
    small = info(max_message_bytes=100_000)
    fits = judge_record_limit(small, TopicUse("ebsd"))
    assert fits.state == "warning" and "chunks of 83616 bytes" in fits.text
    assert "max.message.bytes to 1048588" in fits.cure
    wanted = judge_record_limit(small, TopicUse("ebsd", chunk_size=500_000))
    assert wanted.state == "wrong" and "a chunk of 500000 bytes does not fit" in wanted.text
    assert "a chunk size of 83616 or less" in wanted.cure
    tiny = judge_record_limit(info(max_message_bytes=5_000), TopicUse("ebsd"))
    assert tiny.state == "wrong" and "max.message.bytes" in tiny.cure


@pytest.mark.parametrize(
    ("changes", "state", "words"),
    [
        ({}, "ok", "kept 7 days"),
        ({"retention_ms": None}, "ok", "for ever"),
        ({"retention_ms": DAY}, "warning", "kept 24 hours"),
        ({"retention_ms": 60_000}, "warning", "kept 60 s"),
        ({"retention_bytes": 10_000_000}, "warning", "7 days and up to 10.0 MB"),
        ({"retention_bytes": 10**12}, "ok", "up to 1.0 TB"),
        ({"cleanup_policy": "compact"}, "wrong", "compacted"),
        ({"cleanup_policy": "compact,delete"}, "wrong", "compacted"),
    ],
)
def test_retention_is_said_and_judged(changes: dict[str, object], state: str, words: str) -> None:
    found = judge_retention(info(**changes))
    assert found.state == state and words in found.text
    assert bool(found.cure) == (state != "ok")


@pytest.mark.parametrize(
    ("rights", "use", "state", "words"),
    [
        ({"read", "write", "create"}, TopicUse("t", True, True), "ok", "read, write, create"),
        ({"write", "describe"}, TopicUse("t", sends=True), "ok", "may: write"),
        ({"write"}, TopicUse("t", receives=True), "wrong", "may not read"),
        ({"read"}, TopicUse("t", sends=True), "wrong", "may not write"),
        ({"describe"}, TopicUse("t", True, True), "wrong", "may not write and read"),
        ({"describe"}, TopicUse("t"), "wrong", "may not read or write; may: nothing"),
        ({"read"}, TopicUse("t"), "ok", "may: read"),
        (None, TopicUse("t", sends=True), "unknown", "does not tell"),
    ],
)
def test_rights_are_those_that_are_needed(
    rights: set[str] | None, use: TopicUse, state: str, words: str
) -> None:
    told = None if rights is None else frozenset(rights)
    found = judge_rights("t", told, [use], "user 'mic'")
    assert found.state == state and words in found.text
    assert bool(found.cure) == (state != "ok")


def test_a_clock_behind_the_broker_shows_in_its_newest_record() -> None:
    now = 1_800_000_000.0
    behind = judge_clock(health(), int((now + 7200) * 1000), now)
    assert behind.state == "warning" and "at least 2 hours behind" in behind.text and behind.cure
    right = judge_clock(health(), int((now - 60) * 1000), now)
    assert right.state == "ok" and "cannot be seen" in right.text
    assert judge_clock(health(), None, now).state == "unknown"
    theirs = judge_clock(health(stamped_by_broker=False), int(now * 1000), now)
    assert theirs.state == "unknown" and "LogAppendTime" in theirs.cure


# -- the way to the brokers --------------------------------------------------------------------


def test_addresses_are_read_as_the_client_reads_them() -> None:
    text = "a.example.org, SASL_SSL://b:93,[::1]:9094,[fe80::1],"
    assert addresses_of(text) == (
        ("a.example.org", 9092),
        ("b", 93),
        ("::1", 9094),
        ("fe80::1", 9092),
    )
    assert str(Address("::1", 9094)) == "[::1]:9094"


@pytest.fixture
def listening() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def closed() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def test_each_step_to_an_address_is_told_apart(listening: str, closed: str) -> None:
    (one,), (other,) = addresses_of(listening), addresses_of(closed)
    assert reach(one).state == "ok"
    refused = reach(other)
    assert (refused.check, refused.state) == ("connection", "wrong") and "firewall" in refused.cure
    nobody = reach(Address("no-such-host.invalid", 9092))
    assert (nobody.check, nobody.state) == ("name", "wrong") and "DNS" in nobody.cure
    impossible = reach(Address("x" * 70, 9092))  # no label of a name may be so long
    assert (impossible.check, impossible.state) == ("name", "wrong")


def test_one_address_that_answers_is_enough(listening: str, closed: str) -> None:
    answers, found = reach_any(f"{listening},{closed}")
    assert answers and [each.state for each in found] == ["ok", "warning"]
    answers, found = reach_any(closed)
    assert not answers and found[0].state == "wrong" and "broker start" in found[0].cure


def test_a_cluster_that_sends_its_clients_elsewhere_is_found(listening: str, closed: str) -> None:
    found = list(judge_brokers([listening, closed], listening))
    assert [(each.check, each.about, each.state) for each in found] == [("broker", closed, "wrong")]
    assert "advertised.listeners" in found[0].cure
    assert [each.state for each in judge_brokers([listening], "x:1")] == ["ok"]


@pytest.mark.parametrize(
    ("protocol", "denied", "check", "cure"),
    [
        ("SASL_SSL", True, "login", "sasl.password"),
        ("SASL_SSL", False, "TLS", "ssl.ca.location"),
        ("SSL", False, "TLS", "ssl.ca.location"),
        ("SASL_PLAINTEXT", False, "answer", "security.protocol"),
        ("", False, "answer", "security.protocol"),
    ],
)
def test_the_step_that_fails_after_the_connection_is_named(
    protocol: str, denied: bool, check: str, cure: str
) -> None:
    client = {"security.protocol": protocol, "sasl.username": "mic"} if protocol else {}
    error = (NotAuthorized if denied else BrokerUnreachable)("Kafka at k:1", "no")
    found = refusal(error, KafkaSettings("k:1", client))
    assert (found.check, found.state) == (check, "wrong") and cure in found.cure


# -- directories -------------------------------------------------------------------------------


def test_a_directory_to_send_from_is_read_and_watched(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "scan.csv").write_text("1")
    found = list(examine_directory(FileUse(tmp_path, "send")))
    assert [(each.check, each.state) for each in found] == [
        ("directory", "ok"),
        ("file events", "ok"),
    ]
    assert "1 file in 3 directories can be read" in found[0].text
    assert sorted(os.listdir(tmp_path)) == ["a"], "nothing is left behind"


def test_what_is_not_there_or_no_directory_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    (missing,) = examine_directory(FileUse(tmp_path / "none", "send"))
    (no_directory,) = examine_directory(FileUse(file, "send"))
    (no_target,) = examine_directory(FileUse(file, "receive"))
    (below,) = examine_directory(FileUse(file / "x", "receive"))
    for each in (missing, no_directory, no_target, below):
        assert each.state == "wrong" and each.cure


def test_a_directory_that_will_be_made_is_well_and_is_not_made(tmp_path: Path) -> None:
    target = tmp_path / "new" / "deep"
    found = list(examine_directory(FileUse(target, "receive")))
    assert [each.check for each in found] == ["directory", "free space"]
    assert found[0].state == "ok" and f"can be made in {tmp_path}" in found[0].text
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may do everything")
def test_what_this_user_may_not_read_or_write_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "file").chmod(0)
    (tmp_path / "closed").mkdir(mode=0)
    try:
        assert len(look_through(tmp_path).closed) == 2
        tmp_path.chmod(0o500)
        (wrong, _) = examine_directory(FileUse(tmp_path, "receive"))
        assert wrong.state == "wrong" and "right to write" in wrong.cure
    finally:
        tmp_path.chmod(0o700)
        (tmp_path / "closed").chmod(0o700)


def test_a_tree_is_looked_through_only_so_long(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}").mkdir()
    seen = look_through(tmp_path, seconds=-1)
    assert (seen.whole, seen.directories) == (False, 6)
    assert "more than" in judge_tree("x", seen).text


def test_what_cannot_be_read_of_a_tree_is_a_warning() -> None:
    found = judge_tree("x", Tree(3, 9, True, ("/x/a", "/x/b")))
    assert found.state == "warning" and "may not read 2: /x/a" in found.text and found.cure


@pytest.mark.parametrize(
    ("drive", "directories", "problem", "limit", "state", "words"),
    [
        ("", 10, "", 8192, "ok", "tells when files appear"),
        ("", 10, "", None, "ok", "tells when files appear"),
        ("cifs", 10, "", 8192, "ok", "network drive (cifs)"),
        ("", 9000, "", 8192, "warning", "may watch 8192"),
        ("", 9000, "inotify watch limit reached", 8192, "warning", "limit reached"),
    ],
)
def test_how_files_are_found_is_said(
    drive: str, directories: int, problem: str, limit: int | None, state: str, words: str
) -> None:
    found = judge_events("x", drive, Tree(directories, 0, True, ()), problem, limit)
    assert found.state == state and words in found.text
    assert ("looking through the tree" in found.text) == (bool(drive) or state == "warning")
    assert ("max_user_watches" in found.cure) == (state == "warning")


@pytest.mark.parametrize(
    ("purpose", "free", "names", "state"),
    [
        ("receive", 10**12, 10**6, "ok"),
        ("receive", 10**12, None, "ok"),
        ("receive", 10**9, None, "warning"),
        ("state", 10**9, None, "ok"),
        ("state", 10**8, None, "warning"),
        ("state", 10**6, None, "wrong"),
        ("log", 10**12, 5, "wrong"),
    ],
)
def test_free_space_is_judged_by_what_comes(
    purpose: str, free: int, names: int | None, state: str
) -> None:
    use = FileUse(Path("/x"), purpose)  # type: ignore[arg-type]
    found = judge_space(use, free, names)
    assert found.state == state and bool(found.cure) == (state != "ok")


def test_the_file_system_of_a_path_is_that_of_the_deepest_and_last_mount() -> None:
    mounts = (
        "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "30 22 0:40 / /data rw shared:1 - cifs //server/x rw\n"
        "31 22 0:41 / /data/local rw - xfs /dev/sdb rw\n"
        "32 22 0:42 / /my\\040share rw - nfs4 server:/x rw\n"
        "33 22 0:43 / /twice rw - ext4 /dev/sdc rw\n"
        "34 22 0:44 / /twice rw - nfs server:/y rw\n"
        "nonsense\n"
    )
    kinds = {
        "/": "ext4",
        "/data": "cifs",
        "/data/sub": "cifs",
        "/database": "ext4",
        "/data/local/x": "xfs",
        "/my share/x": "nfs4",
        "/twice": "nfs",
    }
    assert {path: file_system(path, mounts) for path in kinds} == kinds


# -- the service -------------------------------------------------------------------------------


def test_a_service_that_runs_is_well() -> None:
    (found,) = judge_service(ServiceStatus("openmsi", True, True, True, "active"), None, False)
    assert found.state == "ok" and "it runs: active" in found.text


def test_a_service_that_does_not_run_is_wrong_with_its_last_failure() -> None:
    status = ServiceStatus("sem", True, False, False, "failed", failure="exit-code, status 9")
    stopped, boot = judge_service(status, None, True)
    assert stopped.state == "wrong" and "exit-code, status 9" in stopped.text
    assert "openmsi service start --name sem --user" in stopped.cure
    assert boot.state == "warning"


def test_restarts_after_crashes_are_a_warning() -> None:
    (found,) = judge_service(ServiceStatus("openmsi", True, True, True, restarts=3), None, False)
    assert found.state == "warning" and "3 restarts" in found.text and "logs" in found.cure


def test_a_part_of_the_agent_that_waits_is_told_with_its_reason() -> None:
    part = PartStatus(
        "watch /d -> t", "watch", "t", "/d", WAITING, 0.0, "the disk\n  is full", 0, {}, 0, {}, None
    )
    agent = AgentStatus("n", "h", "1", 1, "a.toml", 0.0, 0.0, [part], agent="process 1")
    running = ServiceStatus("openmsi", True, True, True, "active")
    _, waits = judge_service(running, agent, False)
    assert waits.state == "wrong" and waits.text.endswith("the disk is full")


# -- what is examined --------------------------------------------------------------------------


def test_a_case_has_all_that_an_agent_needs(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text("""\
[kafka]
bootstrap_servers = 'k:1'
[[watch]]
directory = 'in'
topic = 'a'
after = 'move:done'
chunk_size = 2048
[[watch]]
directory = 'in2'
topic = 'a'
after = 'delete'
[[download]]
directory = 'out'
topic = 'b'
group = 'g'
[agent]
heartbeat_topic = 'h'
log_file = 'logs/x.log'
""")
    settings = read_agent(tmp_path / "agent.toml")
    case = case_of(settings, tmp_path / "state", "sem")
    assert case.topics == (
        TopicUse("a", sends=True, chunk_size=2048),
        TopicUse("a", sends=True, receives=True),
        TopicUse("b", receives=True, group="g"),
        TopicUse("h", sends=True, files=False),
    )
    here = Path(os.path.realpath(tmp_path))
    assert case.directories == (
        FileUse(here / "in", "send", changes=True),
        FileUse(here / "done", "move"),
        FileUse(here / "in2", "send", changes=True),
        FileUse(here / "out", "receive"),
        FileUse(tmp_path / "state", "state"),
        FileUse(here / "logs", "log"),
    )
    assert case == Case(
        settings.sending,
        settings.receiving,
        case.topics,
        case.directories,
        "sem",
        settings.file,
    )
