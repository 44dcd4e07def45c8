"""The agent: all parts of an agent.toml at work, whatever happens to any of them."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from openmsi import __version__
from openmsi.agent.heartbeat import beat
from openmsi.agent.part import Supervised, Tell, Worker
from openmsi.agent.status import AgentStatus, status_path, write_status
from openmsi.config import AgentSettings, Heartbeat, read_agent
from openmsi.errors import ConfigError
from openmsi.events import Event, Notice
from openmsi.state import hold

log = logging.getLogger(__name__)

TURN_SECONDS = 0.2
STATUS_SECONDS = 10.0
# A part may look at a slow disk for a while. One that does nothing for so long hangs.
HANG_SECONDS = 300.0
STOP_SECONDS = 9.0


@dataclass
class Hooks:
    """Whoever runs an agent is told, always in the agent's own thread.

    Args:
        turned: a few times a second, with the agent.
        changed: how a part is has changed.
        reloading: the file is about to be read again.
        loaded: settings have come into force: at the start, and after a reload.
        stopping: it was asked to stop.
        told: of everything that does not concern one part alone.
    """

    turned: Callable[[Agent], None] = lambda _: None
    changed: Callable[[Agent], None] = lambda _: None
    reloading: Callable[[], None] = lambda: None
    loaded: Callable[[Agent], None] = lambda _: None
    stopping: Callable[[], None] = lambda: None
    told: Callable[[Event], None] = lambda _: None


class Agent:
    """Runs the parts of the agent.toml at `settings.file`.

    `run` belongs to one thread; `stop`, `reload`, `healthy` and `status` may be called from any,
    also from a handler of signals.

    Args:
        state_dir: where ledgers, journals and the agent's own state are.
        worker: does the work of a part that sends or receives.
        tell: hears what happens in each part, in that part's thread.
    """

    def __init__(
        self,
        settings: AgentSettings,
        state_dir: Path,
        worker: Worker,
        tell: Tell,
        hooks: Hooks | None = None,
    ) -> None:
        self.settings = settings
        self._state_dir = state_dir
        self._worker = worker
        self._tell = tell
        self._hooks = hooks or Hooks()
        self._parts: dict[str, Supervised] = {}
        self._ending: list[Supervised] = []
        self._stop_asked = False
        self._reload_asked = False
        self._problem = ""
        self._started = time.time()
        self._path = status_path(state_dir, settings.file)
        self._shown: object = None
        self._show_due = 0.0

    # -- from any thread -----------------------------------------------------------------------

    def stop(self) -> None:
        """Let every part finish what it has at hand, for at most 9 s; then `run` returns."""
        self._stop_asked = True

    def reload(self) -> None:
        """Read the file again. Parts that did not change go on undisturbed."""
        self._reload_asked = True

    def healthy(self) -> bool:
        """Did the loop of every part turn lately?"""
        return all(each.silent_seconds() < HANG_SECONDS for each in [*self._parts.values()])

    def status(self) -> AgentStatus:
        host = socket.gethostname()
        return AgentStatus(
            self.settings.general.name or host,
            host,
            __version__,
            os.getpid(),
            str(self.settings.file),
            self._started,
            time.time(),
            [each.status() for each in [*self._parts.values(), *self._ending]],
            self._problem,
        )

    # -- the loop ------------------------------------------------------------------------------

    def run(self) -> bool:
        """Run until `stop`. Returns whether every part has come to its end by then.

        Raises:
            InUse: another agent runs this file.
            LocalDiskError: the state directory cannot be used.
        """
        with hold(self._path.with_suffix(".lock"), f"running {self.settings.file}"):
            self._hooks.loaded(self)
            try:
                while not self._stop_asked:
                    if self._reload_asked:
                        self._reload_asked = False
                        self._reload()
                    self._reconcile()
                    self._show()
                    self._hooks.turned(self)
                    time.sleep(TURN_SECONDS)
            finally:
                self._hooks.stopping()
                ended = self._wind_up()
            return ended

    def _reconcile(self) -> None:
        """Bring what runs to what the settings say. A part that changed begins when the former
        one, which holds the same ledger or journal, has ended."""
        wanted = {each.title: each for each in self.settings.parts}
        for title, running in list(self._parts.items()):
            same = running.part == wanted.get(title) and self._same_clients(running)
            if not same:
                running.stop()
                self._ending.append(self._parts.pop(title))
        stopped = {each.part.title: each for each in self._ending if not each.alive}
        self._ending = [each for each in self._ending if each.alive]
        busy = {each.part.title for each in self._ending}
        for title, part in wanted.items():
            if title in self._parts or title in busy:
                continue
            beats = isinstance(part, Heartbeat)
            worker = partial(beat, status=self.status) if beats else self._worker
            fresh = self._parts[title] = Supervised(part, self.settings, worker, self._tell)
            if title in stopped:
                fresh.take_over(stopped[title])
            fresh.start()

    def _same_clients(self, running: Supervised) -> bool:
        before, now = running.settings, self.settings
        return (before.sending, before.receiving) == (now.sending, now.receiving)

    def _reload(self) -> None:
        self._hooks.reloading()
        try:
            settings = read_agent(self.settings.file)
            if (settings.general.state_dir or self._state_dir) != self._state_dir:
                why = "state_dir cannot change while the agent runs"
                raise ConfigError(str(settings.file), why, "Stop the agent and start it again.")
        except ConfigError as error:
            self._problem = f"the changed file is not used: {error}"
            self._hooks.told(Notice(self._problem))
        else:
            self._problem = ""
            self.settings = settings
            self._hooks.told(Notice(f"{settings.file} was read again"))
        self._hooks.loaded(self)

    def _show(self) -> None:
        """Write down how the parts are: when that changes, and every few seconds."""
        now = time.monotonic()
        status = self.status()
        shown = [(each.part, each.state, each.reason, each.restarts) for each in status.parts]
        changed = (shown, self._problem) != self._shown
        if changed or now >= self._show_due:
            self._shown = (shown, self._problem)
            self._show_due = now + STATUS_SECONDS
            write_status(self._path, status)
        if changed:
            self._hooks.changed(self)

    def _wind_up(self) -> bool:
        parts = [*self._parts.values(), *self._ending]
        for each in parts:
            each.stop()
        until = time.monotonic() + STOP_SECONDS
        ended = [each.join(until - time.monotonic()) for each in parts]
        write_status(self._path, self.status())
        for each, has in zip(parts, ended, strict=True):
            if not has:
                log.warning("it did not stop in time: part=%r", each.part.title)
        return all(ended)
