"""manage_service of 2021: the service of one directory, from its `.config` file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from openmsi.cli.entry import guarded
from openmsi.cli.service import described, perform
from openmsi.errors import LocalDiskError, SomeFailed, UsageError
from openmsi.service.manager import ServiceManager, service_manager
from openmsi.service.needs import read_spec
from openmsi.service.plan import Plan

NAME = "OpenMSIDirectoryStreamService"
MODES = {
    "install_and_start": ("install", "start"),
    "install": ("install",),
    "start": ("start",),
    "status": ("status",),
    "stop": ("stop",),
    "remove": ("remove",),
    "stop_and_remove": ("stop", "remove"),
}
_DOING = {
    "install": "Installing",
    "start": "Starting",
    "stop": "Stopping",
    "remove": "Removing",
}


def main() -> None:
    """The console script."""
    guarded("manage_service", run)


def run(words: list[str] | None = None) -> None:
    """Do what the command line asks for.

    Raises:
        OpenMSIError: it cannot be done; the message says why.
    """
    parser = argparse.ArgumentParser("manage_service", description=f"Manage the {NAME}.")
    parser.add_argument("run_mode", choices=MODES, help="what to do")
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="for install: a .config with [openmsi_directory_stream_service], or an agent.toml",
    )
    given = parser.parse_args(words)
    manager = service_manager(NAME)
    for verb in MODES[given.run_mode]:
        if verb == "status":
            _status(manager)
            continue
        manager.check_rights(verb)
        plan = _install(manager, given.config) if verb == "install" else _plan(manager, verb)
        _say(f"{_DOING[verb]} {NAME}...")
        perform(plan)
        _say("Done")


def _install(manager: ServiceManager, config: str | None) -> Plan:
    if not config:
        raise UsageError("install", "it needs a configuration", "Add --config FILE.")
    _say("Testing Service code to check for errors...")
    spec = read_spec(config)
    for path in spec.reads:
        if not path.is_dir():
            raise LocalDiskError(str(path), "there is no such directory", "Make it first.")
    plan = manager.install(spec)
    _say("Done testing code.")
    return plan


def _plan(manager: ServiceManager, verb: str) -> Plan:
    match verb:
        case "remove":
            return manager.remove()
        case "start":
            return manager.control("start")
        case _:
            return manager.control("stop")


def _status(manager: ServiceManager) -> None:
    found = manager.status()
    lines: Iterator[tuple[str, str]] = described(found)
    for label, text in lines:
        _say(f"{label:<12} {text}")
    if not found.running:
        sys.exit(SomeFailed.exit_code)


def _say(text: str) -> None:
    print(text, flush=True)
