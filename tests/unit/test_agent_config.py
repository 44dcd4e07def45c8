"""`agent.toml`: what a right one means, and what is said of a wrong one."""

from __future__ import annotations

import os
import re
import sys
import time
import tomllib
from pathlib import Path
from typing import NamedTuple

import keyring
import msgspec
import pytest
from keyring.backend import KeyringBackend

from openmsi.config import (
    Download,
    Heartbeat,
    Watch,
    read_agent,
    read_legacy_config,
    to_agent_toml,
)
from openmsi.config.agent import SECTIONS
from openmsi.config.agent_first import FIRST
from openmsi.config.agent_settings import General, meta_of
from openmsi.errors import ConfigError

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="rights as POSIX has them")
START = """\
[kafka]
bootstrap_servers = 'kafka.example.org:9092'
"""
KAFKA = START + "[[watch]]\ndirectory = 'data'\ntopic = 'ebsd'\n"
ENVIRONMENT = {"DATA": "/data/ebsd", "PASSWORD": "hunter2"}


def read(folder: Path, text: str) -> None:
    (folder / "agent.toml").write_text(text, encoding="utf-8")
    read_agent(folder / "agent.toml", ENVIRONMENT)


class Wrong(NamedTuple):
    """A wrong file, the line and key that the message must name, and words of the cure."""

    text: str
    line: int
    key: str
    cure: str


def with_client(line: str) -> str:
    return f"{START}[kafka.client]\n{line}\n[[watch]]\ndirectory = 'data'\ntopic = 'ebsd'\n"


WRONG = {
    # Not TOML at all.
    "a path of Windows between double quotes": Wrong(
        START + '[[watch]]\ndirectory = "D:\\Users\\me"\n', 4, "", "write 'D:\\data' between '"
    ),
    "a quote that is missing": Wrong(START + "[[watch]]\ntopic = 'ebsd\n", 4, "", "Close the text"),
    "text without quotes": Wrong(START + "[[watch]]\ntopic = ebsd\n", 4, "", "Text needs quotes"),
    "True": Wrong(KAFKA + "new_only = True\n", 6, "", "in lower case"),
    "a colon instead of =": Wrong(KAFKA + "prefix: 'x'\n", 6, "", "key = value"),
    "the same key twice": Wrong(KAFKA + "topic = 'b'\n", 6, "", "keep one of the two"),
    "the same section twice": Wrong(KAFKA + "[kafka]\n", 6, "", "join the two"),
    "a list that is not closed": Wrong(KAFKA + "include = ['a',\n", 6, "", "]"),
    "a bracket that is missing": Wrong("[kafka\nx = 1\n", 1, "", "Write [[watch]] or [kafka]"),
    # Sections and keys.
    "an unknown section": Wrong(KAFKA + "[[wach]]\n", 6, "wach", "Did you mean 'watch'?"),
    "a section of nothing known": Wrong(KAFKA + "[[zzz]]\n", 6, "zzz", "There are [kafka]"),
    "a setting above all sections": Wrong("topic = 'a'\n" + KAFKA, 1, "topic", "under [[watch]]"),
    "single brackets": Wrong(START + "[watch]\ntopic='a'\n", 3, "[[watch]]", "two brackets"),
    "no [kafka]": Wrong("[[watch]]\ndirectory='a'\ntopic='b'\n", 0, "[kafka]", "Add [kafka]"),
    "[[kafka]]": Wrong("[[kafka]]\nbootstrap_servers='a:1'\n", 1, "[kafka]", "Write [kafka]"),
    "nothing to do": Wrong(START, 0, "", "Add a [[watch]] or [[download]]"),
    "a misspelt key": Wrong(KAFKA + "setle = 3\n", 6, "[[watch]] setle", "Did you mean 'settle'?"),
    "a key of another section": Wrong(
        KAFKA + "group = 'g'\n", 6, "[[watch]] group", "It belongs under [[download]]"
    ),
    "a key without any likeness": Wrong(KAFKA + "q = 1\n", 6, "[[watch]] q", "It has directory,"),
    "a missing directory": Wrong(
        START + "[[watch]]\ntopic = 'a'\n", 3, "[[watch]]", "Add a line directory = "
    ),
    "a missing topic, of the second part": Wrong(
        KAFKA + "\n[[watch]]\n# the second\ndirectory = 'b'\n", 7, "topic is missing", "topic = "
    ),
    # Values.
    "a text for a number": Wrong(
        KAFKA + "settle = 'fast'\n", 6, "[[watch]] settle", "Write it like settle = 2.0"
    ),
    "a number out of range": Wrong(
        KAFKA + "chunk_size = 10\n", 6, "chunk_size", "Write it like chunk_size = 524288"
    ),
    "a rate of nothing": Wrong(KAFKA + "max_rate = 0\n", 6, "max_rate", "max_rate = 2.5"),
    "a negative time": Wrong(KAFKA + "settle = -1\n", 6, "[[watch]] settle", "settle = 2.0"),
    "a time without end": Wrong(KAFKA + "settle = inf\n", 6, "[[watch]] settle", "settle = 2.0"),
    "a text for yes": Wrong(KAFKA + "growing = 'yes'\n", 6, "[[watch]] growing", "growing = true"),
    "one pattern without a list": Wrong(
        KAFKA + "include = '*.csv'\n", 6, "include", 'include = ["*.csv"]'
    ),
    "a pattern that is none": Wrong(KAFKA + "exclude = ['!']\n", 6, "exclude", "as in .gitignore"),
    "a topic with a space": Wrong(
        START + "[[watch]]\ndirectory='a'\ntopic = 'my topic'\n", 5, "[[watch]] topic", "topic = "
    ),
    "an unknown format": Wrong(
        KAFKA + "format = 'openmsi9'\n", 6, "[[watch]] format", 'format = "openmsi-9"'
    ),
    "an unknown wish for afterwards": Wrong(KAFKA + "after = 'burn'\n", 6, "after", "keep"),
    "a prefix that leads out": Wrong(
        KAFKA + "prefix = '../up'\n", 6, "[[watch]] prefix", "Write it like sem-3"
    ),
    "a home directory": Wrong(
        START + "[[watch]]\ndirectory = '~/data'\n", 4, "directory", "Write the whole path"
    ),
    "a tab in a path": Wrong(
        START + '[[watch]]\ndirectory = "C:\\tmp"\n', 4, "directory", "write 'C:\\tmp' between '"
    ),
    "an empty directory": Wrong(
        START + "[[watch]]\ndirectory = ''\n", 4, "directory", "directory ="
    ),
    "a port that is none": Wrong(
        KAFKA + "[agent]\nmetrics_port = 70000\n", 7, "[agent] metrics_port", "metrics_port = 9464"
    ),
    "a log of no kind": Wrong(KAFKA + "[agent]\nlog = 'xml'\n", 7, "[agent] log", 'log = "json"'),
    # What stands elsewhere.
    "a variable that is not set": Wrong(
        START + "[[watch]]\ndirectory = '$NO_SUCH'\n", 4, "NO_SUCH is not set", "Set it"
    ),
    "a secret file that is not there": Wrong(
        with_client("sasl.password = { file = 'none.txt' }"), 4, "sasl.password", "Name a file"
    ),
    "a reference of no kind": Wrong(
        with_client("sasl.password = { env = 'X' }"), 4, "sasl.password", '{ file = "PATH" }'
    ),
    # Kafka.
    "no brokers": Wrong("[kafka]\n" + KAFKA[8:].partition("\n")[2], 1, "bootstrap_servers", "Add"),
    "brokers without a port that is one": Wrong(
        START.replace("9092", "kafka"), 2, "[kafka] bootstrap_servers", "kafka.example.org:9092"
    ),
    "a misspelt client setting": Wrong(
        with_client("sasl.pasword = 'x'"), 4, "[kafka.client] sasl.pasword", "'sasl.password'?"
    ),
    "a client setting one level too high": Wrong(
        START + "security.protocol = 'SSL'\n", 3, "[kafka] security", "under [kafka.client]"
    ),
    "a client setting that breaks a promise": Wrong(
        with_client("acks = 1"), 4, "[kafka.client] acks", "Remove 'acks'"
    ),
    "a client setting with a place of its own": Wrong(
        with_client("group.id = 'lab'"),
        4,
        "[kafka.client] group.id",
        "Set group under [[down",
    ),
    "a client setting in two ways": Wrong(
        with_client("linger.ms = 5\n'linger.ms' = 6"), 5, "linger.ms", "Keep one of the two"
    ),
    "a list for a client setting": Wrong(
        with_client("linger.ms = [5]"), 4, "[kafka.client] linger.ms", "a text, a number"
    ),
    "a client setting with a wrong value": Wrong(
        with_client("client.id = 'x'\nlinger.ms = 'soon'"), 5, "[kafka.client] linger.ms", "may be"
    ),
    "a client setting out of its range": Wrong(
        with_client("linger.ms = 9999999"), 4, "[kafka.client] linger.ms", "may be"
    ),
    "a certificate that is not there": Wrong(
        with_client("security.protocol = 'SSL'\nssl.ca.location = '/none.pem'"),
        5,
        "[kafka.client] ssl.ca.location",
        "may be",
    ),
    "a login without a password": Wrong(
        with_client("security.protocol = 'SASL_SSL'\nsasl.mechanism = 'PLAIN'"),
        3,
        "[kafka.client]",
        "Correct the client settings",
    ),
    # Parts that do not go together.
    "two senders of one directory to one topic": Wrong(
        KAFKA + "[[watch]]\ndirectory = './data/../data'\ntopic = 'ebsd'\n", 7, "directory", "Keep"
    ),
    "a circle": Wrong(
        KAFKA + "[[download]]\ndirectory = 'data/received'\ntopic = 'ebsd'\n",
        4,
        "[[watch]] directory",
        "Watch a directory apart from it",
    ),
    "a circle from within": Wrong(
        START
        + "[[download]]\ndirectory = 'all'\ntopic = 'ebsd'\n"
        + "[[watch]]\ndirectory = 'all/mine'\ntopic = 'ebsd'\n",
        7,
        "[[watch]] directory",
        "Watch a directory apart from it",
    ),
    "moving into the watched directory": Wrong(
        KAFKA + "after = 'move:data/done'\n", 6, "[[watch]] after", "outside of it"
    ),
    "growing files in the older format": Wrong(
        KAFKA + "growing = true\nformat = 'openmsi-9'\n", 6, "[[watch]] growing", "Take away"
    ),
    "heartbeats among files": Wrong(
        KAFKA + "[agent]\nheartbeat_topic = 'ebsd'\n", 5, "[[watch]] topic", "heartbeat_topic"
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_told_with_line_key_and_cure(name: str, tmp_path: Path) -> None:
    wrong = WRONG[name]
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, wrong.text)
    error = caught.value
    file = str(tmp_path / "agent.toml")
    assert error.what.startswith(f"{file}, line {wrong.line}" if wrong.line else file)
    assert (
        re.match(rf"line {wrong.line}(,|$)", error.what.removeprefix(f"{file}, ")) or not wrong.line
    )
    assert wrong.key in f"{error.what}: {error.why}"
    assert error.why and wrong.cure in error.cure + error.why
    assert error.cure or name == "a list for a client setting"


def test_there_are_enough_of_them() -> None:
    assert len(WRONG) >= 25


# -- what is right -----------------------------------------------------------------------------


def test_a_file_with_all_parts(tmp_path: Path) -> None:
    text = """\
[kafka]
bootstrap_servers = "$SERVERS"
[kafka.client]
security.protocol = "SASL_SSL"
"sasl.mechanism" = "PLAIN"
sasl.username = "microscope-3"
sasl.password = "$PASSWORD"
enable.ssl.certificate.verification = false
[kafka.producer]
linger.ms = 20
[kafka.consumer]
fetch.min.bytes = 1000
[[watch]]
directory = "$DATA/raw"
topic = "ebsd"
prefix = "/sem-3/"
include = ["*.csv"]
after = "move:done"
settle = 3
[[watch]]
directory = "sub"
topic = "xrd"
format = "openmsi-9"
chunk_size = 16384
max_rate = 2
[[download]]
directory = "repository"
topic = "ebsd"
group = "analysis"
stale_after = 3600
[agent]
name = "lab 3"
heartbeat_topic = "beats"
heartbeat_seconds = 5
"""
    (tmp_path / "agent.toml").write_text(text)
    here = {"SERVERS": "a:1,b:2", "DATA": str(tmp_path)}
    found = read_agent(tmp_path / "agent.toml", ENVIRONMENT | here)
    assert found.sending.bootstrap_servers == "a:1,b:2"
    assert dict(found.sending.client) == {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "microscope-3",
        "sasl.password": "hunter2",
        "enable.ssl.certificate.verification": "false",
        "linger.ms": "20",
    }
    assert found.receiving.client["fetch.min.bytes"] == "1000"
    assert "linger.ms" not in found.receiving.client
    first, second, third, fourth = found.parts
    moved = f"move:{tmp_path / 'done'}"
    assert first == Watch(tmp_path / "raw", "ebsd", "sem-3", ("*.csv",), settle=3.0, after=moved)
    assert second == Watch(
        tmp_path / "sub", "xrd", chunk_size=16384, max_rate=2.0, format="openmsi-9"
    )
    assert third == Download(tmp_path / "repository", "ebsd", "analysis", 3600.0)
    assert fourth == Heartbeat("beats", 5.0)
    assert len({each.title for each in found.parts}) == 4


def test_the_same_text_is_the_same_settings(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text(with_client("linger.ms = 5"))
    path = tmp_path / "agent.toml"
    assert read_agent(path) == read_agent(path)


OLDER = """\
[cluster]
bootstrap.servers = kafka.example.org:9092
security.protocol = SASL_SSL
sasl.mechanism = PLAIN
sasl.username = microscope-3
sasl.password = hunter2
[producer]
linger.ms = 100
value.serializer = DataFileChunkSerializer
[openmsi_directory_stream_service]
file_directory = $DATA
topic_name = oxford_EBSD
chunk_size = 16384
"""


def test_what_is_made_of_an_older_file_is_understood(tmp_path: Path) -> None:
    (tmp_path / "older.config").write_text(OLDER)
    older = read_legacy_config(tmp_path / "older.config", ENVIRONMENT, keep_references=True)
    (tmp_path / "agent.toml").write_text(to_agent_toml(older), encoding="utf-8")
    environment = {**ENVIRONMENT, "KAFKA_SASL_PASSWORD": "from the environment"}
    found = read_agent(tmp_path / "agent.toml", environment)
    (watch,) = found.parts
    assert watch == Watch(
        Path(os.path.realpath("/data/ebsd")),
        "oxford_EBSD",
        new_only=True,
        chunk_size=16384,
        format="openmsi-9",
    )
    assert found.sending.client["sasl.password"] == "from the environment"
    assert found.sending.client["linger.ms"] == "100"


def uncommented(text: str) -> str:
    return re.sub(r"^# (?=\[\[|[a-z_.]+ = )", "", text, flags=re.M)


def test_the_first_file_is_right_as_it_is(tmp_path: Path) -> None:
    read(tmp_path, FIRST)


@POSIX
def test_every_setting_of_the_first_file_can_be_taken(tmp_path: Path) -> None:
    (tmp_path / "password.txt").write_text("hunter2\n")
    (tmp_path / "password.txt").chmod(0o600)
    text = uncommented(FIRST)
    read(tmp_path, re.sub("(?m)^ssl.ca.location.*", "", text))  # there is no such certificate
    found = tomllib.loads(text)
    assert set(found) == set(SECTIONS)
    fields = {"watch": Watch, "download": Download, "agent": General}
    for name, kind in fields.items():
        table = found[name] if name == "agent" else found[name][0]
        assert set(table) == set(kind.__struct_fields__), name


def test_every_type_describes_itself() -> None:
    for kind in (Watch, Download, General):
        for field in msgspec.structs.fields(kind):
            meta = meta_of(field.type)
            assert meta.description and meta.examples, field.name
            (example,) = meta.examples
            if not isinstance(example, str) or "path" not in meta.description:
                assert msgspec.convert(example, field.type) is not None


def test_a_long_file_is_read_in_a_moment(tmp_path: Path) -> None:
    parts = [f"[[watch]]\ndirectory = 'd{each}'\ntopic = 't'\n" for each in range(500)]
    client = "[kafka.client]\nlinger.ms = 5\nclient.id = 'x'\n"
    (tmp_path / "agent.toml").write_text(START + client + "".join(parts))
    began = time.process_time()
    assert len(read_agent(tmp_path / "agent.toml").watches) == 500
    assert time.process_time() - began < 2, "a line was looked for without need"


# -- secrets -----------------------------------------------------------------------------------

PASSWORD = "sasl.password = { file = 'password.txt' }"


def password_of(path: Path) -> object:
    return read_agent(path, ENVIRONMENT).sending.client["sasl.password"]


@POSIX
@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o440])
def test_a_secret_in_a_file_of_our_own(tmp_path: Path, mode: int) -> None:
    (tmp_path / "agent.toml").write_text(with_client(PASSWORD))
    secret = tmp_path / "password.txt"
    secret.write_text(" 00%$123 \r\n", newline="")
    secret.chmod(mode)
    assert password_of(tmp_path / "agent.toml") == " 00%$123 "


@POSIX
@pytest.mark.parametrize("mode", [0o604, 0o660, 0o602, 0o644, 0o666])
def test_a_secret_that_others_could_read_or_replace(tmp_path: Path, mode: int) -> None:
    (tmp_path / "agent.toml").write_text(with_client(PASSWORD))
    secret = tmp_path / "password.txt"
    secret.write_text("hunter2")
    secret.chmod(mode)
    with pytest.raises(ConfigError, match=r"line 4, .* sasl.password: others may") as caught:
        password_of(tmp_path / "agent.toml")
    assert caught.value.cure == f"Run: chmod 600 {secret}"
    assert "hunter2" not in str(caught.value)


def test_a_secret_file_that_is_empty(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text(with_client(PASSWORD))
    (tmp_path / "password.txt").write_text("\n")
    (tmp_path / "password.txt").chmod(0o600)
    with pytest.raises(ConfigError, match="is empty"):
        password_of(tmp_path / "agent.toml")


@POSIX
def test_a_secret_in_clear_text_needs_a_file_that_others_cannot_read(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(with_client("sasl.password = 'hunter2'"))
    path.chmod(0o644)
    with pytest.raises(ConfigError, match=r"line 4, .*clear text") as caught:
        password_of(path)
    assert f"chmod 600 {path}" in caught.value.cure and "hunter2" not in str(caught.value)
    path.chmod(0o600)
    assert password_of(path) == "hunter2"


def test_a_secret_from_the_environment_is_in_no_repr(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text(with_client("sasl.password = '$PASSWORD'"))
    found = read_agent(tmp_path / "agent.toml", ENVIRONMENT)
    assert found.sending.client["sasl.password"] == "hunter2"
    assert "hunter2" not in repr(found) and "hunter2" not in str(found)


def test_a_wrong_text_that_holds_a_secret_is_not_shown(tmp_path: Path) -> None:
    for line in ("sasl.password = 'hunter2", "sasl.password = hunter2", "sasl.pasword = 'hunter2'"):
        with pytest.raises(ConfigError) as caught:
            read(tmp_path, with_client(line))
        assert "hunter2" not in str(caught.value)


class Ring(KeyringBackend):
    """A keyring in memory."""

    priority = 1

    def get_password(self, service: str, username: str) -> str | None:
        return "from the ring" if (service, username) == ("openmsi", "microscope-3") else None

    def set_password(self, service: str, username: str, password: str) -> None:
        raise NotImplementedError


@pytest.fixture
def ring() -> object:
    before = keyring.get_keyring()
    keyring.set_keyring(Ring())  # type: ignore[no-untyped-call]
    yield
    keyring.set_keyring(before)


def test_a_secret_in_the_keyring(tmp_path: Path, ring: object) -> None:
    (tmp_path / "agent.toml").write_text(
        with_client("sasl.password = { keyring = 'microscope-3' }")
    )
    assert password_of(tmp_path / "agent.toml") == "from the ring"


def test_a_keyring_without_the_secret(tmp_path: Path, ring: object) -> None:
    (tmp_path / "agent.toml").write_text(with_client("sasl.password = { keyring = 'other' }"))
    with pytest.raises(ConfigError, match="line 4") as caught:
        password_of(tmp_path / "agent.toml")
    assert caught.value.cure == "Run: keyring set openmsi other"


def test_without_the_package_for_keyrings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    (tmp_path / "agent.toml").write_text(with_client("sasl.password = { keyring = 'other' }"))
    with pytest.raises(ConfigError, match="not installed") as caught:
        password_of(tmp_path / "agent.toml")
    assert 'pip install "openmsi[keyring]"' in caught.value.cure


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(os.path.join(tmp_path, "none.toml"))):
        read_agent(tmp_path / "none.toml")
