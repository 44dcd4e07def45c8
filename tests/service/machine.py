"""A Debian with a real systemd in a container, that boots, is switched off, and boots again.

Needs root, debootstrap and systemd-nspawn. The base system is fetched once and kept in the cache.
Its network is the host's, so that a broker on 127.0.0.1 is in reach.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "openmsi-tests"
PROJECT = Path(__file__).parents[2]
SUITE, PYTHON = "bookworm", "3.11"  # the Debian, and the Python that it has
PACKAGES = "systemd,systemd-sysv,libpam-systemd,dbus,python3,python3-venv,ca-certificates"
OPENMSI = "/opt/openmsi/bin/openmsi"
NSPAWN_STATE = Path("/run/systemd/nspawn")


def missing() -> str:
    """Why there can be no such machine here; empty if there can."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "needs Linux and root"
    for program in ("debootstrap", "systemd-nspawn", "nsenter"):
        if shutil.which(program) is None:
            return f"needs {program}: apt-get install systemd-container debootstrap"
    return ""


def base_system() -> Path:
    """The directory of the base system, fetched if it is not in the cache."""
    base = CACHE / f"{SUITE}-{platform.machine()}-{zlib.crc32(PACKAGES.encode()):08x}"
    if not base.is_dir():
        part = base.with_name(base.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        part.parent.mkdir(parents=True, exist_ok=True)
        _run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(part))
        part.rename(base)
    return base


def wheels(target: Path, *pip_platforms: str, python: str = PYTHON) -> None:
    """Put a wheel of this tree and of all that it needs into `target`."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    _run(*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(target), str(PROJECT))
    (wheel,) = target.glob("openmsi-*.whl")
    where = [f"--platform={each}" for each in pip_platforms]
    only = ["--only-binary=:all:", f"--python-version={python}", "--implementation=cp"]
    _run(*pip, "download", "--quiet", "--dest", str(target), *only, *where, str(wheel))


class Machine:
    """One machine; its disk is `disk`, seen from outside."""

    def __init__(self, directory: Path) -> None:
        self.disk = directory / "disk"
        self._log = directory / "console.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0
        self._mounted = [self.disk]
        for each in ("changed", "work", "disk"):
            (directory / each).mkdir()
        layers = f"lowerdir={base_system()},upperdir={directory / 'changed'}"
        _run("mount", "-t", "overlay", "overlay", "-o", f"{layers},workdir={directory / 'work'}",
             str(self.disk))  # fmt: skip
        (self.disk / "etc/machine-id").write_text("uninitialized\n")

    def boot(self) -> None:
        """Switch it on, and wait until it is up."""
        NSPAWN_STATE.mkdir(parents=True, exist_ok=True)
        if not os.path.ismount(NSPAWN_STATE):  # else: "Attempted to remove disk file system"
            _run("mount", "-t", "tmpfs", "tmpfs", str(NSPAWN_STATE))
            self._mounted.append(NSPAWN_STATE)
        command = ["systemd-nspawn", "--directory", str(self.disk), "--boot", "--register=no"]
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                [*command, "--keep-unit", "--console=pipe"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, ValueError, IndexError):
                children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
                self._leader = int(children.read_text().split()[0])
                done = self.shell("systemctl is-system-running --wait", check=False, seconds=60)
                if done.stdout.strip() in ("running", "degraded"):
                    return
            time.sleep(0.2)
        raise AssertionError(f"it did not boot:\n{self._log.read_text(errors='replace')[-3000:]}")

    def shell(
        self, command: str, *, check: bool = True, seconds: float = 180
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as root; what it says is shown if it fails."""
        inside = ["nsenter", "--target", str(self._leader), "--all", "--"]
        clean = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8"]
        done = subprocess.run(
            [*inside, *clean, "/bin/sh", "-c", command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done

    def switch_off(self) -> None:
        """An ordinary shutdown."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)  # nspawn passes it on as an order to halt
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            self._process = None

    def close(self) -> None:
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.switch_off()
        for each in self._mounted:
            subprocess.run(["umount", "--lazy", str(each)], check=False)


@contextlib.contextmanager
def installed_machine(directory: Path) -> Iterator[Machine]:
    """A machine that is up and has openmsi from wheels of this tree."""
    machine = Machine(directory)
    try:
        arch = platform.machine()
        box = machine.disk / "srv/wheels"
        wheels(box, f"manylinux_2_28_{arch}", f"manylinux2014_{arch}")
        machine.boot()
        machine.shell("python3 -m venv /opt/openmsi")
        machine.shell("/opt/openmsi/bin/pip install --quiet --no-index -f /srv/wheels openmsi")
        yield machine
    finally:
        machine.close()


def _run(*command: str) -> None:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
