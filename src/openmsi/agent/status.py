"""How an agent is: one picture, shown as a file, as metrics and in heartbeats."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec

from openmsi.state import holder_of, state_file

STARTING, RUNNING, WAITING = "starting", "running", "waiting"
RESTARTING, STOPPING, STOPPED = "restarting", "stopping", "stopped"


class PartStatus(msgspec.Struct, frozen=True):
    """One part of an agent. `since` and `last_success` are seconds since 1970; what was counted
    is counted since the agent started; sizes are in bytes."""

    part: str
    kind: str
    topic: str
    directory: str = ""
    state: str = STARTING
    since: float = 0.0
    reason: str = ""
    restarts: int = 0
    files: dict[str, int] = {}
    bytes: int = 0
    errors: dict[str, int] = {}
    last_success: float | None = None
    waiting: int = 0
    in_flight: int = 0
    oldest_seconds: float | None = None
    lag: int | None = None


class AgentStatus(msgspec.Struct, frozen=True):
    """A whole agent, at the time `at`, in seconds since 1970. `agent` says which process it is;
    empty when none runs."""

    name: str
    host: str
    version: str
    pid: int
    config: str
    started: float
    at: float
    parts: list[PartStatus]
    problem: str = ""
    agent: str = ""

    @property
    def headline(self) -> str:
        """One line for people."""
        well = sum(each.state == RUNNING for each in self.parts)
        text = f"{well} of {len(self.parts)} parts at work"
        bad = [each for each in self.parts if each.state in (WAITING, RESTARTING)]
        if bad:
            text += f"; {bad[0].part} is {bad[0].state}: {bad[0].reason}"
        return " ".join(text.split())


def status_path(state_dir: Path, config: Path) -> Path:
    """Where the agent with this agent.toml says how it is; its lock is beside it."""
    return state_file(state_dir, "agent", config).with_suffix(".json")


def write_status(path: Path, status: AgentStatus) -> None:
    """Replace the file at `path`. That it cannot be written now must not stop an agent."""
    partial = path.with_suffix(".new")
    with contextlib.suppress(OSError):
        partial.write_bytes(msgspec.json.encode(status))
        os.replace(partial, path)


def read_status(state_dir: Path, config: Path) -> AgentStatus | None:
    """What the agent with this agent.toml said last; None if it never ran."""
    path = status_path(state_dir, config)
    try:
        found = msgspec.json.decode(path.read_bytes(), type=AgentStatus)
    except (OSError, msgspec.DecodeError):
        return None
    return msgspec.structs.replace(found, agent=holder_of(path.with_suffix(".lock")))
