"""`--config` on every verb: where settings come from, what is told, what arrives."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import logins, running_broker
from openmsi.cli.options import BOOTSTRAP_VARIABLE, Connection, format_of
from openmsi.errors import ConfigError, UsageError

PASSWORD = "00%12$x"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(BOOTSTRAP_VARIABLE, raising=False)
    return tmp_path


# -- where settings come from ------------------------------------------------------------------


def test_the_command_line_goes_over_the_file_and_the_file_over_the_environment(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "lab.config").write_text("[broker]\nbootstrap.servers = file:1\n")
    (here / "none.config").write_text("[broker]\nclient.id = x\n")

    def brokers(given: str | None, config: str | None) -> str:
        return Connection(given, config).sending().bootstrap_servers

    assert brokers(None, None) == "localhost:9092"
    monkeypatch.setenv(BOOTSTRAP_VARIABLE, "around:1")
    assert brokers(None, None) == "around:1"
    assert brokers(None, "none") == "around:1"
    assert brokers(None, "lab") == "file:1"
    assert brokers("given:1", "lab") == "given:1"


def test_senders_and_receivers_get_their_own_sections(here: Path) -> None:
    (here / "lab.config").write_text(
        "[broker]\nbootstrap.servers = k:1\nclient.id = all\n"
        "[producer]\nlinger.ms = 9\n[consumer]\nfetch.min.bytes = 3\nclient.id = rx\n"
        "[log]\nlinger.ms = 1\n"
    )
    connection = Connection(None, "lab")
    assert connection.sending().client == {"client.id": "all", "linger.ms": "9"}
    assert connection.receiving().client == {"client.id": "rx", "fetch.min.bytes": "3"}
    assert connection.telling("log").client == {"client.id": "all", "linger.ms": "1"}
    # Without a section of their own, such messages are sent like all others.
    assert connection.telling("heartbeat").client == connection.sending().client


def test_what_is_not_used_is_named_once_without_secrets(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "lab.config").write_text(
        f"[broker]\nsasl.password = {PASSWORD}\n[producer]\nacks = 1\n"
    )
    connection = Connection(None, "lab")
    connection.sending()
    connection.receiving()
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1 and "lab.config, line 4, [producer] acks = 1" in err
    assert PASSWORD not in err + repr(connection.sending()) + repr(connection.said)


def test_a_protected_setting_of_a_properties_file_is_an_error(here: Path) -> None:
    (here / "client.properties").write_text("acks=1\n")
    with pytest.raises(ConfigError, match="acks"):
        Connection(None, "client.properties").sending()


def test_the_format_is_that_of_the_command_line_or_else_of_the_file(here: Path) -> None:
    (here / "theirs.config").write_text("[producer]\nvalue.serializer = DataFileChunkSerializer\n")
    (here / "ours.config").write_text("[producer]\nlinger.ms = 5\n")
    theirs, ours = (Connection(None, each).said for each in ("theirs", "ours"))
    assert format_of(None, theirs) == "openmsi-9"
    assert format_of(None, ours) == "native"
    assert format_of("openmsi-10", ours) == "openmsi-10"
    assert format_of("native", theirs) == "native"
    with pytest.raises(UsageError, match="openmsi-8"):
        format_of("openmsi-8", ours)


@pytest.mark.parametrize(
    "words",
    [
        ["upload", "."],
        ["watch", "."],
        ["download", "out"],
        ["verify", "."],
        ["topic", "show"],
        ["topic", "create"],
    ],
)
def test_every_verb_names_the_file_and_the_line(words: list[str], here: Path) -> None:
    (here / "lab.config").write_text("[broker]\nbotstrap.servers = k:1\n")
    topic = ["t"] if words[0] == "topic" else ["--topic", "t"]
    answer = openmsi(here, *words, *topic, "--config", "lab")
    assert answer.returncode == 9
    assert "lab.config, line 2, [broker] botstrap.servers" in answer.stderr
    assert "bootstrap.servers" in answer.stderr.splitlines()[-1]


# -- a password that other programs would change -----------------------------------------------


@pytest.fixture(scope="module")
def broker_with_login() -> Iterator[str]:
    """A Kafka that knows one user, whose password is PASSWORD."""
    with running_broker(nodes=1, **logins(**{"00123": PASSWORD})) as broker:
        yield broker.status().bootstrap


def test_user_and_password_reach_the_broker_unchanged(broker_with_login: str, here: Path) -> None:
    config = (
        f"[broker]\nbootstrap.servers = {broker_with_login}\n"
        "security.protocol = SASL_PLAINTEXT\nsasl.mechanism = PLAIN\n"
        f"sasl.username = 00123\nsasl.password = {PASSWORD}\n"
    )
    (here / "lab.config").write_text(config)
    (here / "wrong.config").write_text(config.replace("00%", "0%"))
    (here / "in").mkdir()
    (here / "in" / "scan.csv").write_text("1,2,3\n")
    for words in (
        ["topic", "create", "login"],
        ["upload", "in", "--topic", "login"],
        ["verify", "in", "--topic", "login", "--deep"],
        ["download", "out", "--topic", "login", "--until-end"],
    ):
        answer = openmsi(here, *words, "--config", "lab")
        assert answer.returncode == 0, answer.stderr
    assert (here / "out" / "scan.csv").read_text() == "1,2,3\n"
    refused = openmsi(here, "topic", "show", "login", "--config", "wrong")
    assert refused.returncode == 5, "the broker does compare"
    assert PASSWORD not in refused.stderr


def openmsi(where: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "openmsi", *words],
        cwd=where,
        env={**os.environ, "OPENMSI_STATE_DIR": str(where / "state")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
