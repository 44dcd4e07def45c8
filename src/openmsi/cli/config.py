"""openmsi config init | check | convert: configuration files, ours and the older ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from openmsi.cli.config_words import agent_explained, login, others
from openmsi.cli.doctor import agent_case, show
from openmsi.cli.options import Debug
from openmsi.config import (
    ClientSettings,
    LegacyConfig,
    load,
    read_agent,
    read_legacy_config,
    to_agent_toml,
)
from openmsi.config.agent_first import FIRST
from openmsi.doctor import examine
from openmsi.errors import LocalDiskError, SomeFailed
from openmsi.kafka import DEFAULT_BOOTSTRAP_SERVERS, KafkaSettings
from openmsi.state import disk_error

app = typer.Typer(no_args_is_help=True, help="Look at configuration files, or convert them.")

File = Annotated[
    str,
    typer.Argument(metavar="FILE", help="A file or a name, as for --config.", show_default=False),
]


@app.command()
def init(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where to write it; must not exist yet.")
    ] = Path("agent.toml"),
    debug: Debug = False,
) -> None:
    """Write an agent.toml to begin with, in which each setting is explained.

    Example: openmsi config init agent.toml
    """
    try:
        with open(file, "x", encoding="utf-8") as new:
            new.write(FIRST)
    except FileExistsError:
        why = "it is there already"
        raise LocalDiskError(str(file), why, "Name another file, or edit this one.") from None
    except OSError as error:
        raise disk_error(file, error) from error
    print(f"{file} is written: put in the broker, directories and topics.")
    print(f"Then: openmsi config check {file}")


@app.command()
def check(
    file: File,
    offline: Annotated[
        bool, typer.Option("--offline", help="Only look at the file, at no broker and no disk.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Say in words what a configuration file means. Passwords and keys are not shown.

    Of an agent.toml it says what `openmsi run` would do, and then, as `openmsi doctor` does,
    whether that can work here: what is wrong, and what to do about it.

    Exit code 9: the file is wrong, and the message says where. Exit code 3: the file is right, but
    the agent could not do all of it now.

    Example: openmsi config check agent.toml
    """
    if file.lower().endswith(".toml"):
        settings = read_agent(Path(file))
        for label, text in agent_explained(settings):
            print(f"{label:<15} {text}")
        if not offline:
            print()
            if not show(examine(agent_case(settings, None, service=""))):
                raise typer.Exit(SomeFailed.exit_code)
        return
    config = load(file)
    client = config.client if isinstance(config, LegacyConfig) else config
    for each in (client.sending(), client.receiving()):
        servers = each.pop("bootstrap.servers", DEFAULT_BOOTSTRAP_SERVERS)
        KafkaSettings(servers, each)
    for label, text in explained(config, file):
        print(f"{label:<15} {text}")


@app.command()
def convert(file: File, debug: Debug = False) -> None:
    """Print the agent.toml that does the same as a .config file of the OpenMSI programs.

    References like $KAFKA_PASSWORD stay references and need not be set. A password in clear text
    is not repeated: a reference takes its place.

    Example: openmsi config convert ebsd.config > agent.toml
    """
    print(to_agent_toml(read_legacy_config(file, keep_references=True)), end="")


def explained(config: LegacyConfig | ClientSettings, file: str) -> Iterator[tuple[str, str]]:
    """What `config` means, as labels and texts without secrets."""
    legacy = config if isinstance(config, LegacyConfig) else None
    client = legacy.client if legacy else config
    assert isinstance(client, ClientSettings)
    yield "file", legacy.source if legacy else file
    yield "brokers", _brokers(client)
    yield from login(client.broker | client.consumer | client.producer)
    if client.format:
        yield "sends", f"records of the format {client.format}, as the OpenMSI programs do"
    if legacy:
        yield "receives", _group(client.group)
    if legacy and legacy.service:
        service = legacy.service
        which = "what appears in it" if service.new_files_only else "all that is in it or appears"
        yield "service", f"sends from {service.file_directory} {which} to topic {service.topic!r}"
        if service.chunk_size is not None:
            yield "chunk size", f"{service.chunk_size} bytes"
    sections = {"every client": client.broker, "senders": client.producer}
    sections |= {"receivers": client.consumer}
    if legacy:
        sections |= {"heartbeats": legacy.heartbeat or {}, "logs": legacy.log or {}}
    for whom, settings in sections.items():
        if shown := others(settings):
            yield "settings", f"of {whom}: {shown}"
    for note in client.notes:
        yield "note", note


def _brokers(client: ClientSettings) -> str:
    to, of = (each.get("bootstrap.servers") for each in (client.sending(), client.receiving()))
    if to == of:
        return to or "none are named: --bootstrap-servers must say"
    return f"to send {to or 'none'}, to receive {of or 'none'}"


def _group(group: str | None) -> str:
    if group is None:
        return "all files, whoever else receives: no consumer group is named, or a fresh one"
    return f"as one of the consumer group {group!r}, whose members share the files"
