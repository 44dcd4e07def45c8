"""Bad input of the command line: one to three lines that say what, why and the cure.

Every command runs in a process of its own, as a user runs it.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic


class Answer(NamedTuple):
    code: int
    stdout: str
    stderr: str
    seconds: float


def openmsi(*arguments: str | Path) -> Answer:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "openmsi", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return Answer(done.returncode, done.stdout, done.stderr, time.monotonic() - began)


def assert_message(answer: Answer, code: int, *parts: str) -> None:
    """One to three lines on stderr with all `parts`, this exit code, and no traceback."""
    assert answer.code == code, answer
    lines = answer.stderr.strip().splitlines()
    assert 1 <= len(lines) <= 3, answer.stderr
    assert lines[0].startswith("openmsi: "), answer.stderr
    assert "Traceback" not in answer.stderr
    for part in parts:
        assert part.lower() in answer.stderr.lower(), f"{part!r} is not in {answer.stderr!r}"


@pytest.fixture(autouse=True)
def state_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENMSI_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture
def bootstrap(kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("OPENMSI_BOOTSTRAP_SERVERS", kafka_bootstrap)
    return kafka_bootstrap


@pytest.fixture
def topic(bootstrap: str, topic_name: str) -> Iterator[str]:
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    new = NewTopic(topic_name, 1, 1, config={"max.message.bytes": "200000"})
    admin.create_topics([new])[topic_name].result(30)
    yield topic_name
    admin.delete_topics([topic_name])[topic_name].result(30)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.txt").write_text("a")
    return tmp_path / "source"


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port of this machine at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


# -- the broker and the topic ------------------------------------------------------------------


def test_an_unknown_topic(bootstrap: str, source: Path, tmp_path: Path, topic_name: str) -> None:
    cure = "openmsi topic create"
    for verb, where in (("upload", source), ("watch", source), ("download", tmp_path / "target")):
        answer = openmsi(verb, where, "--topic", topic_name)
        assert_message(answer, 6, topic_name, "unknown topic", cure)
    assert_message(openmsi("topic", "show", topic_name), 6, topic_name, cure)


def test_a_topic_that_exists_already(topic: str) -> None:
    assert_message(openmsi("topic", "create", topic), 6, topic, "already exists")


def test_a_topic_name_that_kafka_does_not_take(bootstrap: str) -> None:
    assert_message(openmsi("topic", "create", "not/a topic"), 6, "not/a topic", "name")


@pytest.mark.parametrize("verb", ["upload", "watch", "download"])
def test_nobody_at_the_bootstrap_address(
    verb: str, silent_port: int, source: Path, tmp_path: Path
) -> None:
    address = f"127.0.0.1:{silent_port}"
    where = tmp_path / "target" if verb == "download" else source
    answer = openmsi(verb, where, "--topic", "t", "--bootstrap-servers", address)
    assert_message(answer, 4, address, "refused", "openmsi broker start", "--bootstrap-servers")
    assert answer.seconds < 7.5


def test_a_host_that_does_not_exist(source: Path) -> None:
    address = "no-such-host.invalid:9092"
    answer = openmsi("upload", source, "--topic", "t", "--bootstrap-servers", address)
    assert_message(answer, 4, address, "resolve")


def test_a_program_at_the_bootstrap_address_that_is_not_kafka(source: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        answer = openmsi("upload", source, "--topic", "t", "--bootstrap-servers", address)
    assert_message(answer, 4, address)
    assert answer.seconds < 15


@pytest.mark.parametrize("address", ["", "   ", ","])
def test_no_bootstrap_address_at_all(address: str, source: Path) -> None:
    answer = openmsi("upload", source, "--topic", "t", f"--bootstrap-servers={address}")
    # An empty environment variable or option is not an address; the default may not answer.
    assert answer.code in (4, 9)
    assert "Traceback" not in answer.stderr


def test_a_chunk_size_over_the_topics_limit(topic: str, source: Path) -> None:
    answer = openmsi("upload", source, "--topic", topic, "--chunk-size", "1000000")
    assert_message(answer, 6, "1000000", topic, "200000", "--chunk-size")
    allowed = re.search(r"--chunk-size (\d+) or less", answer.stderr)
    assert allowed
    again = openmsi("upload", source, "--topic", topic, "--chunk-size", allowed[1])
    assert again.code == 0, again


# -- files and directories ---------------------------------------------------------------------


def test_a_path_that_is_not_there(topic: str, source: Path) -> None:
    missing = source / "missing.txt"
    answer = openmsi("upload", source / "a.txt", missing, "--topic", topic)
    assert_message(answer, 7, str(missing), "no such file")
    assert "sent" not in answer.stdout
    assert_message(openmsi("watch", missing, "--topic", topic), 7, str(missing), "existing")


def test_a_file_where_a_directory_is_needed(topic: str, source: Path) -> None:
    file = source / "a.txt"
    answer = openmsi("watch", file, "--topic", topic)
    assert_message(answer, 7, str(file), "it is a file", "directory")
    answer = openmsi("download", file, "--topic", topic, "--until-end")
    assert_message(answer, 7, str(file), "it is a file", "directory")
    assert file.read_text() == "a"


def test_a_destination_below_a_file(topic: str, source: Path) -> None:
    below = source / "a.txt" / "target"
    answer = openmsi("download", below, "--topic", topic, "--until-end")
    assert_message(answer, 7, str(below), "parents is a file")


def test_a_destination_that_cannot_be_written(topic: str, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    if os.access(closed, os.W_OK):
        pytest.skip("whoever runs this may write everywhere")
    answer = openmsi("download", closed, "--topic", topic, "--until-end")
    assert_message(answer, 7, str(closed), "permission denied")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux")
def test_a_destination_in_which_nothing_can_be_made(topic: str) -> None:
    answer = openmsi("download", "/proc/openmsi", "--topic", topic, "--until-end")
    assert_message(answer, 7, "/proc/openmsi")


def test_a_state_directory_that_is_a_file(topic: str, source: Path, tmp_path: Path) -> None:
    state = tmp_path / "state file"
    state.write_text("not a directory")
    for verb, where in (("upload", source), ("download", tmp_path / "target")):
        answer = openmsi(verb, where, "--topic", topic, "--state-dir", state)
        assert_message(answer, 7, str(state), "file")
    assert state.read_text() == "not a directory"


# -- options and configuration -----------------------------------------------------------------


def test_a_client_configuration_with_a_bad_line(source: Path, tmp_path: Path) -> None:
    config = tmp_path / "client.properties"
    config.write_text("# login\nsecurity.protocol=SSL\nthis is no setting\n")
    answer = openmsi("upload", source, "--topic", "t", "--client-config", config)
    assert_message(answer, 9, f"{config}, line 3", "NAME=VALUE")


def test_a_client_configuration_that_is_not_there(source: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing.properties"
    answer = openmsi("upload", source, "--topic", "t", "--client-config", missing)
    assert_message(answer, 9, str(missing), "no such file")


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("no.such.setting=1", ["no.such.setting"]),
        ("security.protocol=nonsense", ["security.protocol"]),
        ("socket.timeout.ms=often", ["socket.timeout.ms"]),
        ("enable.idempotence=false", ["enable.idempotence", "true"]),
        ("group.id=mine", ["group.id", "--group"]),
        ("ssl.ca.location=/no/such/file", ["ssl"]),
    ],
)
def test_a_client_setting_that_cannot_be(
    line: str, parts: list[str], source: Path, tmp_path: Path
) -> None:
    config = tmp_path / "client.properties"
    config.write_text(f"{line}\n" + "security.protocol=SSL\n" * line.startswith("ssl"))
    answer = openmsi("upload", source, "--topic", "t", "--client-config", config)
    assert_message(answer, 9, *parts)


def test_a_password_is_never_shown(source: Path, tmp_path: Path) -> None:
    config = tmp_path / "client.properties"
    config.write_text("sasl.password=hunter2\nsasl.username=me\nno.such.setting=hunter3\n")
    answer = openmsi("upload", source, "--topic", "t", "--client-config", config)
    assert "hunter2" not in answer.stderr + answer.stdout


@pytest.mark.parametrize("prefix", ["../up", "a/../b", "C:", "con", "a//b", ".openmsi"])
def test_a_prefix_that_cannot_begin_a_path(prefix: str, source: Path) -> None:
    answer = openmsi("upload", source, "--topic", "t", "--prefix", prefix)
    assert_message(answer, 2, "--prefix", prefix)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["upload"], "PATH"),
        (["upload", "x"], "--topic"),
        (["upload", "x", "--topic", "t", "--no-such-option"], "--no-such-option"),
        (["upload", "x", "--topic", "t", "--chunk-size", "many"], "--chunk-size"),
        (["upload", "x", "--topic", "t", "--chunk-size", "10"], "--chunk-size"),
        (["watch", "x", "--topic", "t", "--settle", "-1"], "--settle"),
        (["download", "--topic", "t"], "DIR"),
        (["topic", "create", "t", "--partitions", "0"], "--partitions"),
        (["no-such-verb"], "no-such-verb"),
    ],
)
def test_a_wrong_command_line(arguments: list[str], part: str) -> None:
    answer = openmsi(*arguments)
    assert answer.code == 2
    assert part in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_pattern_that_gitignore_does_not_understand(source: Path) -> None:
    answer = openmsi("upload", source, "--topic", "t", "--exclude", "!")
    assert_message(answer, 2, "--exclude", "gitignore")


@pytest.mark.parametrize("verb", ["", "upload", "watch", "download", "topic create", "topic show"])
def test_help_needs_no_broker_and_shows_an_example(verb: str) -> None:
    answer = openmsi(*verb.split(), "--help")
    assert answer.code == 0
    assert "Exit codes" in answer.stdout if not verb else "Example: openmsi" in answer.stdout


# -- after a message, nothing is left half done ------------------------------------------------


def test_nothing_is_under_its_final_name_before_it_is_whole(topic: str, tmp_path: Path) -> None:
    target = tmp_path / "target"
    answer = openmsi("download", target, "--topic", topic, "--until-end")
    assert answer.code == 0
    assert list(target.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names on this system")
def test_output_that_nobody_reads_is_no_error_message(topic: str, source: Path) -> None:
    for number in range(200):
        (source / str(number)).write_text("x")
    command = [sys.executable, "-m", "openmsi", "upload", str(source), "--topic", topic, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read().decode()
        process.wait(30)
    assert "Traceback" not in errors and "error of openmsi" not in errors
