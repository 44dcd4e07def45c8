"""May the service's own user read a directory? By the rights in the file system (POSIX)."""

from __future__ import annotations

import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

if sys.platform != "win32":
    import grp
    import pwd

# Groups below are the system's: being in one of them may mean more than reading files.
_FIRST_ORDINARY_GROUP = 1000
_ORDINARY = {"users"}


@dataclass(frozen=True, slots=True)
class Access:
    """What it takes to use a directory: groups to be in; or the part that is closed to us."""

    groups: frozenset[str] = frozenset()
    closed: Path | None = None


def access_to(path: Path, *, write: bool = False) -> Access:
    """How a user that owns nothing and is in no group can read `path`, or write there.

    A directory with an access list (ACL) counts as open: somebody has thought of it.
    """
    groups: set[str] = set()
    for part in [*reversed(path.parents), path]:
        need = stat.S_IXOTH
        if part == path:
            need |= stat.S_IROTH | (stat.S_IWOTH if write else 0)
        try:
            found = part.stat()
        except PermissionError:
            return Access(closed=part.parent)
        if found.st_mode & need == need or _has_access_list(part):
            continue
        group = _ordinary_group(found.st_gid)
        if not group or found.st_mode & (need << 3) != need << 3:
            return Access(closed=part)
        groups.add(group)
    return Access(frozenset(groups))


def belongs_to(path: Path, user: str) -> bool:
    """Does the file belong to the user? No, if there is no such user."""
    if sys.platform == "win32":
        return False
    try:
        return path.stat().st_uid == pwd.getpwnam(user).pw_uid
    except (KeyError, OSError):
        return False


def readable_by_group(path: Path, group: str) -> bool:
    """May the group read the file? No, if there is no such group."""
    if sys.platform == "win32":
        return False
    try:
        found = path.stat()
        return found.st_gid == grp.getgrnam(group).gr_gid and bool(found.st_mode & stat.S_IRGRP)
    except (KeyError, OSError):
        return False


def _ordinary_group(number: int) -> str:
    if sys.platform == "win32":
        return ""
    try:
        name = grp.getgrgid(number).gr_name
    except KeyError:
        return ""
    return name if number >= _FIRST_ORDINARY_GROUP or name in _ORDINARY else ""


def _has_access_list(path: Path) -> bool:
    if sys.platform != "linux":
        return False
    try:
        return bool(os.getxattr(path, "system.posix_acl_access"))
    except OSError:
        return False
