"""Which files of a watched directory are sent. Patterns have the meaning of .gitignore lines."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pathspec import GitIgnoreSpec

from openmsi.errors import UsageError
from openmsi.protocol import SPOOL_NAME

# Hidden files, and what common programs call a file that is not finished. Listed in
# docs/reference.md; nothing else is left out unless the user says so.
DEFAULT_EXCLUDES = (
    ".*",
    "*.tmp",
    "*.temp",
    "*.part",
    "*.partial",
    "*.crdownload",
    "*.swp",
    "*~",
    "~$*",
    "Thumbs.db",
    "desktop.ini",
)


class Filter:
    """Decides by name. Excludes win; without includes everything is included.

    Args:
        include: when given, only files that match one of these are sent.
        exclude: added to the default excludes; a pattern such as `!*.tmp` takes one back.
        regex: when given, only files whose path it matches at the beginning are sent.

    Raises:
        UsageError: a pattern that .gitignore would not understand.
    """

    def __init__(
        self, include: Sequence[str] = (), exclude: Sequence[str] = (), regex: str = ""
    ) -> None:
        self.patterns = (list(include), list(exclude), regex)
        self._regex = re.compile(regex)
        try:
            self._exclude = GitIgnoreSpec.from_lines([*DEFAULT_EXCLUDES, *exclude])
            self._include = GitIgnoreSpec.from_lines(include) if include else None
        except ValueError as error:
            raise UsageError(
                "--include/--exclude", str(error), "Write it as in .gitignore."
            ) from error

    def enters(self, directory: str) -> bool:
        """Is this directory (relative, POSIX) looked into?"""
        name = directory.rpartition("/")[2]
        return name != SPOOL_NAME and not self._exclude.match_file(directory + "/")

    def takes(self, path: str) -> bool:
        """Is this file (relative, POSIX) sent? Its directories are taken to be entered."""
        if self._exclude.match_file(path) or not self._regex.match(path):
            return False
        return self._include is None or self._include.match_file(path)

    def takes_all(self, path: str) -> bool:
        """The same for a path whose directories were not looked at yet."""
        parts = path.split("/")
        parents = ("/".join(parts[:depth]) for depth in range(1, len(parts)))
        return all(self.enters(each) for each in parents) and self.takes(path)
