"""openmsi config check | convert: configuration files of the OpenMSI programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated

import typer

from openmsi.cli.options import Debug
from openmsi.config import (
    ClientSettings,
    LegacyConfig,
    is_secret,
    load,
    read_legacy_config,
    to_agent_toml,
)
from openmsi.kafka import DEFAULT_BOOTSTRAP_SERVERS, KafkaSettings

app = typer.Typer(no_args_is_help=True, help="Look at configuration files, or convert them.")

File = Annotated[
    str,
    typer.Argument(metavar="FILE", help="A file or a name, as for --config.", show_default=False),
]


@app.command()
def check(file: File, debug: Debug = False) -> None:
    """Say in words what a configuration file means. Passwords and keys are not shown.

    Exit code 9: the file is wrong, and the message says where.

    Example: openmsi config check prod
    """
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
    yield from _login(client)
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
        if shown := _others(settings):
            yield "settings", f"of {whom}: {shown}"
    for note in client.notes:
        yield "note", note


def _brokers(client: ClientSettings) -> str:
    to, of = (each.get("bootstrap.servers") for each in (client.sending(), client.receiving()))
    if to == of:
        return to or "none are named: --bootstrap-servers must say"
    return f"to send {to or 'none'}, to receive {of or 'none'}"


_PROTOCOLS = {
    "plaintext": "no encryption and no login",
    "ssl": "TLS",
    "sasl_plaintext": "login without encryption",
    "sasl_ssl": "login over TLS",
}


def _login(client: ClientSettings) -> Iterator[tuple[str, str]]:
    settings = client.broker | client.consumer | client.producer
    protocol = settings.get("security.protocol", "plaintext")
    yield "connection", _PROTOCOLS.get(protocol.lower(), protocol)
    if "sasl.username" in settings:
        how = settings.get("sasl.mechanism") or settings.get("sasl.mechanisms")
        password = "a password" if settings.get("sasl.password") else "no password"
        by = f" by {how}" if how else ""
        yield "login", f"as {settings['sasl.username']!r} with {password}{by}"


def _group(group: str | None) -> str:
    if group is None:
        return "all files, whoever else receives: no consumer group is named, or a fresh one"
    return f"as one of the consumer group {group!r}, whose members share the files"


_TOLD = {
    "bootstrap.servers",
    "security.protocol",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "sasl.password",
}


def _others(settings: Mapping[str, str]) -> str:
    return ", ".join(
        f"{key} is set" if is_secret(key) or "://" in value or "\n" in value else f"{key} = {value}"
        for key, value in settings.items()
        if key not in _TOLD
    )
