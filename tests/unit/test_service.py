"""Installing a service: what would be written and run, for each platform."""

from __future__ import annotations

import os
import plistlib
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from openmsi.errors import ConfigError, LocalDiskError, ServiceError, UsageError
from openmsi.service import notify
from openmsi.service.access import access_to
from openmsi.service.launchd import Launchd
from openmsi.service.manager import Spec, check_name
from openmsi.service.needs import read_spec
from openmsi.service.plan import Delete, Plan, Run, WriteFile, describe, execute
from openmsi.service.systemd import Systemd

CONFIG = """\
[kafka]
bootstrap_servers = "kafka.example.org:9092"
[kafka.client]
"sasl.password" = "$PASSWORD"
[[watch]]
directory = "/srv/Gerät 1%"
topic = "ebsd"
"""
SECRET = "a\"b$c\\d %h 'e"
posix = pytest.mark.skipif(sys.platform == "win32", reason="rights of POSIX")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text(CONFIG)
    return path


def written(plan: Plan, ending: str) -> WriteFile:
    (found,) = (
        each
        for each in plan.steps
        if isinstance(each, WriteFile) and each.path.name.endswith(ending)
    )
    return found


# -- what a configuration needs ----------------------------------------------------------------


def test_the_spec_names_directories_and_the_values_of_variables(config: Path) -> None:
    spec = read_spec(str(config), {"PASSWORD": SECRET, "OTHER": "x"})
    assert spec.variables == {"PASSWORD": SECRET}
    assert spec.reads == (Path("/srv/Gerät 1%"),)
    assert spec.named == ("/srv/Gerät 1%",)
    assert SECRET not in repr(spec)


def test_a_directory_that_is_written_to_is_named_as_such(config: Path) -> None:
    config.write_text(
        "[kafka]\nbootstrap_servers = 'k:1'\n"
        "[[watch]]\ndirectory = '/srv/a'\ntopic = 'a'\nafter = 'move:/srv/done'\n"
        "[[download]]\ndirectory = '/srv/out'\ntopic = 'b'\n"
    )
    assert set(read_spec(str(config), {}).writes) == {
        Path("/srv/a"),
        Path("/srv/done"),
        Path("/srv/out"),
    }


def test_a_relative_path_is_refused_since_the_copy_lies_elsewhere(config: Path) -> None:
    config.write_text(CONFIG.replace("/srv/Gerät 1%", "data"))
    with pytest.raises(ConfigError, match="Write the full path"):
        read_spec(str(config), {"PASSWORD": "x"})


def test_a_service_of_the_machine_has_no_keyring(config: Path) -> None:
    config.write_text(CONFIG.replace('"$PASSWORD"', '{ keyring = "kafka" }'))
    with pytest.raises(ConfigError, match="keyring"):
        read_spec(str(config), {})


def test_a_secret_in_clear_text_of_an_older_file_becomes_a_variable(tmp_path: Path) -> None:
    path = tmp_path / "ebsd.config"
    path.write_text(
        "[openmsi_directory_stream_service]\nfile_directory = /srv/ebsd\ntopic_name = ebsd\n"
        "[cluster]\nbootstrap.servers = k:1\nsasl.password = geheim\nsasl.mechanism = PLAIN\n"
        "[producer]\nlinger.ms = 5\n"
    )
    spec = read_spec(str(path), {})
    assert spec.variables == {"KAFKA_SASL_PASSWORD": "geheim"}
    assert "geheim" not in spec.config
    assert spec.reads == (Path("/srv/ebsd"),)


# -- systemd -----------------------------------------------------------------------------------


@pytest.fixture
def user_spec(config: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Spec:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    return read_spec(str(config), {"PASSWORD": SECRET}, user=True)


@posix
def test_a_dry_run_shows_all_that_is_written_but_no_secret(user_spec: Spec, tmp_path: Path) -> None:
    plan = Systemd("ebsd", user=True).install(user_spec)
    shown = "\n".join(describe(plan))
    assert SECRET not in shown and "PASSWORD=(not shown)" in shown
    for step in plan.steps:
        if isinstance(step, WriteFile) and step.shown is None:
            assert all(line in shown for line in step.text.splitlines())
    assert "run systemctl --user enable ebsd.service" in shown
    assert not (tmp_path / "home").exists()


@posix
def test_what_the_plan_writes_is_readable_by_its_owner_alone(
    user_spec: Spec, tmp_path: Path
) -> None:
    plan = Systemd("ebsd", user=True).install(user_spec)
    execute(Plan(tuple(each for each in plan.steps if not isinstance(each, Run))))
    for name in ("ebsd.toml", "ebsd.env"):
        mode = (tmp_path / "home/openmsi" / name).stat().st_mode
        assert stat.S_IMODE(mode) == 0o600
    assert (tmp_path / "home/openmsi/ebsd.toml").read_text() == CONFIG
    assert (tmp_path / "home/systemd/user/ebsd.service").exists()


@posix
def test_a_secret_in_the_configuration_itself_is_not_shown(config: Path, user_spec: Spec) -> None:
    config.write_text(CONFIG.replace("$PASSWORD", 'ge\\"heim'))
    config.chmod(0o600)
    plan = Systemd("ebsd", user=True).install(read_spec(str(config), {}, user=True))
    assert "heim" not in "\n".join(describe(plan))
    assert written(plan, "ebsd.toml").text == config.read_text()


@posix
def test_a_unit_that_somebody_else_made_is_left_alone(user_spec: Spec, tmp_path: Path) -> None:
    unit = tmp_path / "home/systemd/user/ebsd.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\nExecStart=/bin/true\n")
    with pytest.raises(ServiceError, match="was not made by openmsi"):
        Systemd("ebsd", user=True).install(user_spec)
    with pytest.raises(ServiceError, match="was not made by openmsi"):
        Systemd("ebsd", user=True).remove()


@posix
def test_what_is_not_installed_cannot_be_started_and_the_error_says_how(user_spec: Spec) -> None:
    with pytest.raises(ServiceError, match="openmsi service install --config FILE --name ebsd"):
        Systemd("ebsd", user=True).control("start")


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A directory that all users can reach: pytest's own are closed to others."""
    path = Path(tempfile.mkdtemp(dir="/var/tmp" if os.name == "posix" else None))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def machine_unit(spec: Spec, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Plan]:
    monkeypatch.setattr("openmsi.service.systemd._check_program", lambda _: None)
    plan = Systemd("ebsd").install(spec)
    return written(plan, ".service").text, plan


@posix
def test_the_unit_of_the_machine_is_locked_in_but_reaches_its_directories(
    open_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = open_place / 'out "%"'
    spec = Spec(CONFIG, CONFIG, {}, (open_place,), (out,))
    text, plan = machine_unit(spec, monkeypatch)
    assert "ProtectSystem=strict\n" in text and "User=openmsi\n" in text
    assert f'ReadWritePaths="-{open_place}/out \\"%%\\""\n' in text
    assert "PrivateTmp=no\n" in text  # else a directory below /var/tmp would be another one
    assert "WatchdogSec=" in text and "Type=notify\n" in text and "Restart=always\n" in text
    shown = "\n".join(describe(plan))
    assert f"make directory {out} (mode 0755, owner openmsi)" in shown


@posix
def test_a_directory_that_the_user_cannot_read_is_named_with_the_cure(
    open_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = open_place / "closed"
    closed.mkdir(mode=0o700)
    _, plan = machine_unit(Spec(CONFIG, CONFIG, {}, (closed,)), monkeypatch)
    (note,) = plan.notes
    assert "setfacl -R -m u:openmsi:rX" in note and str(closed) in note


@posix
@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs root")
def test_a_directory_that_a_group_can_read_makes_the_service_one_of_the_group(
    open_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = open_place / "shared"
    shared.mkdir()
    os.chown(shared, -1, 100)
    shared.chmod(0o750)
    assert access_to(shared).groups == {"users"}
    text, plan = machine_unit(Spec(CONFIG, CONFIG, {}, (shared,)), monkeypatch)
    assert "SupplementaryGroups=users\n" in text and not plan.notes
    shared.chmod(0o700)
    assert access_to(shared).closed == shared


# -- launchd -----------------------------------------------------------------------------------

# launchd.plist(5).
KEYS = {
    "Label": str,
    "ProgramArguments": list,
    "EnvironmentVariables": dict,
    "WorkingDirectory": str,
    "RunAtLoad": bool,
    "KeepAlive": bool,
    "ThrottleInterval": int,
    "ExitTimeOut": int,
    "ProcessType": str,
    "StandardOutPath": str,
    "StandardErrorPath": str,
    "Umask": int,
    "UserName": str,
}


@posix
def test_the_plist_has_documented_keys_of_the_right_types(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "alice")
    plan = Launchd("ebsd").install(read_spec(str(config), {"PASSWORD": SECRET}))
    plist = written(plan, ".plist")
    content = plistlib.loads(plist.text.encode())
    for key, value in content.items():
        assert type(value) is KEYS[key], key
    assert content["Label"] == "org.openmsi.ebsd" and content["UserName"] == "alice"
    assert content["KeepAlive"] and content["RunAtLoad"]
    assert content["ProgramArguments"][1:4] == ["-m", "openmsi", "run"]
    assert content["EnvironmentVariables"]["PASSWORD"] == SECRET
    assert str(plist.path) == "/Library/LaunchDaemons/org.openmsi.ebsd.plist"
    assert plist.mode == 0o600


@posix
def test_a_dry_run_for_launchd_shows_no_secret(config: Path) -> None:
    spec = read_spec(str(config), {"PASSWORD": "geheim & gut"}, user=True)
    shown = "\n".join(describe(Launchd("ebsd", user=True).install(spec)))
    assert "geheim" not in shown and "(not shown)" in shown
    assert f"run launchctl enable gui/{os.getuid()}/org.openmsi.ebsd" in shown


# -- plans and names ---------------------------------------------------------------------------


def test_a_command_that_fails_is_an_error_with_its_own_words() -> None:
    step = Run((sys.executable, "-c", "import sys; sys.exit('no such unit')"), cure="Look there.")
    with pytest.raises(ServiceError, match="no such unit") as caught:
        execute(Plan((step,)))
    assert caught.value.cure == "Look there."


def test_a_plan_stops_at_the_first_step_that_fails(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    last = WriteFile(tmp_path / "last", "x")
    with pytest.raises(LocalDiskError):
        execute(Plan((WriteFile(blocked / "inside", "x"), last)))
    assert not last.path.exists()
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_deleting_what_is_not_there_is_fine(tmp_path: Path) -> None:
    execute(Plan((Delete(tmp_path / "none"),)))


@pytest.mark.parametrize("name", ["", "a b", "../x", "1st", "a" * 65, "x.service", "Gerät"])
def test_a_name_that_is_not_one_everywhere_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        check_name(name)


# -- systemd's protocol ------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="systemd's sockets")
def test_systemd_hears_what_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        tempfile.TemporaryDirectory() as directory,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener,
    ):
        path = str(Path(directory, "notify"))
        listener.bind(path)
        listener.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        notify.ready()
        notify.watchdog()
        notify.status("3 waiting\nand more")
        notify.reloading()
        notify.stopping()
        heard = [listener.recv(1000).decode() for _ in range(5)]
    assert heard[:3] == ["READY=1", "WATCHDOG=1", "STATUS=3 waiting"]
    assert heard[3].startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert heard[4] == "STOPPING=1"


def test_without_systemd_nothing_is_told_and_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify.ready()
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/at/all")
    notify.ready()


def test_the_watchdogs_time_is_for_the_process_that_it_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    assert notify.watchdog_seconds() is None
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    assert notify.watchdog_seconds() == 30.0
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid() + 1))
    assert notify.watchdog_seconds() is None
