"""The service of Windows itself: `python.exe -m openmsi.service.windows NAME`, and nothing else.

The process that the service manager starts only watches over a second one, `... NAME agent`, that
does the work: one that crashes or hangs is started again, and says why in the Event Log. The two
talk through pipes, a word a line: `reload` and `stop` one way, `alive` the other. When the pipe
ends, whatever the reason, the agent stops as after `stop`.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

import msgspec
import servicemanager
import win32service
import win32serviceutil

from openmsi.errors import OpenMSIError
from openmsi.service.places import WindowsPlaces

ALIVE_SECONDS = 5.0
SILENT_SECONDS = 60.0  # after so long without a sign of life the agent is ended
AGAIN_SECONDS = 2.0
STOP_SECONDS = 15.0
# Exit codes of what does not heal by itself: a wrong command line or configuration.
_FINAL = (2, 9)
_LATEST_LINES = 20


class AgentService(win32serviceutil.ServiceFramework):  # type: ignore[misc]
    """What the service manager talks to. Its control handler must answer at once."""

    _svc_name_ = ""

    def __init__(self, arguments: list[str]) -> None:
        self._svc_name_ = arguments[0]
        super().__init__(arguments)
        self._stop = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._last_sign = 0.0

    def GetAcceptedControls(self) -> int:  # noqa: N802 - pywin32's name
        changed: int = win32service.SERVICE_ACCEPT_PARAMCHANGE
        return int(super().GetAcceptedControls()) | changed

    def SvcStop(self) -> None:  # noqa: N802
        self.ReportServiceStatus(
            win32service.SERVICE_STOP_PENDING, waitHint=int(STOP_SECONDS * 1000)
        )
        self._stop.set()
        self._say("stop")

    SvcShutdown = SvcStop

    def SvcOther(self, control: int) -> None:  # noqa: N802
        if control == win32service.SERVICE_CONTROL_PARAMCHANGE:
            self._say("reload")

    def SvcDoRun(self) -> None:  # noqa: N802
        servicemanager.LogInfoMsg(f"{self._svc_name_} starts")
        code = 0
        while not self._stop.is_set():
            code = self._run_agent()
            if self._stop.is_set() or code in _FINAL:
                break
            self._complain(f"ended with code {code} and is started again")
            self._stop.wait(AGAIN_SECONDS)
        if code in _FINAL and not self._stop.is_set():
            self._complain("cannot start")
            # Not a crash: the service manager must not try again and again.
            self.ReportServiceStatus(
                win32service.SERVICE_STOPPED, win32ExitCode=1066, svcExitCode=code
            )
            os._exit(code)  # else the framework would report an end without a failure
        servicemanager.LogInfoMsg(f"{self._svc_name_} has stopped")

    def _run_agent(self) -> int:
        """Run the agent until it ends; its exit code."""
        places = WindowsPlaces(self._svc_name_)
        places.logs.mkdir(parents=True, exist_ok=True)
        with open(places.crash_log, "ab") as crash_log:
            self._child = child = subprocess.Popen(
                [sys.executable, "-m", "openmsi.service.windows", self._svc_name_, "agent"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=crash_log,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        self._last_sign = time.monotonic()
        assert child.stdout is not None
        threading.Thread(target=self._listen, args=(child.stdout,), daemon=True).start()
        if self._stop.is_set():
            self._say("stop")  # it was asked to while the agent began
        stopping_since = None
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return child.wait(0.5)
            now = time.monotonic()
            if self._stop.is_set():
                stopping_since = stopping_since or now
            late = stopping_since is not None and now - stopping_since > STOP_SECONDS - 2
            if late or now - self._last_sign > SILENT_SECONDS:
                child.kill()  # it hangs; what it was doing is resumed

    def _listen(self, signs: IO[bytes]) -> None:
        for _ in signs:
            self._last_sign = time.monotonic()

    def _say(self, word: str) -> None:
        child = self._child
        if child is None or child.stdin is None:
            return
        try:
            child.stdin.write(f"{word}\n".encode())
            child.stdin.flush()
        except OSError:
            return  # it has ended already

    def _complain(self, what: str) -> None:
        log = WindowsPlaces(self._svc_name_).crash_log
        said = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LATEST_LINES:]
        servicemanager.LogErrorMsg("\n".join([f"{self._svc_name_} {what}", *said]))


def run_agent(name: str) -> None:
    """The second process: the agent itself, until its standard input says stop or ends."""
    # Here, so that the first process stays small and has nothing that could fail.
    from openmsi.cli.run import make_agent
    from openmsi.config import read_agent

    places = WindowsPlaces(name)
    crash_log = sys.stderr
    if places.crash_log.stat().st_size > 2**20:
        os.truncate(places.crash_log, 0)
    faulthandler.enable(crash_log)
    if places.variables.exists():
        os.environ.update(msgspec.json.decode(places.variables.read_bytes(), type=dict[str, str]))
    settings = read_agent(places.config)
    state_dir = settings.general.state_dir or places.state
    agent = make_agent(settings, state_dir, log_file=places.log)

    def listen() -> None:
        for line in sys.stdin:
            if line.strip() == "reload":
                agent.reload()
            elif line.strip() == "stop":
                break
        agent.stop()

    def show_life() -> None:
        while True:
            if agent.healthy():
                print("alive", flush=True)  # noqa: T201 - to the first process
            time.sleep(ALIVE_SECONDS)

    for each in (listen, show_life):
        threading.Thread(target=each, daemon=True).start()
    ended = agent.run()
    if not ended:
        os._exit(0)


def main(arguments: list[str]) -> None:
    """Called by the service manager, or by the first process."""
    name = arguments[0]
    if arguments[1:] == ["agent"]:
        try:
            run_agent(name)
        except OpenMSIError as error:
            sys.stderr.write(f"{error}\n")
            sys.stderr.flush()
            os._exit(error.exit_code)
        os._exit(0)  # a thread that still reads would hold up the end
    AgentService._svc_name_ = name
    servicemanager.Initialize(name, str(Path(servicemanager.__file__)))
    servicemanager.PrepareToHostSingle(AgentService)
    servicemanager.StartServiceCtrlDispatcher()


if __name__ == "__main__":
    main(sys.argv[1:])
