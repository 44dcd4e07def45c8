"""Leaving the computer to the programs that measure."""

from __future__ import annotations

import os
import sys

if sys.platform == "win32":
    import win32api
    import win32process


def lower_priority() -> None:
    """Let every other program go first, from now to the end of this one.

    For the calling thread and those that it starts later: Linux knows no more. There the priority
    of reading from disk follows. Windows' own mode for background work is not for this: it keeps
    a program's memory below 32 MB.
    """
    if sys.platform == "win32":
        idle = win32process.IDLE_PRIORITY_CLASS
        win32process.SetPriorityClass(win32api.GetCurrentProcess(), idle)
    else:
        os.setpriority(os.PRIO_PROCESS, 0, 19)
