"""Tells systemd how the service is: the protocol of sd_notify(3), without a library.

Where the program is no unit of Type=notify, all of this does nothing.
"""

from __future__ import annotations

import os
import socket
import time


def ready() -> None:
    """The service is up; after `reloading`, it is up again."""
    _tell("READY=1")


def watchdog() -> None:
    """Work progresses. Call it more often than every `watchdog_seconds`."""
    _tell("WATCHDOG=1")


def stopping() -> None:
    """The service begins to stop."""
    _tell("STOPPING=1")


def reloading() -> None:
    """The configuration is being read again; call `ready` when that is done."""
    # systemd orders this message and the signal that asked for it by the monotonic clock.
    _tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def status(text: str) -> None:
    """A line that `systemctl status` shows."""
    _tell(f"STATUS={text.splitlines()[0] if text else ''}")


def watchdog_seconds() -> float | None:
    """After how many seconds without `watchdog` the service is killed; None for never."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None  # meant for our parent
    try:
        microseconds = int(os.environ.get("WATCHDOG_USEC", "0"))
    except ValueError:
        return None
    return microseconds / 1e6 if microseconds > 0 else None


def _tell(message: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address or not hasattr(socket, "AF_UNIX"):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]  # in Linux's abstract name space
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.settimeout(1.0)
            channel.sendto(message.encode(), address)
    except OSError:
        return  # a service must not fail because nobody listens to how it is
