"""What a configuration needs in order to run as a service: read once, when it is installed."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from openmsi.config import LegacyConfig, read_legacy_config, to_agent_toml
from openmsi.config.agent import parse_agent
from openmsi.config.agent_settings import AgentSettings
from openmsi.config.agent_toml import hides_secret, variable_for
from openmsi.config.secrets import WAYS
from openmsi.config.text import read_text
from openmsi.config.toml import parse_toml
from openmsi.errors import ConfigError
from openmsi.service.manager import Spec
from openmsi.service.plan import HIDDEN

_VARIABLE = re.compile(r"\$(\w+)|\$\{([^}]*)\}")


def read_spec(
    name: str, environment: Mapping[str, str] | None = None, *, user: bool = False
) -> Spec:
    """The service that the configuration `name` describes: an agent.toml, or a `.config` file of
    the OpenMSI programs with a section for the service.

    The service gets a copy, since it outlives the file and the rights of whoever installs it.
    Variables that the file refers to get the values that they have now.

    Args:
        user: it will run as the one who installs it.

    Raises:
        ConfigError: there is none, it is wrong, or it names what a service could not find.
    """
    around = dict(os.environ if environment is None else environment)
    path = Path(name)
    if path.suffix == ".toml":
        text = read_text(path)
        settings = parse_agent(path, text, around)
    else:
        text, secrets = _converted(read_legacy_config(name, around, keep_references=True))
        around |= secrets
        settings = parse_agent(Path("agent.toml"), text, around)
    content = parse_toml(text, name)
    named = list(_paths(content))
    for place, value in named:
        if not value.startswith("$") and not Path(value).is_absolute():
            cure = "Write the full path."
            raise ConfigError(f"{name}, {place} = {value}", "a service is elsewhere", cure)
    secret_files = []
    for place, reference in _references(content):
        if "keyring" in reference and not user:
            cure = "Use '$VARIABLE' or { file = 'PATH' }, or add --user."
            raise ConfigError(f"{name}, {place}", "a service of the machine has no keyring", cure)
        if "file" in reference:
            secret_files.append(Path(str(reference["file"])))
    variables = {
        each: around[each]
        for _, value in _strings(content)
        if value.startswith("$")
        for each in _names(value)
        if each in around
    }
    watched = tuple(dict.fromkeys(each.directory for each in settings.watches))
    return Spec(
        text,
        _shown(text, content),
        variables,
        watched,
        _written(settings),
        tuple(secret_files),
        tuple(value for _, value in named),
    )


def _written(settings: AgentSettings) -> tuple[Path, ...]:
    general = settings.general
    written = [each.directory for each in settings.downloads]
    for each in settings.watches:
        if each.after != "keep":
            written.append(each.directory)
        if each.after.startswith("move:"):
            written.append(Path(each.after.removeprefix("move:")))
    written += [general.state_dir] if general.state_dir else []
    written += [general.log_file.parent] if general.log_file else []
    return tuple(dict.fromkeys(written))


def _converted(config: LegacyConfig) -> tuple[str, dict[str, str]]:
    """The agent.toml, and the secrets that stood in the older file in clear text."""
    if config.service is None:
        cure = "It needs a section [openmsi_directory_stream_service], or write an agent.toml."
        raise ConfigError(config.source, "it does not say which directory to send", cure)
    secrets: dict[str, str] = {}
    client = config.client
    for key, value in (*client.broker.items(), *client.producer.items(), *client.consumer.items()):
        if not hides_secret(key, value):
            continue
        if secrets.setdefault(variable_for(key), value) != value:
            cure = "Write an agent.toml, with a variable for each."
            raise ConfigError(config.source, f"{key} has two different values", cure)
    return to_agent_toml(config), secrets


def _strings(value: object, place: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _strings(inner, f"{place}.{key}" if place else key)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner, place)


def _shown(text: str, content: Mapping[str, Any]) -> str:
    """The text without its secrets; the lines of one that has several are all left out."""
    secrets = {
        line
        for place, value in _strings(content)
        if hides_secret(place.partition(".")[2].partition(".")[2], value)
        for line in value.splitlines()
    }
    for each in sorted(filter(None, secrets), key=len, reverse=True):
        escaped = json.dumps(each, ensure_ascii=False)[1:-1]
        text = text.replace(escaped, HIDDEN).replace(each, HIDDEN)
    return text


def _paths(content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Where the file names paths."""
    for kind in ("watch", "download"):
        for each in content.get(kind, []):
            yield f"[[{kind}]] directory", each["directory"]
            if each.get("after", "").startswith("move:"):
                yield f"[[{kind}]] after", each["after"].removeprefix("move:")
    for key in ("state_dir", "log_file"):
        if key in content.get("agent", {}):
            yield f"[agent] {key}", content["agent"][key]
    for place, reference in _references(content):
        if "file" in reference:
            yield place, str(reference["file"])


def _references(content: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, table in content.get("kafka", {}).items():
        for key, value in table.items() if isinstance(table, dict) else ():
            if isinstance(value, dict) and set(value) <= set(WAYS):
                yield f"[kafka.{name}] {key}", value


def _names(value: str) -> Iterator[str]:
    yield from (found[1] or found[2] for found in _VARIABLE.finditer(value))
