"""`openmsi doctor` against what it is for: each trouble is found, and its cure is told."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # it has no __all__
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from confluent_kafka.cimpl import NewTopic
from helpers import MIB, fill, small_disk

from conftest import logins, running_broker
from openmsi.broker import LocalBroker

BOSS, MIC = "pass word of boss", "secret-of-mic"


class Answer(NamedTuple):
    code: int
    found: list[dict[str, Any]]
    stderr: str

    def one(self, check: str, about: str = "") -> dict[str, Any]:
        """The only finding of this check about this."""
        (found,) = [e for e in self.found if e["check"] == check and about in e["about"]]
        return found

    def bad(self) -> list[tuple[str, str]]:
        return [(e["check"], e["state"]) for e in self.found if e["state"] in ("warning", "wrong")]


def openmsi(where: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    around = {name: each for name, each in os.environ.items() if not name.startswith("OPENMSI")}
    return subprocess.run(
        [sys.executable, "-m", "openmsi", *map(str, words)],
        cwd=where,
        env={**around, "OPENMSI_STATE_DIR": str(where / "state")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def doctor(where: Path, *words: str | Path) -> Answer:
    done = openmsi(where, "doctor", "--json", *words)
    assert "Traceback" not in done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    wrong = [each for each in found if each["state"] == "wrong"]
    assert done.returncode == (3 if wrong else 0), done.stderr
    assert all(each["cure"] for each in wrong)
    return Answer(done.returncode, found, done.stderr)


def make_topic(bootstrap: str, name: str, copies: int = 1, **settings: str) -> None:
    config = {key.replace("_", "."): each for key, each in settings.items()}
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(name, 3, copies, config=config)])[name].result(30)


@pytest.fixture
def topic(kafka_bootstrap: str, topic_name: str) -> Iterator[str]:
    """A topic as `openmsi topic create` makes it."""
    make_topic(kafka_bootstrap, topic_name, message_timestamp_type="LogAppendTime")
    yield topic_name
    delete_topic(kafka_bootstrap, topic_name)


def delete_topic(bootstrap: str, name: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.delete_topics([name])[name].result(30)


def agent_toml(where: Path, bootstrap: str, topic: str, more: str = "") -> Path:
    (where / "data").mkdir(exist_ok=True)
    file = where / "agent.toml"
    file.write_text(f"""\
[kafka]
bootstrap_servers = '{bootstrap}'
[[watch]]
directory = 'data'
topic = '{topic}'
[[download]]
directory = 'out'
topic = '{topic}'
group = 'lab'
{more}""")
    return file


# -- all is well -------------------------------------------------------------------------------


def test_where_all_is_well_the_exit_code_is_0_and_nothing_is_left_behind(
    kafka_bootstrap: str, topic: str, tmp_path: Path
) -> None:
    agent_toml(tmp_path, kafka_bootstrap, topic)
    (tmp_path / "data" / "scan.csv").write_text("1,2,3\n")
    answer = doctor(tmp_path, "--config", "agent.toml")
    assert answer.code == 0 and answer.bad() == []
    assert {each["check"] for each in answer.found} >= {
        "connection",
        "login",
        "topic",
        "record limit",
        "retention",
        "rights",
        "clock",
        "directory",
        "file events",
        "state",
        "free space",
        "service",
    }
    assert "read, write, create" in answer.one("rights", "topic")["text"]
    assert answer.one("rights", "group")["text"] == "this user may be a member"
    assert "7 days" in answer.one("retention")["text"]
    assert sorted(os.listdir(tmp_path)) == ["agent.toml", "data"]
    assert os.listdir(tmp_path / "data") == ["scan.csv"]
    shown = openmsi(tmp_path, "config", "check", "agent.toml")
    assert shown.returncode == 0, shown.stderr
    assert "Nothing is wrong, 0 warnings." in shown.stdout
    assert f"ok       topic         topic '{topic}': 3 partitions" in shown.stdout


def test_without_a_file_the_command_line_says_what_to_look_at(
    kafka_bootstrap: str, topic: str, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    place = ("--bootstrap-servers", kafka_bootstrap)
    assert doctor(tmp_path, *place, "--topic", topic, "data").bad() == []
    assert doctor(tmp_path, *place, "--topic", topic, "new", "--receive").bad() == []
    alone = doctor(tmp_path, *place)
    assert alone.bad() == [] and "topic" not in {each["check"] for each in alone.found}
    both = openmsi(tmp_path, "doctor", "data", "--config", "agent.toml")
    assert both.returncode == 2 and "agent.toml" in both.stderr


def test_a_config_of_the_older_service_says_what_it_sends_from_where(
    kafka_bootstrap: str, topic: str, tmp_path: Path
) -> None:
    (tmp_path / "sem.config").write_text(
        f"[cluster]\nbootstrap.servers = {kafka_bootstrap}\n"
        "[openmsi_directory_stream_service]\n"
        f"file_directory = {tmp_path / 'none'}\ntopic_name = {topic}\n"
    )
    answer = doctor(tmp_path, "--config", tmp_path / "sem.config")
    assert answer.one("topic")["state"] == "ok"
    assert answer.bad() == [("directory", "wrong")]


# -- the broker --------------------------------------------------------------------------------


def test_no_broker_is_found_and_the_rest_is_examined_all_the_same(tmp_path: Path) -> None:
    file = agent_toml(tmp_path, "localhost:1", "ebsd")
    began = time.monotonic()
    answer = doctor(tmp_path, "--config", file)
    assert time.monotonic() - began < 15
    assert answer.bad() == [("connection", "wrong")]
    assert "refused" in answer.one("connection")["text"]
    assert "openmsi broker start" in answer.one("connection")["cure"]
    assert answer.one("topic")["state"] == "unknown"
    assert answer.one("directory", "data")["state"] == "ok"
    shown = openmsi(tmp_path, "config", "check", file)
    assert shown.returncode == 3 and "sends " in shown.stdout and "refused" in shown.stdout
    assert openmsi(tmp_path, "config", "check", "--offline", file).returncode == 0


def test_a_name_that_is_not_known_is_told_apart(tmp_path: Path) -> None:
    answer = doctor(tmp_path, "--bootstrap-servers", "no-such-host.invalid:9092")
    assert answer.bad() == [("name", "wrong")] and "DNS" in answer.one("name")["cure"]


def test_tls_to_a_broker_without_it_is_told_apart(kafka_bootstrap: str, tmp_path: Path) -> None:
    (tmp_path / "tls.properties").write_text("security.protocol=SSL\n")
    place = ("--bootstrap-servers", kafka_bootstrap)
    answer = doctor(tmp_path, *place, "--config", "tls.properties")
    assert answer.one("connection")["state"] == "ok"
    assert answer.bad() == [("TLS", "wrong")]


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[int]:
    """The port of a server of TLS whose certificate nobody has signed."""
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    made += ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "own.pem")]
    try:
        subprocess.run(made, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no program called openssl")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "own.pem", tmp_path / "key.pem")
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=greet, args=(server, context))
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def greet(server: socket.socket, context: ssl.SSLContext) -> None:
    """Shake hands with whoever comes, until the server is shut down."""
    while True:
        try:
            visitor, _ = server.accept()
        except OSError:
            return
        visitor.settimeout(5)
        with visitor, contextlib.suppress(OSError), context.wrap_socket(visitor, True) as secure:
            secure.recv(1)


def test_a_certificate_that_nobody_has_signed_is_told_apart(
    tls_server: int, tmp_path: Path
) -> None:
    (tmp_path / "tls.properties").write_text("security.protocol=SSL\n")
    place = ("--bootstrap-servers", f"127.0.0.1:{tls_server}", "--config", "tls.properties")
    answer = doctor(tmp_path, *place)
    assert answer.one("connection")["state"] == "ok"
    assert answer.bad() == [("TLS", "wrong")]
    assert "certificate" in answer.one("TLS")["text"]
    assert "ssl.ca.location" in answer.one("TLS")["cure"]


# -- the login and rights ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def closed_broker() -> Iterator[str]:
    """A Kafka for boss, who may do everything, and mic, who may do nothing by himself."""
    settings = logins(boss=BOSS, mic=MIC)
    settings["authorizer_class_name"] = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
    settings["super_users"] = "User:boss;User:ANONYMOUS"
    with running_broker(nodes=1, **settings) as broker:
        yield broker.status().bootstrap


def as_user(name: str, password: str) -> dict[str, str | int | float | bool]:
    return {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": name,
        "sasl.password": password,
    }


def as_mic(where: Path, bootstrap: str, password: str = MIC) -> tuple[str, ...]:
    lines = [f"{name}={each}\n" for name, each in as_user("mic", password).items()]
    (where / "mic.properties").write_text("".join(lines))
    return "--bootstrap-servers", bootstrap, "--config", "mic.properties"


def allow(bootstrap: str, kind: ResourceType, name: str, *operations: AclOperation) -> None:
    """Give mic the right to do this."""
    boss = AdminClient({"bootstrap.servers": bootstrap, **as_user("boss", BOSS)})
    literal, yes = ResourcePatternType.LITERAL, AclPermissionType.ALLOW
    wanted = [AclBinding(kind, name, literal, "User:mic", "*", each, yes) for each in operations]
    for each in boss.create_acls(wanted).values():
        each.result(30)


def test_a_wrong_password_is_found_and_not_shown(closed_broker: str, tmp_path: Path) -> None:
    words = as_mic(tmp_path, closed_broker, "wrong-password")
    answer = doctor(tmp_path, *words, "--topic", "ebsd")
    assert answer.one("connection")["state"] == "ok"
    assert answer.bad() == [("login", "wrong")]
    login = answer.one("login")
    assert "user 'mic' is refused" in login["text"] and "sasl.password" in login["cure"]
    assert answer.one("topic")["state"] == "unknown"
    assert "wrong-password" not in json.dumps(answer.found) + answer.stderr


def test_a_login_that_is_missing_is_found(closed_broker: str, tmp_path: Path) -> None:
    answer = doctor(tmp_path, "--bootstrap-servers", closed_broker)
    assert answer.bad() == [("answer", "wrong")]
    assert "security.protocol" in answer.one("answer")["cure"]


def test_rights_that_are_missing_are_named(closed_broker: str, tmp_path: Path) -> None:
    boss = AdminClient({"bootstrap.servers": closed_broker, **as_user("boss", BOSS)})
    for each in boss.create_topics([NewTopic("mine", 1, 1), NewTopic("theirs", 1, 1)]).values():
        each.result(30)
    allow(closed_broker, ResourceType.TOPIC, "mine", AclOperation.WRITE)
    words = (*as_mic(tmp_path, closed_broker), "--topic", "mine")
    (tmp_path / "data").mkdir()

    sends = doctor(tmp_path, *words, "data")
    assert sends.bad() == [] and sends.one("login")["state"] == "ok"
    assert sends.one("rights")["text"] == "user 'mic' may: write"
    assert sends.one("record limit")["state"] == "unknown", "settings are not told to him"
    receives = doctor(tmp_path, *words, "out", "--receive")
    assert receives.bad() == [("rights", "wrong")]
    assert "may not read" in receives.one("rights")["text"]
    hidden = doctor(tmp_path, *words[:-1], "theirs", "data")
    assert [state for _, state in hidden.bad()] == ["wrong"]


def test_whether_a_missing_topic_could_be_made_is_found_out_without_making_it(
    closed_broker: str, tmp_path: Path
) -> None:
    words = as_mic(tmp_path, closed_broker)
    allow(closed_broker, ResourceType.TOPIC, "may-make", AclOperation.CREATE, AclOperation.WRITE)
    allow(closed_broker, ResourceType.TOPIC, "may-not", AclOperation.WRITE)
    may, may_not = (
        doctor(tmp_path, *words, "--topic", each).one("topic") for each in ("may-make", "may-not")
    )
    assert may["state"] == may_not["state"] == "wrong"
    assert "openmsi topic create may-make" in may["cure"]
    assert "you may not make it" in may_not["cure"]
    boss = AdminClient({"bootstrap.servers": closed_broker, **as_user("boss", BOSS)})
    assert not {"may-make", "may-not"} & set(boss.list_topics(timeout=10).topics)


def test_a_group_that_one_may_not_join_is_found(closed_broker: str, tmp_path: Path) -> None:
    (tmp_path / "password.txt").write_text(MIC)
    (tmp_path / "password.txt").chmod(0o600)
    boss = AdminClient({"bootstrap.servers": closed_broker, **as_user("boss", BOSS)})
    boss.create_topics([NewTopic("shared", 1, 1)])["shared"].result(30)
    read_and_write = (AclOperation.READ, AclOperation.WRITE)
    allow(closed_broker, ResourceType.TOPIC, "shared", *read_and_write)
    login = """
[kafka.client]
security.protocol = 'SASL_PLAINTEXT'
sasl.mechanism = 'PLAIN'
sasl.username = 'mic'
sasl.password = { file = 'password.txt' }
"""
    file = agent_toml(tmp_path, closed_broker, "shared", login)
    answer = doctor(tmp_path, "--config", file)
    assert answer.bad() == [("rights", "wrong")]
    assert answer.one("rights", "topic")["state"] == "ok"
    assert "may not be a member" in answer.one("rights", "group 'lab'")["text"]
    allow(closed_broker, ResourceType.GROUP, "lab", AclOperation.READ)
    assert doctor(tmp_path, "--config", file).bad() == []


# -- topics ------------------------------------------------------------------------------------


@pytest.fixture
def poor_topic(kafka_bootstrap: str, topic_name: str) -> Iterator[str]:
    """It takes 100 KB a record and keeps it for an hour."""
    make_topic(kafka_bootstrap, topic_name, max_message_bytes="100000", retention_ms=str(3_600_000))
    yield topic_name
    delete_topic(kafka_bootstrap, topic_name)


def test_a_topic_with_a_limit_of_100_kb_is_found(
    kafka_bootstrap: str, poor_topic: str, tmp_path: Path
) -> None:
    file = agent_toml(tmp_path, kafka_bootstrap, poor_topic)
    answer = doctor(tmp_path, "--config", file)
    assert answer.bad() == [("record limit", "warning"), ("retention", "warning")]
    limit = answer.one("record limit")
    assert "at most 100000 bytes: chunks of 83616 bytes fit" in limit["text"]
    assert "max.message.bytes" in limit["cure"]
    assert "kept 60 minutes" in answer.one("retention")["text"]
    assert "LogAppendTime" in answer.one("clock")["cure"]
    file.write_text(file.read_text().replace("[[download]]", "chunk_size = 500000\n[[download]]"))
    wrong = doctor(tmp_path, "--config", file).one("record limit")
    assert wrong["state"] == "wrong" and "a chunk of 500000 bytes does not fit" in wrong["text"]
    assert "83616 or less" in wrong["cure"]


def test_a_compacted_topic_is_wrong(kafka_bootstrap: str, topic_name: str, tmp_path: Path) -> None:
    make_topic(kafka_bootstrap, topic_name, cleanup_policy="compact")
    try:
        place = ("--bootstrap-servers", kafka_bootstrap)
        answer = doctor(tmp_path, *place, "--topic", topic_name)
        assert answer.bad() == [("retention", "wrong")]
        assert "cleanup.policy to delete" in answer.one("retention")["cure"]
    finally:
        delete_topic(kafka_bootstrap, topic_name)


def test_a_topic_that_takes_no_record_is_wrong(
    kafka_bootstrap: str, topic_name: str, tmp_path: Path
) -> None:
    make_topic(kafka_bootstrap, topic_name, min_insync_replicas="2")
    try:
        place = ("--bootstrap-servers", kafka_bootstrap)
        answer = doctor(tmp_path, *place, "--topic", topic_name)
        assert answer.bad() == [("topic", "wrong")]
        assert "min.insync.replicas" in answer.one("topic")["cure"]
    finally:
        delete_topic(kafka_bootstrap, topic_name)


def test_a_broker_that_is_down_shows_in_the_topics_that_need_it(
    kafka_cluster: LocalBroker, topic_name: str, tmp_path: Path
) -> None:
    bootstrap = kafka_cluster.status().bootstrap
    alone, strict = f"{topic_name}-alone", f"{topic_name}-strict"
    make_topic(bootstrap, alone, min_insync_replicas="1")
    make_topic(bootstrap, strict, copies=3, min_insync_replicas="3")
    kafka_cluster.kill_node(2)
    try:
        place = ("--bootstrap-servers", bootstrap, "--topic")
        for name, words in (
            (alone, "1 of its 3 partitions have no broker now"),
            (strict, "only 2 copies are in sync and 3 are needed"),
        ):
            deadline = time.monotonic() + 40  # the others have to notice it first
            while words not in (answer := doctor(tmp_path, *place, name)).one("topic")["text"]:
                assert time.monotonic() < deadline, answer
            assert answer.code == 3
        down = [each for each in answer.found if each["check"] == "connection"]
        assert sorted(each["state"] for each in down) == ["ok", "ok", "warning"]
    finally:
        kafka_cluster.start_node(2)
        for name in (alone, strict):
            delete_topic(bootstrap, name)


def test_the_newest_record_tells_of_the_clock(
    kafka_bootstrap: str, topic: str, tmp_path: Path
) -> None:
    place = ("--bootstrap-servers", kafka_bootstrap, "--topic", topic)
    assert "no record yet" in doctor(tmp_path, *place).one("clock")["text"]
    producer = Producer({"bootstrap.servers": kafka_bootstrap})
    producer.produce(topic, b"x")
    assert producer.flush(30) == 0
    clock = doctor(tmp_path, *place).one("clock")
    assert clock["state"] == "ok" and "its newest record" in clock["text"]


# -- directories -------------------------------------------------------------------------------


@contextlib.contextmanager
def read_only(path: Path) -> Iterator[None]:
    """A directory in which nothing can be written, by root neither."""
    if os.geteuid() != 0:
        path.mkdir(mode=0o500)
        yield
        return
    with small_disk(path, MIB):
        subprocess.run(["mount", "-o", "remount,ro", str(path)], check=True)
        yield


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system of its own")
def test_a_read_only_directory_is_found(kafka_bootstrap: str, topic: str, tmp_path: Path) -> None:
    with read_only(tmp_path / "out"):
        file = agent_toml(tmp_path, kafka_bootstrap, topic)
        answer = doctor(tmp_path, "--config", file)
        wrong = answer.one("directory", "out")
        assert wrong["state"] == "wrong" and "cannot write there" in wrong["text"]
        assert "name another directory" in wrong["cure"]
        assert answer.one("directory", "data")["state"] == "ok"
        place = ("--bootstrap-servers", kafka_bootstrap, "--topic", topic)
        state = doctor(tmp_path, *place, "--state-dir", "out/state").one("state")
        assert state["state"] == "wrong" and "cannot be made" in state["text"]
        # It can be sent from, if sent files are kept.
        assert doctor(tmp_path, *place, "out").bad() == []


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system of its own")
def test_a_full_disk_is_found(kafka_bootstrap: str, topic: str, tmp_path: Path) -> None:
    with small_disk(tmp_path / "out", 4 * MIB):
        fill(tmp_path / "out" / "ballast")
        file = agent_toml(tmp_path, kafka_bootstrap, topic)
        answer = doctor(tmp_path, "--config", file)
        assert set(answer.bad()) == {("directory", "wrong"), ("free space", "wrong")}
        for check in ("directory", "free space"):
            wrong = answer.one(check, "out")
            assert "the disk is full" in wrong["text"] and "Free some space" in wrong["cure"]
        place = ("--bootstrap-servers", kafka_bootstrap, "--topic", topic)
        state = doctor(tmp_path, *place, "--state-dir", "out/state")
        assert ("state", "wrong") in state.bad()
