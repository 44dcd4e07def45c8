"""Leaving the computer to the programs that measure."""

from __future__ import annotations

import os
import sys

if sys.platform == "win32":
    import ctypes

    _IDLE_PRIORITY_CLASS = 0x40


def lower_priority() -> None:
    """Let every other program go first, from now to the end of this one.

    For the calling thread and those that it starts later: Linux knows no more. There the priority
    of reading from disk follows. Windows' own mode for background work is not for this: it keeps
    a program's memory below 32 MB.
    """
    if sys.platform == "win32":
        kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel32.GetCurrentProcess.restype = ctypes.c_void_p
        kernel32.SetPriorityClass.argtypes = (ctypes.c_void_p, ctypes.c_ulong)
        kernel32.SetPriorityClass(kernel32.GetCurrentProcess(), _IDLE_PRIORITY_CLASS)
    else:
        os.setpriority(os.PRIO_PROCESS, 0, 19)
