"""The `.config` files of the OpenMSI programs: INI -> settings.

A value is the text that stands there: no interpolation, no guessing of numbers. Only one that
begins with `$` is looked up in the environment.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from openmsi.config.find import Source, find_config
from openmsi.config.ini import Entry, Section, expand, is_ini, parse_ini
from openmsi.config.keys import (
    BESIDE_KAFKA,
    CLIENT_KEYS,
    CLIENT_SECTIONS,
    CONVERTERS,
    FILES,
    FRESH_GROUPS,
    SECTIONS,
    SERVICE,
    SERVICE_KEYS,
    UNSUPPORTED_SECTIONS,
    nearest,
)
from openmsi.config.properties import parse_client_config
from openmsi.config.settings import ClientSettings, DirectoryStream, Format, LegacyConfig
from openmsi.errors import ConfigError
from openmsi.kafka import is_protected, objection

_SERVERS = ("bootstrap.servers", "metadata.broker.list")
_YES, _NO = ("1", "yes", "true", "on"), ("0", "no", "false", "off")

_Expand = Callable[[Entry], str]


def load_settings(name: str | Path, environment: Mapping[str, str] | None = None) -> ClientSettings:
    """What `--config NAME` says to the Kafka clients.

    NAME is a `.config` file of the OpenMSI programs, the name of such a configuration, or a file
    of librdkafka settings, one NAME=VALUE a line: what has sections is the former.

    Raises:
        ConfigError: there is none, or it is wrong; file, line and key are named.
    """
    config = load(name, environment)
    return config.client if isinstance(config, LegacyConfig) else config


def load(
    name: str | Path, environment: Mapping[str, str] | None = None
) -> LegacyConfig | ClientSettings:
    """As `load_settings`, with all that a `.config` file says."""
    around = os.environ if environment is None else environment
    source = find_config(name, around)
    if is_ini(source.text):
        return _read(source, around, partial(expand, environment=around))
    return ClientSettings(broker=parse_client_config(source.text, source.shown))


def read_legacy_config(
    name: str | Path,
    environment: Mapping[str, str] | None = None,
    *,
    keep_references: bool = False,
) -> LegacyConfig:
    """Read the `.config` file `name`, or the configuration of that name (see `find_config`).

    With `keep_references`, texts that begin with `$` stay what they are: a file can be turned
    into another form where the variables are not set.

    Raises:
        ConfigError: there is none, or it is wrong; file, line, section and key are named.
    """
    around = os.environ if environment is None else environment
    source = find_config(name, around)
    value_of = partial(_kept if keep_references else expand, environment=around)
    return _read(source, around, value_of)


def _kept(entry: Entry, environment: Mapping[str, str]) -> str:
    """The text itself, except where its meaning is needed to understand the file."""
    plain = entry.key in CLIENT_KEYS and not is_protected(entry.key)
    if plain or entry.key in (*_SERVERS, "group.id", "file_directory", "topic_name"):
        return entry.text
    return expand(entry, environment)


def _read(source: Source, environment: Mapping[str, str], value_of: _Expand) -> LegacyConfig:
    sections = parse_ini(source.text, source.shown)
    _check_sections(source.shown, sections)
    service = None
    if SERVICE in sections:
        service = _service(source.shown, sections[SERVICE], value_of)
        sections = _with_cluster(source, sections, environment)
    broker = sections.get("broker") or sections.get("cluster")
    reader = _Reader(value_of)
    settings = {
        "broker": reader.settings(broker),
        **{name: reader.settings(sections.get(name)) for name in CLIENT_SECTIONS[2:]},
    }
    client = ClientSettings(
        settings["broker"],
        settings["producer"],
        settings["consumer"],
        reader.group,
        reader.format,
        tuple(reader.notes),
    )
    extra = {each: settings[each] if each in sections else None for each in ("heartbeat", "log")}
    return LegacyConfig(source.shown, client, service, **extra)


def _check_sections(file: str, sections: Mapping[str, Section]) -> None:
    for name, section in sections.items():
        where = f"{file}, line {section.line}, [{name}]"
        if name in UNSUPPORTED_SECTIONS:
            raise ConfigError(where, *UNSUPPORTED_SECTIONS[name])
        if name not in SECTIONS:
            known = f"Known are {', '.join(f'[{each}]' for each in SECTIONS)}."
            raise ConfigError(where, "no section has this name", nearest(name, SECTIONS) or known)
        keys = SERVICE_KEYS if name == SERVICE else (*CLIENT_KEYS, *CONVERTERS)
        keys = (*keys, *BESIDE_KAFKA) if name in ("heartbeat", "log") else keys
        for entry in section.entries.values():
            if entry.key not in keys:
                raise _unknown_key(entry, keys)
    if "broker" in sections and "cluster" in sections:
        where = f"{file}, line {sections['cluster'].line}, [cluster]"
        raise ConfigError(where, "it means the same as [broker] above or below", "Join the two.")


def _unknown_key(entry: Entry, keys: Iterable[str]) -> ConfigError:
    if entry.section == SERVICE:
        why, cure = "the service has no such setting", f"It has {', '.join(SERVICE_KEYS)}."
    else:
        why = "no setting of librdkafka has this name"
        cure = "Its CONFIGURATION.md lists them all."
        if entry.key in SERVICE_KEYS:
            cure = f"It belongs under [{SERVICE}]."
    return ConfigError(entry.where, why, nearest(entry.key, keys) or cure)


def _with_cluster(
    source: Source, sections: dict[str, Section], environment: Mapping[str, str]
) -> dict[str, Section]:
    """The sections of the service's file, or of the one that it names for Kafka's part."""
    named = sections[SERVICE].entries.get("cluster_producer_config")
    inline = [each for each in ("broker", "cluster", "producer") if each in sections]
    if named is None:
        if not inline:
            where = f"{source.shown}, line {sections[SERVICE].line}, [{SERVICE}]"
            cure = "Set cluster_producer_config to a name or a path, or add [broker]."
            raise ConfigError(where, "the file does not say which Kafka brokers to use", cure)
        return sections
    if inline:
        why = f"the file has [{inline[0]}] too, and only one of them can count"
        raise ConfigError(named.where, why, "Remove one of the two.")
    name = expand(named, environment)
    try:
        other = find_config(name, environment, source.path.parent if source.path else None)
    except ConfigError as error:
        raise ConfigError(named.where, f"{error.what}: {error.why}", error.cure) from None
    found = parse_ini(other.text, other.shown)
    _check_sections(other.shown, found)
    if SERVICE in found:
        why = f"{other.shown} has a section [{SERVICE}] itself"
        raise ConfigError(named.where, why, "Name a file that has only [broker] and [producer].")
    return sections | found


def _service(file: str, section: Section, value_of: _Expand) -> DirectoryStream:
    entries = section.entries

    def text(key: str) -> str:
        if key not in entries or not entries[key].text:
            where = f"{file}, line {section.line}, [{SERVICE}]"
            raise ConfigError(where, f"{key} is missing", f"Add a line {key} = ...")
        return value_of(entries[key])

    numbers = {
        key: _number(entries[key], value_of)
        for key in ("n_threads", "chunk_size", "queue_max_size")
        if key in entries
    }
    new_only = entries.get("new_files_only")
    return DirectoryStream(
        text("file_directory"),
        text("topic_name"),
        numbers.get("chunk_size"),
        True if new_only is None else _yes_or_no(new_only, value_of),
    )


def _number(entry: Entry, value_of: _Expand) -> int:
    text = value_of(entry)
    if not (text.isascii() and text.isdecimal() and len(text) < 19 and int(text) > 0):
        raise ConfigError(entry.where, f"{text[:40]!r} is no whole number above 0")
    return int(text)


def _yes_or_no(entry: Entry, value_of: _Expand) -> bool:
    text = value_of(entry).lower()
    if text not in _YES + _NO:
        raise ConfigError(
            entry.where, f"{text[:40]!r} is neither yes nor no", "Write True or False."
        )
    return text in _YES


@dataclass
class _Reader:
    """Turns the entries of client sections into settings, and gathers what they say besides."""

    value_of: _Expand
    group: str | None = None
    format: Format | None = None
    notes: list[str] = field(default_factory=list)

    def settings(self, section: Section | None) -> dict[str, str]:
        found: dict[str, str] = {}
        for entry in section.entries.values() if section else ():
            text = self.value_of(entry)
            if entry.key in BESIDE_KAFKA:
                continue
            if entry.key in CONVERTERS:
                self._converter(entry, text)
            elif entry.key in _SERVERS:
                found["bootstrap.servers"] = text
            elif entry.key == "group.id":
                if entry.section in ("broker", "cluster", "consumer"):
                    self.group = None if text.lower() in FRESH_GROUPS else text or None
            elif entry.key == "auto.offset.reset" and text.lower() == "none":
                continue
            elif not is_protected(entry.key):
                found[entry.key] = text
            elif why := objection(entry.key, text):
                self.notes.append(f"{entry.where} = {text} is not used: {why}")
        return found

    def _converter(self, entry: Entry, text: str) -> None:
        if text not in CONVERTERS[entry.key]:
            known = CONVERTERS[entry.key]
            cure = nearest(text, known) or f"Known are {', '.join(known)}."
            raise ConfigError(entry.where, f"{text[:40]!r} is unknown", cure)
        kind = text.partition("Serializer")[0].partition("Deserializer")[0]
        if entry.key.startswith("key."):
            if kind != "String":
                self.notes.append(f"{entry.where} = {text} is not used: keys are text")
        elif kind == FILES:
            self.format = "openmsi-9"
        elif entry.section not in ("heartbeat", "log"):
            self.notes.append(
                f"{entry.where} = {text} is not used: the records are chunks of files"
            )
