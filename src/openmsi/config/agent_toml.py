"""A `.config` file of the OpenMSI programs -> the text of an `agent.toml`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from openmsi.config.keys import is_secret
from openmsi.config.settings import LegacyConfig

_CREDENTIALS_IN_URL = re.compile(r"://[^/\s]*@")


def to_agent_toml(config: LegacyConfig) -> str:
    """The `agent.toml` that does what `config` does; read it with `keep_references`.

    What stood there as `$NAME` stays so. A secret that stood there in clear text is not in the
    result: a reference to an environment variable takes its place, and a comment says so.
    What the older file does not say, a directory to download to for example, is a comment.
    """
    lines = [f"# Made from {_comment(config.source)} by `openmsi config convert`."]
    lines += [f"# Not taken over: {_comment(note)}" for note in config.notes]
    for name, settings in (("heartbeat", config.heartbeat), ("log", config.log)):
        if settings is not None:
            lines.append(f"# Not taken over: the section [{name}].")
    client = config.client
    broker = dict(client.broker)
    servers = broker.pop("bootstrap.servers", None)
    lines += ["", "[kafka]"]
    if servers is None:
        lines.append('# bootstrap_servers = "HOST:PORT"')
    else:
        lines.append(f"bootstrap_servers = {_toml(servers)}")
    lines += _table("kafka.client", broker)
    lines += _table("kafka.producer", client.producer)
    lines += _table("kafka.consumer", client.consumer)
    lines += _parts(config)
    return "\n".join(lines) + "\n"


def _parts(config: LegacyConfig) -> Iterator[str]:
    service, client = config.service, config.client
    off = "# " if service is None else ""
    yield ""
    if service is None:
        yield "# Take away the # where you want this part, and fill it in."
    yield f"{off}[[watch]]"
    yield f"{off}directory = {_toml(service.file_directory if service else 'DIRECTORY')}"
    yield f"{off}topic = {_toml(service.topic if service else 'TOPIC')}"
    if client.format:
        yield f"{off}format = {_toml(client.format)}"
    if service and service.chunk_size is not None:
        yield f"chunk_size = {service.chunk_size}"
    if service:
        yield f"new_only = {'true' if service.new_files_only else 'false'}"
        return
    yield ""
    yield "# [[download]]"
    yield f"# directory = {_toml('DIRECTORY')}"
    yield f"# topic = {_toml('TOPIC')}"
    if client.group:
        yield f"# group = {_toml(client.group)}"


def _table(name: str, settings: Mapping[str, str]) -> Iterator[str]:
    if not settings:
        return
    yield ""
    yield f"[{name}]"
    for key, value in settings.items():
        if hides_secret(key, value):
            yield "# It stood in the older file in clear text. Put it into this variable of the"
            yield "# environment, and delete it there."
            yield f"{_toml(key)} = {_toml('$' + variable_for(key))}"
        else:
            yield f"{_toml(key)} = {_toml(value)}"


def variable_for(key: str) -> str:
    """The variable that a reference to the secret value of the setting `key` names."""
    return "KAFKA_" + re.sub(r"[^A-Z0-9]", "_", key.upper())


def hides_secret(key: str, value: str) -> bool:
    """Is the value a secret in clear text, not a reference to one?"""
    return not value.startswith("$") and (is_secret(key) or bool(_CREDENTIALS_IN_URL.search(value)))


def _toml(text: str) -> str:
    # A basic string of TOML is one of JSON, except that DEL must be escaped too.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _comment(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text)
