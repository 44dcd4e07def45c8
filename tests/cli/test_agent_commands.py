"""`openmsi config init`, `config check` and `run --status`: what people read about an agent."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from openmsi.cli import make_app
from openmsi.errors import ConfigError, LocalDiskError, SomeFailed, UsageError


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(make_app(), [*map(str, arguments)])


def test_a_first_file_is_written_once_and_is_right(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    done = run("config", "init", file)
    assert done.exit_code == 0 and f"openmsi config check {file}" in done.stdout
    assert run("config", "check", "--offline", file).exit_code == 0
    file.write_text("mine")
    again = run("config", "init", file)
    assert isinstance(again.exception, LocalDiskError) and "already" in str(again.exception)
    assert file.read_text() == "mine"


def test_a_first_file_where_there_is_no_directory(tmp_path: Path) -> None:
    done = run("config", "init", tmp_path / "none" / "agent.toml")
    assert isinstance(done.exception, LocalDiskError) and "none" in str(done.exception)


def test_check_says_what_the_agent_would_do(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "password.txt").write_text("hunter2")
    (tmp_path / "password.txt").chmod(0o600)
    (tmp_path / "agent.toml").write_text("""\
[kafka]
bootstrap_servers = 'kafka.example.org:9092'
[kafka.client]
security.protocol = 'SASL_SSL'
sasl.mechanism = 'PLAIN'
sasl.username = 'microscope-3'
sasl.password = { file = 'password.txt' }
[kafka.producer]
linger.ms = 20
[[watch]]
directory = 'data'
topic = 'ebsd'
prefix = 'sem-3'
include = ['*.csv']
after = 'move:done'
growing = true
[[watch]]
directory = 'none'
topic = 'xrd'
format = 'openmsi-9'
new_only = true
[[download]]
directory = 'repository'
topic = 'ebsd'
group = 'lab'
[agent]
metrics_port = 9464
heartbeat_topic = 'beats'
""")
    done = run("config", "check", "--offline", tmp_path / "agent.toml")
    assert done.exit_code == 0 and "hunter2" not in done.stdout
    told = done.stdout.replace(str(tmp_path), "HERE").replace("\\", "/").splitlines()
    assert told == [
        "file            HERE/agent.toml",
        "brokers         kafka.example.org:9092",
        "connection      login over TLS",
        "login           as 'microscope-3' with a password by PLAIN",
        "sends           from HERE/data all that is in it or appears, to topic 'ebsd' under sem-3/",
        "                only *.csv",
        "                while they are written, done when unchanged for 2 s",
        "                and then: move to HERE/done",
        "sends           from HERE/none what appears in it, to topic 'xrd'",
        "note            HERE/none is not there now; the agent waits for it",
        "                when unchanged for 2 s",
        "                as records of the format openmsi-9, as the OpenMSI programs do",
        "receives        topic 'ebsd' into HERE/repository, as one of the group 'lab'",
        "settings        of senders: linger.ms = 20",
        "log             plain, to standard output",
        "metrics         http://127.0.0.1:9464/metrics",
        "heartbeat       to topic 'beats' every 60 s",
    ]


@pytest.mark.parametrize("command", [("config", "check"), ("run",)])
def test_a_wrong_file_is_refused(command: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text("[kafka]\nbootstrap_server = 'x'\n")
    done = run(*command, tmp_path / "agent.toml")
    assert isinstance(done.exception, ConfigError)
    assert "line 2, [kafka] bootstrap_server: " in str(done.exception)
    assert "Did you mean 'bootstrap_servers'?" in str(done.exception)


def test_a_file_of_the_older_programs_has_to_be_converted(tmp_path: Path) -> None:
    (tmp_path / "ebsd.config").write_text("[cluster]\nbootstrap.servers = a:1\n")
    done = run("run", tmp_path / "ebsd.config")
    assert isinstance(done.exception, UsageError)
    assert "openmsi config convert" in done.exception.cure


def test_the_status_of_an_agent_that_never_ran(tmp_path: Path) -> None:
    run("config", "init", tmp_path / "agent.toml")
    done = run("run", tmp_path / "agent.toml", "--status", "--state-dir", tmp_path / "state")
    assert isinstance(done.exception, SomeFailed) and "no agent has ever run it" in str(
        done.exception
    )
