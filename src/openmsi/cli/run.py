"""openmsi run: everything that an agent.toml asks for, in one program, until stopped."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from openmsi.agent import Agent, AgentStatus, read_status
from openmsi.agent.agent import Hooks
from openmsi.agent.metrics import Metrics
from openmsi.agent.status import RUNNING, PartStatus
from openmsi.cli import agent_log
from openmsi.cli.agent_work import work
from openmsi.cli.options import Debug, Json, StateDir, state_directory
from openmsi.cli.show import clean, one_line
from openmsi.config import AgentSettings, read_agent
from openmsi.config.agent_settings import General
from openmsi.errors import LocalDiskError, SomeFailed, UsageError
from openmsi.events import Notice
from openmsi.priority import lower_priority
from openmsi.service import notify


def run(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="An agent.toml.", show_default=False)
    ],
    status: Annotated[
        bool, typer.Option("--status", help="Show how the agent that runs FILE is, and end.")
    ] = False,
    state_dir: StateDir = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Do all that FILE says, in one program, until stopped with Ctrl-C.

    Each part that fails is started again while the others go on. After SIGHUP the file is read
    again; parts that did not change go on undisturbed. `openmsi config init` writes a first file.

    Exit code 3, with --status: a part is not at work, or no agent runs.

    Example: openmsi run agent.toml
    """
    if file.suffix == ".config":
        cure = f"Turn it into one: openmsi config convert {file} > agent.toml"
        raise UsageError(str(file), "it is no agent.toml, but of the OpenMSI programs", cure)
    settings = read_agent(file)
    where = settings.general.state_dir or state_directory(state_dir)
    if status:
        show_status(read_status(where, settings.file), settings, as_json)
    else:
        run_agent(settings, where, as_json)


def run_agent(settings: AgentSettings, state_dir: Path, as_json: bool = False) -> None:
    """Run an agent in this thread until a signal asks it to stop."""
    agent = make_agent(settings, state_dir, as_json)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: agent.stop())
    if sys.platform != "win32":
        signal.signal(signal.SIGHUP, lambda *_: agent.reload())
    ended = agent.run()
    if not ended:
        # A thread that hangs would hold up the end of the program; its state is as after a crash.
        logging.shutdown()
        os._exit(0)


def make_agent(
    settings: AgentSettings,
    state_dir: Path,
    as_json: bool = False,
    log_file: Path | None = None,
) -> Agent:
    """An agent that logs what happens, serves its numbers and tells systemd how it is.

    Args:
        log_file: where to log if the settings name no file; None is standard output.

    Raises:
        LocalDiskError: the log cannot be written.
    """
    tell = partial(agent_log.tell, None)

    def log_to(general: General) -> None:
        form = "json" if as_json else general.log
        agent_log.set_up(form, general.log_file or log_file)

    log_to(settings.general)
    if settings.general.low_priority:
        lower_priority()  # before any thread is started
    metrics = Metrics(lambda: agent.status(), tell)
    in_force = settings.general

    def loaded(agent: Agent) -> None:
        nonlocal in_force
        if agent.settings.general != in_force:
            in_force = agent.settings.general
            try:
                log_to(in_force)
            except LocalDiskError as error:
                tell(Notice(f"the log stays where it was: {error}"))
        notify.ready()

    def turned(agent: Agent) -> None:
        metrics.keep(agent.settings.general.metrics_port)
        if agent.healthy():
            notify.watchdog()

    def changed(agent: Agent) -> None:
        notify.status(agent.status().headline)

    def stopping() -> None:
        notify.stopping()
        metrics.close()

    hooks = Hooks(turned, changed, notify.reloading, loaded, stopping, tell)
    worker = partial(work, state_dir=state_dir)
    agent = Agent(settings, state_dir, worker, agent_log.tell, hooks)
    return agent


def show_status(found: AgentStatus | None, settings: AgentSettings, as_json: bool) -> None:
    """Print how the agent is.

    Raises:
        SomeFailed: it does not run, or one of its parts does not.
    """
    if found is None:
        raise SomeFailed(str(settings.file), "no agent has ever run it with this state directory")
    print(msgspec.json.encode(found).decode() if as_json else described(found))
    if not found.agent or found.problem or any(each.state != RUNNING for each in found.parts):
        raise typer.Exit(SomeFailed.exit_code)


def described(found: AgentStatus) -> str:
    """The status for people."""
    lines = [f"{found.config}: {found.agent or 'no agent is running; this is how it ended'}"]
    if found.problem:
        lines.append(f"  {one_line(found.problem)}")
    for each in found.parts:
        lines += [f"  {clean(each.part)}", f"    {_state(each)}"]
        done = [f"{count} {kind}" for kind, count in sorted(each.files.items())]
        if each.kind == "watch":
            done += [f"{each.in_flight} in flight", f"{each.waiting} waiting"]
        if done:
            lines.append(f"    {', '.join(done)}")
    return "\n".join(lines)


def _state(part: PartStatus) -> str:
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(part.since))
    reason = f": {clean(one_line(part.reason))}" if part.reason else ""
    return f"{part.state} since {since}{reason}"
