"""`python -m openmsi.service.control start|stop|reload NAME`: what sc.exe of Windows cannot do
alone: wait until a service runs or has stopped, and tell it that its configuration has changed."""

from __future__ import annotations

import sys
import time

import pywintypes
import win32service
import win32serviceutil

WAIT_SECONDS = 60.0
_RUNS_ALREADY, _NOT_ACTIVE = 1056, 1062


def start(name: str) -> None:
    """Start the service and wait until it runs; one that runs is fine.

    Raises:
        pywintypes.error: the service manager refuses.
    """
    try:
        win32serviceutil.StartService(name)
    except pywintypes.error as error:
        if error.winerror != _RUNS_ALREADY:
            raise
    _wait(name, win32service.SERVICE_RUNNING)


def stop(name: str) -> None:
    """Stop the service and wait until it has stopped; one that does not run is fine.

    Raises:
        pywintypes.error: the service manager refuses.
    """
    try:
        win32serviceutil.StopService(name)
    except pywintypes.error as error:
        if error.winerror != _NOT_ACTIVE:
            raise
    _wait(name, win32service.SERVICE_STOPPED)


def _wait(name: str, wanted: int) -> None:
    until = time.monotonic() + WAIT_SECONDS
    while win32serviceutil.QueryServiceStatus(name)[1] != wanted:
        if time.monotonic() > until:
            sys.exit(f"that was not done within {WAIT_SECONDS:.0f} s")
        time.sleep(0.1)


def reload(name: str) -> None:
    """Tell the service that its configuration has changed.

    Raises:
        pywintypes.error: the service manager refuses, or it does not run.
    """
    win32serviceutil.ControlService(name, win32service.SERVICE_CONTROL_PARAMCHANGE)


if __name__ == "__main__":
    try:
        {"start": start, "stop": stop, "reload": reload}[sys.argv[1]](sys.argv[2])
    except pywintypes.error as error:
        sys.exit(error.strerror)
