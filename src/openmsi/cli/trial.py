"""What `openmsi demo` tries out: watch and download, each in a process of its own."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from openmsi.errors import RecordRejected, SomeFailed
from openmsi.protocol import SPOOL_NAME, digest_of, new_hasher, to_path
from openmsi.send.files import Identity

STALL_SECONDS = 60.0
STOP_SECONDS = 15.0
MAX_WORDS = 2000  # of what a failed child said


class Heard(msgspec.Struct):
    """What matters of an event that a child reports."""

    event: str
    path: str = ""
    reason: str = ""
    detail: str = ""
    text: str = ""


@dataclass(slots=True)
class Item:
    """One file on its way. `native` is its name below the watched directory; `dropped` (None:
    it was there before) and `rebuilt` (None: it is not) are monotonic seconds."""

    native: str
    path: str
    size: int
    mtime_ns: int
    dropped: float | None
    rebuilt: float | None = None
    problem: str = ""


class Outcome(msgspec.Struct, frozen=True, tag_field="event", tag="file"):
    """One file after the demo: `seconds` from drop to rebuilt (None: it was not rebuilt), the
    digests of both files as read at the end, and why they are not equal, if they are not."""

    path: str
    size: int
    seconds: float | None
    digest: str
    received_digest: str
    mtime_equal: bool
    equal: bool
    reason: str = ""


class Child:
    """One openmsi command that runs until it is stopped; its events go into a queue.

    Args:
        heard: gets (monotonic seconds, this child, event); the event is None at the end.
    """

    def __init__(
        self,
        verb: str,
        arguments: list[str],
        home: Path,
        heard: queue.Queue[tuple[float, Child, Heard | None]],
    ) -> None:
        self.verb = verb
        self._words = home / f"{verb}.err"
        self._heard = heard
        # -P: nothing in the current directory is taken for a module. A session of its own, so
        # that Ctrl-C reaches us alone and the children are ended in order.
        command = [sys.executable, "-P", "-m", "openmsi", verb, "--json", *arguments]
        with open(self._words, "wb") as words:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=words,
                env={**os.environ, "PYTHONIOENCODING": "utf-8"},
                start_new_session=True,
            )
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                now = time.monotonic()
                with contextlib.suppress(msgspec.DecodeError):
                    self._heard.put((now, self, msgspec.json.decode(line, type=Heard)))
        self._heard.put((time.monotonic(), self, None))

    def stop(self) -> None:
        """Ask it to end, and end it the hard way if it does not."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def ended(self) -> SomeFailed:
        """The error for a child that ended before it was asked to: its own words."""
        code = self._process.wait()
        how = f"ended with exit code {code}" if code >= 0 else f"was ended by signal {-code}"
        return SomeFailed("demo", f"`openmsi {self.verb}` {how}", self.words().strip())

    def words(self) -> str:
        """What it wrote for people, indented."""
        text = self._words.read_text(encoding="utf-8", errors="replace")[-MAX_WORDS:].strip()
        return "\n".join(f"  {line}" for line in text.splitlines())


class Trial:
    """Files from the directory `source` through a topic into the directory `received`.

    Args:
        home: a directory for the children's own files.
        connection: the options that name the brokers.
        say: gets a sentence when a child tells something that a person may want to know.
    """

    def __init__(
        self,
        source: Path,
        home: Path,
        topic: str,
        connection: list[str],
        say: Callable[[str], None],
    ) -> None:
        self.source = source
        self.received = home / "received"
        self.items: list[Item] = []
        self.skipped: dict[str, str] = {}
        self.began = 0.0
        self._home = home
        self._common = ["--topic", topic, *connection]
        self._say = say
        self._heard: queue.Queue[tuple[float, Child, Heard | None]] = queue.Queue()
        self._children: list[Child] = []
        self._started: set[str] = set()
        self._by_name: dict[str, list[Item]] = {}
        self._open: set[str] = set()
        self._rebuilt_files = self._rebuilt_bytes = 0
        self._moved = time.monotonic()
        self._spooled = 0

    def start(self) -> None:
        """Start both commands and wait until both are at work.

        Raises:
            SomeFailed: one of them ended; its words are shown.
        """
        # The configuration may ask for records that carry no time of modification.
        native = ["--format", "native"]
        for verb, directory, more in (
            ("download", self.received, []),
            ("watch", self.source, native),
        ):
            state = ["--state-dir", str(self._home / f"state-{verb}")]
            arguments = [*self._common, *more, *state, "--", str(directory)]
            self._children.append(Child(verb, arguments, self._home, self._heard))
            self._moved = time.monotonic()
            while verb not in self._started:
                self._listen()
                if self._stalled():
                    raise SomeFailed("demo", f"{verb} did not start in {STALL_SECONDS:.0f} s")

    def stop(self) -> None:
        for child in reversed(self._children):
            child.stop()
        self._children.clear()

    # -- files -----------------------------------------------------------------------------

    def expect(self, native: str, identity: Identity, dropped: float | None = None) -> None:
        """This file of `source` is to arrive."""
        shown = native.encode(errors="surrogateescape").decode(errors="replace")
        try:
            path = str(to_path(native))
        except (RecordRejected, UnicodeEncodeError):
            path = shown  # it will be refused, under this name
        item = Item(native, path, identity.size, identity.mtime_ns, dropped)
        self._open.add(native)
        self.items.append(item)
        for name in {path, shown}:
            self._by_name.setdefault(name, []).append(item)

    def wait(self) -> None:
        """Wait until each expected file is rebuilt, or known not to be, or nothing moves any
        more: then the rest has this as its problem.

        Raises:
            SomeFailed: one of the commands ended; its words are shown.
        """
        self._moved = time.monotonic()
        while self._open and not self._stalled():
            self._listen()
        for item in self.items if self._open else ():
            if item.native in self._open:
                item.problem = f"nothing moved for {STALL_SECONDS:.0f} s"
        self._open.clear()

    def progress(self) -> tuple[int, int]:
        """How many files are rebuilt, and their bytes with those of files that are on the way."""
        return self._rebuilt_files, self._rebuilt_bytes + self._spooled

    def words(self) -> list[str]:
        """What the commands wrote for people, though they went on."""
        return [f"{each.verb}:\n{words}" for each in self._children if (words := each.words())]

    # -- events ----------------------------------------------------------------------------

    def _listen(self) -> None:
        try:
            found = self._heard.get(timeout=0.2)
        except queue.Empty:
            spooled = _spooled(self.received)
            if spooled != self._spooled:
                self._spooled, self._moved = spooled, time.monotonic()
            return
        when, child, heard = found
        if heard is None:
            raise child.ended()
        self._moved = time.monotonic()
        self._take(when, child.verb, heard)

    def _take(self, when: float, verb: str, heard: Heard) -> None:
        if heard.event == "started":
            self._started.add(verb)
            if verb == "watch":
                self.began = when
        elif heard.event == "rebuilt":
            for item in self._by_name.get(heard.path, ()):
                self._rebuilt(item, when)
            self._say(f"rebuilt {heard.path}")
        elif heard.event == "skipped":
            self.skipped[heard.path] = heard.reason
            self._say(f"skipped {heard.path}: {heard.reason}")
        elif heard.event == "failed":
            self._failed(heard.path, heard.reason)
        elif heard.event == "dead-letter":
            self._failed(heard.path, heard.detail)
        elif heard.event in ("notice", "waiting"):
            self._say(f"{verb}: {heard.text or heard.reason}")

    def _rebuilt(self, item: Item, when: float) -> None:
        if item.rebuilt is None:
            item.rebuilt, item.problem = when, ""
            self._rebuilt_files += 1
            self._rebuilt_bytes += item.size
            self._open.discard(item.native)

    def _failed(self, path: str, reason: str) -> None:
        self._say(f"failed {path}: {reason}")
        for item in self._by_name.get(path, ()):
            if item.rebuilt is None:
                item.problem = reason
                self._open.discard(item.native)

    def _stalled(self) -> bool:
        return time.monotonic() - self._moved > STALL_SECONDS


def _spooled(received: Path) -> int:
    """Bytes of the files that are not complete yet."""
    total = 0
    with contextlib.suppress(OSError), os.scandir(received / SPOOL_NAME / "spool") as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                total += entry.stat().st_size
    return total


def compare(item: Item, trial: Trial) -> Outcome:
    """Read both files, and say whether content and time of modification are equal."""
    digest, mtime_ns, problem = _read(trial.source / item.native)
    copy_digest, copy_mtime_ns, copy_problem = _read(trial.received / item.path)
    dropped = trial.began if item.dropped is None else item.dropped
    reason = item.problem
    if not reason and problem:
        reason = f"the original cannot be read: {problem}"
    elif not reason and copy_problem:
        reason = f"the copy cannot be read: {copy_problem}"
    elif not reason and digest != copy_digest:
        changed = mtime_ns != item.mtime_ns
        reason = "it changed while the demo ran" if changed else "the content differs"
    elif not reason and mtime_ns != copy_mtime_ns:
        reason = "the time of modification differs"
    return Outcome(
        item.path,
        item.size,
        None if item.rebuilt is None else item.rebuilt - dropped,
        digest,
        copy_digest,
        bool(digest and copy_digest) and mtime_ns == copy_mtime_ns,
        not reason,
        reason,
    )


def _read(path: Path) -> tuple[str, int, str]:
    """A file's digest, its time of modification in ns, and why it cannot be read."""
    hasher = new_hasher()
    try:
        with open(path, "rb") as file:
            while data := file.read(2**20):
                hasher.update(data)
            return digest_of(hasher), os.fstat(file.fileno()).st_mtime_ns, ""
    except OSError as error:
        return "", 0, error.strerror or str(error)
