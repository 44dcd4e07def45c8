"""What is typed at the console, one character at a time, without waiting for it."""

from __future__ import annotations

import os
import sys

if sys.platform == "win32":
    import msvcrt

    class Keys:
        """The keyboard of a console; what comes through a pipe is not looked at."""

        def __enter__(self) -> Keys:
            self.at_console = sys.stdin is not None and sys.stdin.isatty()
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def typed(self) -> str:
            """What was typed since the last call."""
            found = ""
            while self.at_console and msvcrt.kbhit():
                found += msvcrt.getwch()
            return found

else:
    import select
    import termios
    import tty
    from types import TracebackType

    class Keys:
        """Standard input, whatever it is. Its end means that nothing is typed any more."""

        def __enter__(self) -> Keys:
            self.at_console = False
            self._before: list[object] | None = None
            self._input: int | None = None
            try:
                self._input = sys.stdin.fileno()
            except (AttributeError, OSError, ValueError):
                return self  # there is none, or it is closed
            self.at_console = os.isatty(self._input)
            if self.at_console and _in_front(self._input):
                self._before = termios.tcgetattr(self._input)
                tty.setcbreak(self._input, termios.TCSANOW)
            return self

        def __exit__(
            self,
            kind: type[BaseException] | None,
            error: BaseException | None,
            traceback: TracebackType | None,
        ) -> None:
            if self._before is not None and self._input is not None and _in_front(self._input):
                termios.tcsetattr(self._input, termios.TCSANOW, self._before)  # type: ignore[arg-type]

        def typed(self) -> str:
            """What was typed since the last call."""
            if self._input is None or (self.at_console and not _in_front(self._input)):
                return ""
            try:
                if not select.select([self._input], [], [], 0)[0]:
                    return ""
                data = os.read(self._input, 1024)
            except OSError:
                data = b""  # the terminal is gone
            if not data:
                self._input = None
            return data.decode(errors="replace")

    def _in_front(terminal: int) -> bool:
        # A program in the background that reads from the terminal, or sets it, is stopped by it.
        try:
            return os.tcgetpgrp(terminal) == os.getpgrp()
        except OSError:
            return True  # no job control: it is not the terminal of our session
