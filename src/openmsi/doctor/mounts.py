"""Is a directory on a network drive?"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "ceph", "lustre", "9p", "gpfs"}
_NETWORK |= {"beegfs", "glusterfs", "fuse.glusterfs", "fuse.sshfs", "fuse.davfs", "orangefs"}
_ESCAPED = re.compile(r"\\([0-7]{3})")
_REMOTE_DRIVE = 4  # of GetDriveTypeW


def network_drive(path: Path) -> str:
    """The kind of network drive that `path` is on; empty for none, or where nobody tells."""
    real = os.path.realpath(path)
    if sys.platform == "win32":
        return _windows(real)
    try:
        kind = file_system(real, _MOUNTS.read_text(errors="surrogateescape"))
    except OSError:
        return ""
    return kind if kind in _NETWORK else ""


def file_system(real: str, mounts: str) -> str:
    """The type of the file system that `real` is on, by the lines of a mountinfo of Linux; see
    proc_pid_mountinfo(5)."""
    best, kind = "", ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields, told = before.split(), after.split()
        if len(fields) < 5 or not told:
            continue
        point = _ESCAPED.sub(lambda found: chr(int(found[1], 8)), fields[4])
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):  # of two at one place the later one is seen
            best, kind = point, told[0]
    return kind


def _windows(real: str) -> str:
    if real.startswith("\\\\") and not real.startswith(("\\\\?\\", "\\\\.\\")):
        return "a share"
    if sys.platform == "win32":
        import ctypes

        drive = os.path.splitdrive(real)[0]
        if ctypes.windll.kernel32.GetDriveTypeW(f"{drive}\\") == _REMOTE_DRIVE:
            return "a mapped drive"
    return ""
