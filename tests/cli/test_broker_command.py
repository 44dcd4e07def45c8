"""openmsi broker: what is printed where, and the exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from openmsi.broker import KAFKA_VERSION, LocalBroker
from openmsi.cli.broker import app
from openmsi.errors import UsageError

runner = CliRunner()


def test_start_prints_the_address_alone_on_stdout(kafka_broker: LocalBroker) -> None:
    result = runner.invoke(app, ["start", "--data-dir", str(kafka_broker.data_dir)])
    assert result.exit_code == 0
    assert result.stdout == f"{kafka_broker.status().bootstrap}\n"
    assert "already running" in result.stderr


def test_status_of_a_running_broker(kafka_broker: LocalBroker) -> None:
    result = runner.invoke(app, ["status", "--data-dir", str(kafka_broker.data_dir)])
    now = kafka_broker.status()
    assert result.exit_code == 0
    for part in (now.bootstrap, now.nodes[0].log, f"pid {now.nodes[0].pid}", KAFKA_VERSION):
        assert part in result.stdout


def test_status_as_json_is_one_object(kafka_broker: LocalBroker) -> None:
    result = runner.invoke(app, ["status", "--json", "--data-dir", str(kafka_broker.data_dir)])
    now = json.loads(result.stdout)
    assert now["running"] is True
    assert now["bootstrap"] == kafka_broker.status().bootstrap
    assert now["nodes"][0]["answers"] is True


def test_what_never_ran_is_stopped_with_exit_code_3(tmp_path: Path) -> None:
    where = ["--data-dir", str(tmp_path / "never")]
    result = runner.invoke(app, ["status", *where])
    assert (result.exit_code, "stopped" in result.stdout) == (3, True)
    result = runner.invoke(app, ["stop", *where])
    assert (result.exit_code, result.stdout) == (0, "the local broker was not running\n")
    result = runner.invoke(app, ["wipe", "--yes", *where])
    assert (result.exit_code, result.stdout) == (0, "there is no local broker to delete\n")


def test_wipe_deletes_nothing_when_nobody_can_be_asked(tmp_path: Path) -> None:
    result = runner.invoke(app, ["wipe", "--data-dir", str(tmp_path)])
    assert isinstance(result.exception, UsageError)
    assert "--yes" in result.exception.cure


@pytest.mark.parametrize("command", ["start", "stop", "status", "wipe"])
def test_every_help_shows_an_example(command: str) -> None:
    result = runner.invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert f"Example: openmsi broker {command}" in " ".join(result.stdout.split())
