"""openmsi service install | start | stop | restart | reload | status | logs | remove."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from openmsi.agent import read_status
from openmsi.cli.options import Debug
from openmsi.cli.run import described as described_agent
from openmsi.errors import LocalDiskError, SomeFailed
from openmsi.service.manager import (
    DEFAULT_NAME,
    ServiceManager,
    ServiceStatus,
    Verb,
    service_manager,
)
from openmsi.service.needs import read_spec
from openmsi.service.plan import Plan, describe, execute

app = typer.Typer(no_args_is_help=True, help="Run the agent from boot, under the system's care.")

Name = Annotated[
    str, typer.Option("--name", metavar="NAME", help="Which service, where there are several.")
]
User = Annotated[
    bool, typer.Option("--user", help="A service of your own account, not of the machine.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only print what would be written and run.")
]
FOLLOW_SECONDS = 0.5


@app.command()
def install(
    config: Annotated[
        str,
        typer.Option(
            "--config",
            metavar="FILE",
            help="An agent.toml, or a .config file with [openmsi_directory_stream_service].",
            show_default=False,
        ),
    ],
    name: Name = DEFAULT_NAME,
    user: User = False,
    dry_run: DryRun = False,
    debug: Debug = False,
) -> None:
    """Make a service that runs the agent from boot; the same again replaces its configuration.

    The service gets a copy of FILE, and the values that variables in it have now. Secrets are
    readable by the service alone.

    Example: openmsi service install --config agent.toml
    """
    manager = service_manager(name, user=user)
    if _carry_out(
        manager, "install", dry_run, lambda: manager.install(read_spec(config, user=user))
    ):
        print(f"{name} is installed. Start it:  openmsi service start{_which(name, user)}")


@app.command()
def start(
    name: Name = DEFAULT_NAME, user: User = False, dry_run: DryRun = False, debug: Debug = False
) -> None:
    """Start the service, and wait until it is up.

    Example: openmsi service start
    """
    _control("start", name, user, dry_run)


@app.command()
def stop(
    name: Name = DEFAULT_NAME, user: User = False, dry_run: DryRun = False, debug: Debug = False
) -> None:
    """Stop the service. Files on their way are resumed at the next start.

    Example: openmsi service stop
    """
    _control("stop", name, user, dry_run)


@app.command()
def restart(
    name: Name = DEFAULT_NAME, user: User = False, dry_run: DryRun = False, debug: Debug = False
) -> None:
    """Stop the service if it runs, and start it.

    Example: openmsi service restart
    """
    _control("restart", name, user, dry_run)


@app.command()
def reload(
    name: Name = DEFAULT_NAME, user: User = False, dry_run: DryRun = False, debug: Debug = False
) -> None:
    """Let the service read its configuration again, without a stop.

    Example: openmsi service reload
    """
    _control("reload", name, user, dry_run)


@app.command()
def remove(
    name: Name = DEFAULT_NAME, user: User = False, dry_run: DryRun = False, debug: Debug = False
) -> None:
    """Stop the service and delete it and its configuration. Files and state are kept.

    Example: openmsi service remove
    """
    manager = service_manager(name, user=user)
    if _carry_out(manager, "remove", dry_run, manager.remove):
        print(f"{name} is removed.")


@app.command()
def status(
    name: Name = DEFAULT_NAME,
    user: User = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    debug: Debug = False,
) -> None:
    """Tell how the service and each part of its agent is. Exit code 3: it does not run.

    Example: openmsi service status
    """
    manager = service_manager(name, user=user)
    found = manager.status()
    if as_json:
        print(msgspec.json.encode(found).decode())
    else:
        for label, text in described(found):
            print(f"{label:<12} {text}")
        agent = read_status(*manager.files()) if found.installed else None
        if agent is not None:  # None also without the right to look
            print(described_agent(agent))
    if not found.running:
        raise typer.Exit(SomeFailed.exit_code)


@app.command()
def logs(
    name: Name = DEFAULT_NAME,
    user: User = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many lines.")] = 100,
    debug: Debug = False,
) -> None:
    """Show what the service said last.

    Example: openmsi service logs -f
    """
    source = service_manager(name, user=user).logs(lines, follow)
    if isinstance(source, Path):
        try:
            for line in _tail(source, lines, follow):
                print(line, end="", flush=True)
        except OSError as error:
            why = error.strerror or str(error)
            raise LocalDiskError(str(source), why, "Has the service been started?") from None
    else:
        sys.stdout.flush()
        raise typer.Exit(subprocess.run(source, check=False).returncode)


def perform(plan: Plan, dry_run: bool = False) -> bool:
    """Do the plan, or only print it; True if it was done."""
    if dry_run:
        for line in describe(plan):
            print(line)
        return False
    execute(plan)
    for note in plan.notes:
        print(f"note: {note}")
    return True


def _carry_out(manager: ServiceManager, verb: str, dry_run: bool, plan: Callable[[], Plan]) -> bool:
    """Do the plan with the rights that it takes, or only print it; True if it was done."""
    if not dry_run:
        manager.check_rights(verb)
    return perform(plan(), dry_run)


def _control(verb: Verb, name: str, user: bool, dry_run: bool) -> None:
    manager = service_manager(name, user=user)
    if _carry_out(manager, verb, dry_run, lambda: manager.control(verb)):
        print(f"{name}: {verb} done")


def _which(name: str, user: bool) -> str:
    return f"{'' if name == DEFAULT_NAME else f' --name {name}'}{' --user' if user else ''}"


def described(status: ServiceStatus) -> Iterator[tuple[str, str]]:
    """How a service is, as labels and texts."""
    if not status.installed:
        yield "service", f"{status.name} is not installed"
        return
    yield "service", status.name
    since = f" since {status.since}" if status.since else ""
    process = f", process {status.pid}" if status.pid else ""
    yield "state", f"{status.state}{since}{process}"
    yield "from boot", "yes" if status.from_boot else "no"
    if status.restarts:
        yield "restarts", f"{status.restarts} after a crash"
    if status.failure:
        yield "last failure", status.failure


def _tail(path: Path, lines: int, follow: bool) -> Iterator[str]:
    """The last lines of a file, and with `follow` what is added, also after it was rotated."""
    with open(path, encoding="utf-8", errors="replace") as file:
        yield from deque(file, maxlen=lines)
        while follow:
            if new := file.read():
                yield new
                continue
            time.sleep(FOLLOW_SECONDS)
            if os.path.getsize(path) < file.tell():
                break
    if follow:
        yield from _tail(path, sys.maxsize, follow)
