"""The reference peer: OpenMSIStream from PyPI in a virtual environment of its own.

Its programs run as separate processes and are seen from outside only: the files they write, the
records they send, what they print. Nothing of it is imported.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import platformdirs
from helpers import Lab, wait_until

VERSION = "1.8.8"
INSTALL_SECONDS = 600
# What the peer writes beside the files: its own logs and registries.
OWN_DIRECTORY = "LOGS"

# A script of the environment would not survive that the environment is moved to its place.
_RUN = """
import sys
from importlib.metadata import entry_points
[program] = entry_points(group="console_scripts", name=sys.argv[1])
del sys.argv[0]
program.load()()
"""

_CONFIG = """[broker]
bootstrap.servers = {bootstrap}

[producer]
linger.ms = 5
key.serializer = StringSerializer
value.serializer = DataFileChunkSerializer

[consumer]
group.id = create_new
auto.offset.reset = earliest
enable.auto.commit = False
fetch.min.bytes = 1
key.deserializer = StringDeserializer
value.deserializer = DataFileChunkDeserializer
"""


class CannotInstall(Exception):
    """The argument says why there is no peer."""


def python_with_peer() -> Path:
    """The Python of an environment that has the peer, made once and kept in the user's cache.

    Raises:
        CannotInstall: it cannot be made.
    """
    version = f"{sys.implementation.name}-{sys.version_info[0]}.{sys.version_info[1]}"
    cache = platformdirs.user_cache_path("openmsi-tests", appauthor=False)
    home = cache / f"openmsistream-{VERSION}-{version}"
    if not _python(home).exists():
        shutil.rmtree(home, ignore_errors=True)  # that of a Python that is gone
        unfinished = cache / f"{home.name}.{os.getpid()}"
        try:
            _install(unfinished)
            unfinished.rename(home)
        except OSError as error:
            if not _python(home).exists():  # another run may have been faster
                raise CannotInstall(str(error)) from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return _python(home)


def _install(home: Path) -> None:
    try:
        venv.create(home, with_pip=True, symlinks=sys.platform != "win32")
    except subprocess.SubprocessError as error:
        raise CannotInstall(f"no virtual environment can be made: {error}") from error
    python = str(_python(home))
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    _check_run([*pip, "install", "--quiet", f"openmsistream=={VERSION}"])
    # It also needs libsodium, which comes with the system and not from PyPI.
    _check_run([python, "-c", _RUN, "UploadDataFile", "--help"])


def _check_run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise CannotInstall(f"not installed within {INSTALL_SECONDS} s") from None
    if done.returncode != 0:
        raise CannotInstall((done.stderr or done.stdout).strip()[-2000:])


def _python(home: Path) -> Path:
    return home / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


class PeerProgram:
    """One of the peer's programs that runs, and is ended when the context ends.

    Args:
        log: gets what it prints.
    """

    def __init__(self, command: list[str], environment: Mapping[str, str], log: Path):
        self.log = log
        with open(log, "wb") as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                cwd=log.parent,
            )

    def __enter__(self) -> PeerProgram:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None
        self.process.stdin.close()

    @property
    def printed(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def running(self) -> bool:
        """Raises AssertionError with what it printed when it has ended."""
        assert self.process.poll() is None, f"it ended by itself:\n{self.printed}"
        return True

    def sends(self, lab: Lab, count: int, seconds: float = 600) -> None:
        """Wait until the topic has so many records. A large file in small chunks takes minutes."""
        # It takes seconds to begin. Before, a new topic may not have a leader everywhere.
        wait_until(lambda: self.running() and "Will upload" in self.printed, 60, "the beginning")
        wait_until(
            lambda: self.running() and lab.record_count() >= count, seconds, f"{count} records"
        )

    def quit(self, seconds: float = 60) -> str:
        """Type what ends it, and wait until it has. Returns all that it printed."""
        self.running()
        assert self.process.stdin is not None
        self.process.stdin.write(b"q\n")
        self.process.stdin.flush()
        return self.wait(seconds)

    def wait(self, seconds: float = 60) -> str:
        """Wait until it ends well. Returns all that it printed."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end in {seconds} s:\n{self.printed}") from None
        assert code == 0, f"exit code {code}:\n{self.printed}"
        return self.printed


class Peer:
    """The peer's programs on one topic.

    Args:
        python: of the environment that has them.
        directory: for its configuration and logs.
    """

    def __init__(self, python: Path, bootstrap: str, topic: str, directory: Path) -> None:
        self._python = python
        self._topic = topic
        self._directory = directory
        self._count = 0
        self.config = directory / "peer.config"
        self.config.write_text(_CONFIG.format(bootstrap=bootstrap), encoding="utf-8")

    def upload_file(self, file: Path, *options: str) -> PeerProgram:
        return self._start("UploadDataFile", file, *options)

    def upload_directory(self, directory: Path, *options: str) -> PeerProgram:
        """It sends what is there already, too."""
        lasting = ["--update_seconds", "-1", "--upload_existing", "--watchdog_lag_time", "1"]
        return self._start("DataFileUploadDirectory", directory, *lasting, *options)

    def download_directory(self, directory: Path, *options: str) -> PeerProgram:
        # By default its log lies among the files. (An uploader that is given this sends nothing.)
        quiet = ["--logger_file_path", str(self._directory / "downloader.log")]
        quiet += ["--update_seconds", "-1"]
        return self._start("DataFileDownloadDirectory", directory, *quiet, *options)

    def _start(self, name: str, subject: Path, *options: str) -> PeerProgram:
        self._count += 1
        named = ["--config", str(self.config), "--topic_name", self._topic]
        command = [str(self._python), "-c", _RUN, name, str(subject), *named, *options]
        # What goes wrong in its threads is known only from what it prints, so that comes at once.
        environment = {"PYTHONUNBUFFERED": "1"}
        return PeerProgram(command, environment, self._directory / f"peer-{self._count}.log")
