"""Windows binaries under wine 8: pytest tests/service -m slow. Needs wine.

What wine cannot show is in the checklist of docs/service.md.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.wine import Windows, installed_windows, missing

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing() or "-")]

MIB = 2**20
INSIDE = "C:\\Meßdaten am Gerät"
DROP = "Meßdaten am Gerät"
HOLD = f"""
import win32file
handle = win32file.CreateFile(r"{INSIDE}\\held.dat", win32file.GENERIC_WRITE, 0, None, 2, 0, None)
win32file.WriteFile(handle, b"held and then let go")
print("held")
input()
handle.Close()
"""
RENAME_AND_DELETE = f"""
import os
os.rename(r"{INSIDE}\\large.dat", r"{INSIDE}\\renamed.dat")
os.remove(r"{INSIDE}\\renamed.dat")
"""


@pytest.fixture(scope="module")
def windows() -> Iterator[Windows]:
    with (
        tempfile.TemporaryDirectory(
            prefix="openmsi-wine-", ignore_cleanup_errors=True
        ) as directory,
        installed_windows(Path(directory)) as windows,
    ):
        yield windows


class Service:
    """The service, seen from Linux."""

    def __init__(self, windows: Windows, bootstrap: str, topic: str) -> None:
        self.windows = windows
        self._where = ["--topic", topic, "--bootstrap-servers", bootstrap]
        self.drop = windows.drive_c / DROP
        self.drop.mkdir(exist_ok=True)
        config = f"[kafka]\nbootstrap_servers = '{bootstrap}'\n"
        config += f"[[watch]]\ndirectory = '{INSIDE}'\ntopic = '{topic}'\nchunk_size = 65536\n"
        (windows.drive_c / "agent.toml").write_text(config, encoding="utf-8")

    def __call__(self, verb: str, *more: str, check: bool = True) -> str:
        return self.windows.run("-m", "openmsi", "service", verb, *more, check=check).stdout

    def status(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self("status", "--json", check=False))
        return found

    def arrived(self) -> dict[str, bytes]:
        """What a receiver on Linux makes of the topic."""
        with tempfile.TemporaryDirectory() as directory:
            out = Path(directory, "out")
            state = ["--until-end", "--state-dir", str(Path(directory, "state"))]
            done = subprocess.run(
                [sys.executable, "-m", "openmsi", "download", str(out), *self._where, *state],
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert done.returncode in (0, 3), done.stderr  # 3: a file is incomplete as yet
            files = [
                each for each in out.rglob("*") if each.is_file() and ".openmsi" not in each.parts
            ]
            return {str(each.relative_to(out)): each.read_bytes() for each in files}

    def check_arrives(self, name: str, content: bytes) -> None:
        wait_until(lambda: self.arrived().get(name) == content, 60, f"{name} on the broker")

    def agent(self) -> int:
        """The process that does the work, as Linux numbers it; 0 for none."""
        for each in Path("/proc").iterdir():
            if each.name.isdecimal():
                try:
                    line = (each / "cmdline").read_bytes()
                    prefix = (each / "environ").read_bytes()
                except OSError:
                    continue
                mine = str(self.windows.drive_c.parent).encode() in prefix
                if mine and b"openmsi.service.windows\0openmsi\0agent" in line:
                    return int(each.name)
        return 0


def wait_until(true: Callable[[], object], seconds: float, what: str) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, f"{what} did not come true in {seconds} s"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def service(windows: Windows, kafka_bootstrap: str) -> Service:
    topic = f"windows-{random.randrange(10**9)}"
    command = [sys.executable, "-m", "openmsi", "topic", "create", topic]
    subprocess.run([*command, "--bootstrap-servers", kafka_bootstrap], check=True)
    found = Service(windows, kafka_bootstrap, topic)
    found("install", "--config", r"C:\agent.toml")
    found("start")
    return found


def test_a_file_that_is_dropped_arrives_at_a_broker_on_linux(service: Service) -> None:
    (service.drop / "Größe 1.dat").write_bytes(b"gemessen")
    service.check_arrives("Größe 1.dat", b"gemessen")
    found = service.status()
    assert (found["running"], found["from_boot"]) == (True, True)
    assert "Größe 1.dat" in service("logs")


def test_after_a_crash_it_is_started_again(service: Service) -> None:
    before = service.agent()
    os.kill(before, signal.SIGKILL)
    (service.drop / "after the crash.dat").write_bytes(b"x" * 1000)
    wait_until(lambda: service.agent() not in (0, before), 10, "a new agent")
    service.check_arrives("after the crash.dat", b"x" * 1000)


def test_a_file_that_another_program_holds_is_sent_when_it_lets_go(service: Service) -> None:
    with service.windows.program(HOLD) as holder:
        assert holder.stdin and holder.stdout
        assert holder.stdout.readline().strip() == "held"
        time.sleep(8)  # several quiet periods
        assert "held.dat" not in service.arrived()
        holder.stdin.write("\n")
        holder.stdin.close()
        assert holder.wait(30) == 0
    service.check_arrives("held.dat", b"held and then let go")


def test_the_writer_can_rename_and_delete_a_file_that_is_being_read(service: Service) -> None:
    content = random.Random(1).randbytes(MIB) * 150
    (service.drop / "large.dat").write_bytes(content)
    wait_until(lambda: _reads(service.agent(), "large.dat"), 30, "the agent reads it")
    with service.windows.program(RENAME_AND_DELETE) as writer:
        assert writer.wait(30) == 0
    # As on Windows, its name may stay until the last program has closed it.
    wait_until(lambda: not (service.drop / "renamed.dat").exists(), 240, "its end")
    (service.drop / "next.dat").write_bytes(b"it goes on")
    service.check_arrives("next.dat", b"it goes on")


def _reads(process: int, name: str) -> bool:
    for each in Path(f"/proc/{process}/fd").iterdir():
        try:
            if os.readlink(each).endswith(name):
                return True
        except OSError:
            continue
    return False


def test_stop_is_graceful_and_start_goes_on(service: Service) -> None:
    (service.drop / "before.dat").write_bytes(b"1")
    service.check_arrives("before.dat", b"1")
    began = time.monotonic()
    service("stop")
    assert time.monotonic() - began < 45  # of which wine starts Python twice
    assert service.agent() == 0 and not service.status()["running"]
    assert "stopped" in service("logs").splitlines()[-1]
    (service.drop / "while stopped.dat").write_bytes(b"2")
    service("start")
    service.check_arrives("while stopped.dat", b"2")


def test_reload_reads_the_configuration_again(service: Service) -> None:
    config = service.windows.drive_c / "ProgramData/openmsi/openmsi/agent.toml"
    config.write_text(config.read_text(encoding="utf-8") + "settle = 1.0\n", encoding="utf-8")
    before = service.agent()
    service("reload")
    wait_until(lambda: "was read again" in service("logs"), 20, "a reload")
    assert service.agent() == before


def test_after_a_reboot_it_runs(service: Service) -> None:
    service.windows.shut_down()
    (service.drop / "while off.dat").write_bytes(b"3")
    service.windows.boot()
    service.check_arrives("while off.dat", b"3")


def test_a_drive_that_no_service_has_is_refused_with_the_name_to_write(service: Service) -> None:
    config = service.windows.drive_c / "mapped.toml"
    text = (service.windows.drive_c / "agent.toml").read_text(encoding="utf-8")
    config.write_text(text.replace("C:", "Q:"), encoding="utf-8")
    install = ("service", "install", "--name", "mapped", "--config", r"C:\mapped.toml")
    done = service.windows.run("-m", "openmsi", *install, check=False)
    assert done.returncode == 9 and r"Write \\SERVER\SHARE\Meßdaten" in done.stderr


def test_remove_keeps_the_data_only(service: Service) -> None:
    said = service("remove")
    home = service.windows.drive_c / "ProgramData/openmsi/openmsi"
    assert "kept" in said and (home / "state").is_dir()
    assert {each.name for each in home.iterdir()} == {"logs", "state"}
    assert not service.status()["installed"]
    assert service.agent() == 0


def test_manage_service_of_2021_does_what_its_users_were_shown(
    service: Service, windows: Windows, kafka_bootstrap: str
) -> None:
    topic = f"oxford-{random.randrange(10**9)}"
    command = [sys.executable, "-m", "openmsi", "topic", "create", topic]
    subprocess.run([*command, "--bootstrap-servers", kafka_bootstrap], check=True)
    (windows.drive_c / "oxford ebsd").mkdir()
    (windows.drive_c / "oxford_ebsd_streaming_directory_configs.config").write_text(
        "[openmsi_directory_stream_service]\nfile_directory = C:\\oxford ebsd\n"
        f"topic_name = {topic}\nnew_files_only = False\n[cluster]\n"
        f"bootstrap.servers = {kafka_bootstrap}\n[producer]\nlinger.ms = 5\n"
    )
    config = r"C:\oxford_ebsd_streaming_directory_configs.config"
    manage = ("-c", "from openmsi.cli.legacy.manage_service import main; main()")
    said = windows.run(*manage, "install_and_start", "--config", config).stdout
    assert said.splitlines() == [
        "Testing Service code to check for errors...",
        "Done testing code.",
        "Installing OpenMSIDirectoryStreamService...",
        "Done",
        "Starting OpenMSIDirectoryStreamService...",
        "Done",
    ]
    (windows.drive_c / "oxford ebsd/1a0ceb89.dat").write_bytes(b"a pattern")
    there = Service(windows, kafka_bootstrap, topic)
    there.check_arrives("1a0ceb89.dat", b"a pattern")
    windows.run(*manage, "stop_and_remove")
    assert windows.run(*manage, "status", check=False).returncode == 3


def test_low_priority_is_the_class_that_windows_has_for_it(windows: Windows) -> None:
    look = """
import ctypes
from openmsi.priority import lower_priority
kernel32 = ctypes.WinDLL("kernel32")
kernel32.GetCurrentProcess.restype = ctypes.c_void_p
kernel32.GetPriorityClass.argtypes = (ctypes.c_void_p,)
lower_priority()
print(kernel32.GetPriorityClass(kernel32.GetCurrentProcess()))
"""
    assert windows.run("-c", look).stdout.split() == ["64"]  # IDLE_PRIORITY_CLASS
