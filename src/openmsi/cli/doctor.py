"""openmsi doctor: can this work here? Each thing with its cure."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from openmsi.cli.options import (
    Bootstrap,
    Connection,
    Debug,
    StateDir,
    real_directory,
    state_directory,
)
from openmsi.cli.show import clean
from openmsi.config import AgentSettings, read_agent
from openmsi.doctor import Case, FileUse, Finding, TopicUse, case_of, examine
from openmsi.errors import SomeFailed, UsageError
from openmsi.service.manager import DEFAULT_NAME, check_name


def doctor(
    directory: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR", help="A directory to send from, or to --receive in.", show_default=False
        ),
    ] = None,
    topic: Annotated[
        str | None, typer.Option("--topic", "-t", help="The Kafka topic.", show_default=False)
    ] = None,
    receive: Annotated[
        bool, typer.Option("--receive", help="Files are to be rebuilt in DIR, not sent from it.")
    ] = False,
    bootstrap_servers: Bootstrap = None,
    config: Annotated[
        str | None,
        typer.Option(
            "--config",
            "--client-config",
            metavar="FILE",
            help="An agent.toml, of which all parts are examined; or, as for other commands, a"
            " file of settings of the Kafka client or a .config file of the OpenMSI programs.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="Which service to look at.")
    ] = DEFAULT_NAME,
    state_dir: StateDir = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line, for programs.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Find out whether files can be sent and received here, and what to do if not.

    Looks at brokers, login, topics, rights, directories, disks and the service, and changes
    nothing. Rights are those of the user who runs this; the service may be another one.

    Exit code 3: something is wrong. Warnings, and what cannot be known, do not count.

    Example: openmsi doctor D:\\data --topic ebsd
    """
    check_name(name)
    if config is not None and config.lower().endswith(".toml"):
        if directory or topic or bootstrap_servers or receive:
            why = "an agent.toml names brokers, topics and directories itself"
            raise UsageError(f"--config {config}", why, "Leave out all the others.")
        case = agent_case(read_agent(Path(config)), state_dir, name)
    else:
        connection = Connection(bootstrap_servers, config)
        uses, directories = _told(connection, topic, directory, receive)
        state = FileUse(state_directory(state_dir), "state")
        sending, receiving = connection.sending(), connection.receiving()
        case = Case(sending, receiving, uses, (*directories, state), name)
    if not show(examine(case), as_json):
        raise typer.Exit(SomeFailed.exit_code)


def agent_case(settings: AgentSettings, state_dir: Path | None, service: str) -> Case:
    """What an agent with these settings needs; see `Case.service`."""
    where = settings.general.state_dir or state_directory(state_dir)
    return case_of(settings, where, service)


def show(findings: Iterable[Finding], as_json: bool = False) -> bool:
    """Print what was found, as it is found; True if nothing is wrong."""
    count = {"ok": 0, "warning": 0, "wrong": 0, "unknown": 0}
    for each in findings:
        count[each.state] += 1
        if as_json:
            print(msgspec.json.encode(each).decode(), flush=True)
            continue
        print(f"{each.state:<8} {each.check:<13} {clean(f'{each.about}: {each.text}')}", flush=True)
        if each.cure:
            print(f"{'':<22} {clean(each.cure)}")
    if not as_json:
        print(_sum(count["wrong"], count["warning"]))
        sys.stdout.flush()
    return not count["wrong"]


def _sum(wrong: int, warnings: int) -> str:
    if wrong:
        return f"{wrong} wrong, {_counted(warnings)}: below each wrong line stands what to do."
    return f"Nothing is wrong, {_counted(warnings)}."


def _counted(warnings: int) -> str:
    return "1 warning" if warnings == 1 else f"{warnings} warnings"


def _told(
    connection: Connection, topic: str | None, directory: Path | None, receive: bool
) -> tuple[tuple[TopicUse, ...], tuple[FileUse, ...]]:
    """What the command line says, or else the part of a .config file about the service."""
    service = connection.service
    chunk_size = None
    if service and not topic and not directory:
        topic, directory = service.topic, Path(service.file_directory)
        chunk_size = service.chunk_size
    sends = directory is not None and not receive
    uses: tuple[TopicUse, ...] = ()
    if topic:
        group = connection.said.group or ""
        form = connection.said.format or "native"
        uses = (TopicUse(topic, sends, receive, chunk_size, form, group=group),)
    if directory is None:
        return uses, ()
    return uses, (FileUse(real_directory(directory), "receive" if receive else "send"),)
