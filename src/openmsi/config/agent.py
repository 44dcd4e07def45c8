"""`agent.toml` -> settings. A wrong file is an error that names line, key, and the cure."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from openmsi.config.agent_checks import check_together
from openmsi.config.agent_settings import AgentSettings, Download, General, Watch, meta_of
from openmsi.config.ini import Entry, expand
from openmsi.config.keys import CLIENT_KEYS, is_secret, nearest
from openmsi.config.secrets import WAYS, others_may, read_secret
from openmsi.config.text import read_text
from openmsi.config.toml import Lines, Place, parse_toml
from openmsi.errors import ConfigError, RecordRejected, UsageError
from openmsi.kafka import KafkaSettings, objection, open_admin
from openmsi.protocol import check_path
from openmsi.send.filters import Filter

T = TypeVar("T", Watch, Download, General)

_PARTS = {"watch": Watch, "download": Download}
SECTIONS = ("kafka", "agent", *_PARTS)
KAFKA_TABLES = ("client", "producer", "consumer")
_ELSEWHERE = {
    "bootstrap.servers": ("it has a place of its own", "Set bootstrap_servers under [kafka]."),
    "metadata.broker.list": ("it has a place of its own", "Set bootstrap_servers under [kafka]."),
    "group.id": ("each part may have its own", "Set group under [[download]]."),
}
_HEADERS = ("[kafka]", *(f"[kafka.{each}]" for each in KAFKA_TABLES), "[agent]", "[[watch]]")


def read_agent(path: Path, environment: Mapping[str, str] | None = None) -> AgentSettings:
    """Read the `agent.toml` at `path`; a relative path in it is relative to its directory.

    Raises:
        ConfigError: it cannot be read or is wrong; file, line and key are named.
    """
    return parse_agent(path, read_text(path), environment)


def parse_agent(
    path: Path, text: str, environment: Mapping[str, str] | None = None
) -> AgentSettings:
    """What `text` says as the `agent.toml` at `path`; raises as `read_agent`."""
    around = os.environ if environment is None else environment
    return _Reader(path, text, around).settings()


class _Reader:
    def __init__(self, path: Path, text: str, environment: Mapping[str, str]) -> None:
        self._path = path
        self._lines = Lines(text)
        self._environment = environment
        self._folder = path.absolute().parent
        self._content = parse_toml(text, str(path))

    def settings(self) -> AgentSettings:
        self._check_sections()
        tables = {each: self._parts(each) for each in _PARTS}
        watches = [self._watch(i, each) for i, each in enumerate(tables["watch"])]
        downloads = [
            self._struct(Download, ("download", i), each)
            for i, each in enumerate(tables["download"])
        ]
        general = self._struct(General, ("agent",), self._table(("agent",)))
        sending, receiving = self._kafka()
        check_together(watches, downloads, general, self.error)
        if not watches and not downloads:
            raise self.error((), "there is nothing to do in it", "Add a [[watch]] or [[download]].")
        path = self._path.absolute()
        return AgentSettings(path, sending, receiving, general, tuple(watches), tuple(downloads))

    def error(self, place: Place, why: str, cure: str = "") -> ConfigError:
        """About what stands at `place`; about the whole file if that is empty."""
        return ConfigError(self._where(place), why, cure)

    def _where(self, place: Place) -> str:
        if not place:
            return str(self._path)
        return f"{self._path}, line {self._lines.of(place)}, {_shown(place)}"

    # -- tables --------------------------------------------------------------------------------

    def _check_sections(self) -> None:
        for name, value in self._content.items():
            if name in SECTIONS:
                continue
            what = "section" if isinstance(value, (dict, list)) else "setting"
            why = f"no {what} of an agent has this name"
            owner = _owner(name)
            cure = f"It belongs under {owner}." if what == "setting" and owner else ""
            known = f"There are {', '.join(_HEADERS)} and [[download]]."
            raise self.error((name,), why, cure or nearest(name, SECTIONS) or known)
        if "kafka" not in self._content:
            cure = "Add [kafka] and below it bootstrap_servers = 'HOST:PORT'."
            raise self.error((), "the section [kafka] is missing", cure)

    def _parts(self, name: str) -> list[Any]:
        found = self._content.get(name, [])
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            why = f"there may be several of them, each beginning with [[{name}]]"
            raise self.error((name,), why, f"Write [[{name}]], with two brackets on each side.")
        return found

    def _table(self, place: Place) -> dict[str, Any]:
        found: Any = self._content
        for step in place:
            found = found.get(step, {})
        if not isinstance(found, dict):
            raise self.error(place, "it must be a section", f"Write {_header(place)} above it.")
        return found

    def _struct(self, kind: type[T], place: Place, table: Mapping[str, Any]) -> T:
        fields = {each.name: each for each in msgspec.structs.fields(kind)}
        for key in table:
            if key not in fields:
                why = f"{_header(place)} has no such setting"
                raise self.error((*place, key), why, _better(key, fields))
        values = {}
        for name, field in fields.items():
            if name in table:
                values[name] = self._value((*place, name), field.type, table[name])
            elif field.required:
                cure = f"Add a line {name} = {_toml(meta_of(field.type).examples)}"
                raise self.error(place, f"{name} is missing", cure)
        return kind(**values)

    def _value(self, place: Place, kind: Any, raw: Any) -> Any:
        meta = meta_of(kind)
        if isinstance(raw, str) and raw.startswith("$"):
            raw = expand(self._entry(place, raw), self._environment)
        try:
            return msgspec.convert(raw, kind, dec_hook=lambda _, text: self._to_path(place, text))
        except msgspec.ValidationError:
            cure = f"Write it like {place[-1]} = {_toml(meta.examples)}"
            why = f"{meta.description} is expected, not {_toml([raw])[:60]}"
            raise self.error(place, why, cure) from None

    def _entry(self, place: Place, text: str) -> Entry:
        section, _, key = _shown(place).partition("] ")
        return Entry(str(self._path), self._lines.of(place), section[1:], key, text)

    def _to_path(self, place: Place, text: Any) -> Path:
        if not isinstance(text, str) or not text.strip():
            raise ValueError
        if not text.isprintable():
            why = f"{text!r} has a character that no path has"
            cure = "Between \" a backslash begins such a character: write 'C:\\tmp' between '."
            raise self.error(place, why, cure)
        if text.startswith("~"):
            why = "~ is another directory for each user, and a service has one of its own"
            raise self.error(place, why, "Write the whole path.")
        return Path(os.path.realpath(self._folder / text))

    # -- parts ---------------------------------------------------------------------------------

    def _watch(self, index: int, table: Mapping[str, Any]) -> Watch:
        place: Place = ("watch", index)
        found = self._struct(Watch, place, table)
        prefix = found.prefix.strip("/")
        after = found.after
        try:
            if prefix:
                check_path(prefix)
        except RecordRejected as error:
            raise self.error((*place, "prefix"), error.detail, "Write it like sem-3.") from None
        for key in ("include", "exclude"):
            try:
                Filter(**{key: getattr(found, key)})
            except UsageError as error:
                raise self.error((*place, key), error.why, error.cure) from None
        if after.startswith("move:"):
            target = self._to_path((*place, "after"), after.removeprefix("move:"))
            if target.is_relative_to(found.directory):
                why = f"{target} is inside the watched directory: what is moved would be sent again"
                cure = "Name a directory outside of it."
                raise self.error((*place, "after"), why, cure)
            after = f"move:{target}"
        return msgspec.structs.replace(found, prefix=prefix, after=after)

    # -- Kafka ---------------------------------------------------------------------------------

    def _kafka(self) -> tuple[KafkaSettings, KafkaSettings]:
        table = self._table(("kafka",))
        for key, value in table.items():
            if key not in ("bootstrap_servers", *KAFKA_TABLES):
                raise self._unknown_kafka_key(key, value)
        place: Place = ("kafka", "bootstrap_servers")
        servers = table.get("bootstrap_servers")
        if servers is None:
            cure = "Add a line bootstrap_servers = 'HOST:PORT'"
            raise self.error(("kafka",), "bootstrap_servers is missing", cure)
        text = servers if isinstance(servers, str) else ""
        if text.startswith("$"):
            text = expand(self._entry(place, text), self._environment)
        if not text.strip() or not all(map(_is_server, text.split(","))):
            why = "one or more HOST:PORT, separated by commas, are expected"
            cure = "Write it like bootstrap_servers = 'kafka.example.org:9092'"
            raise self.error(place, why, cure)
        client, producer, consumer = (self._client(each) for each in KAFKA_TABLES)
        both = (KafkaSettings(text, client | producer), KafkaSettings(text, client | consumer))
        for settings in both:
            self._check_client(settings)
        return both

    def _check_client(self, settings: KafkaSettings) -> None:
        """Let the client itself look at its settings; it connects to nobody here."""
        error = _problem(settings)
        if error is None:
            return
        why = error.why.strip().removeprefix("Failed to create admin client: ")
        for name in KAFKA_TABLES:
            for key, value in self._table(("kafka", name)).items():
                for place, setting, _ in _flat(("kafka", name), key, value):
                    alone = KafkaSettings(client={setting: settings.client.get(setting, "")})
                    found = _problem(alone)
                    if setting in why or (found is not None and found.why == error.why):
                        cure = "librdkafka's CONFIGURATION.md says what it may be."
                        raise ConfigError(self._client_where(place, setting), why, cure)
        raise self.error(("kafka", "client"), why, error.cure)

    def _unknown_kafka_key(self, key: str, value: Any) -> ConfigError:
        names = [name for _, name, _ in _flat((), key, value)]
        if any(name in CLIENT_KEYS for name in names):
            place, cure = ("kafka", key), "It belongs under [kafka.client]."
            return self.error(place, "settings of librdkafka have a section of their own", cure)
        known = ("bootstrap_servers", *KAFKA_TABLES)
        cure = nearest(key, known) or f"It has {', '.join(known)}."
        return self.error(("kafka", key), "[kafka] has no such setting", cure)

    def _client(self, name: str) -> dict[str, str]:
        """The settings of one table: `a.b = 1` and `"a.b" = 1` mean the same."""
        found: dict[str, str] = {}
        for key, value in self._table(("kafka", name)).items():
            for place, setting, each in _flat(("kafka", name), key, value):
                if fault := _client_fault(setting, found):
                    raise ConfigError(self._client_where(place, setting), *fault)
                found[setting] = self._client_value(place, setting, each)
                if objects := objection(setting, found[setting]):
                    where = self._client_where(place, setting)
                    raise ConfigError(where, objects, f"Remove {setting!r}.")
        return found

    def _client_value(self, place: Place, setting: str, value: Any) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, (int, float)):
            return str(value)
        if isinstance(value, str) and not value.startswith("$"):
            if value and is_secret(setting):
                self._check_rights(place, setting)
            return value
        where = self._client_where(place, setting)
        if isinstance(value, dict):
            return read_secret(value, where, self._folder)
        if not isinstance(value, str):
            raise ConfigError(where, "a text, a number, true or false is expected")
        line, section = self._lines.of(place), f"kafka.{place[1]}"
        return expand(Entry(str(self._path), line, section, setting, value), self._environment)

    def _check_rights(self, place: Place, setting: str) -> None:
        try:
            others = others_may(self._path)
        except OSError:
            return  # it was read a moment ago: no longer there to be read by others
        if others:
            why = f"a secret stands here in clear text, and others may {others} the file"
            cure = f"Run: chmod 600 {self._path}; or write '$VARIABLE', or {{ file = 'PATH' }}."
            raise ConfigError(self._client_where(place, setting), why, cure)

    def _client_where(self, place: Place, setting: str) -> str:
        return f"{self._path}, line {self._lines.of(place)}, [kafka.{place[1]}] {setting}"


def _client_fault(setting: str, before: Mapping[str, str]) -> tuple[str, str] | None:
    """Why this setting cannot be here, and the cure; None if it can."""
    if setting in before:
        return "it was set above", "Keep one of the two."
    if setting not in CLIENT_KEYS:
        cure = nearest(setting, CLIENT_KEYS) or "Its CONFIGURATION.md lists them all."
        return "no setting of librdkafka has this name", cure
    return _ELSEWHERE.get(setting)


def _problem(settings: KafkaSettings) -> ConfigError | None:
    try:
        open_admin(settings).close()
    except ConfigError as error:
        return error
    return None


def _flat(above: Place, key: str, value: Any, name: str = "") -> Iterator[tuple[Place, str, Any]]:
    """The settings in a table, with the place where each stands. In `a.b = 1` TOML sees a table."""
    place, name = (*above, key), f"{name}.{key}" if name else key
    is_reference = isinstance(value, dict) and (name in CLIENT_KEYS or set(value) & set(WAYS))
    if not isinstance(value, dict) or is_reference or not value:
        yield place, name, value
        return
    for inner, each in value.items():
        yield from _flat(place, inner, each, name)


def _shown(place: Place) -> str:
    """`("watch", 1, "topic")` is `[[watch]] topic`."""
    names = [each for each in place if isinstance(each, str)]
    if names[0] not in SECTIONS:
        return names[0]
    if names[0] == "kafka" and names[1:2] and names[1] in KAFKA_TABLES:
        return f"[kafka.{names[1]}] {'.'.join(names[2:])}".strip()
    return " ".join([_header(place), *names[1:]])


def _header(place: Place) -> str:
    return f"[[{place[0]}]]" if place[0] in _PARTS else f"[{place[0]}]"


def _owner(key: str) -> str:
    """The section that a key belongs under; empty for none."""
    if key == "bootstrap_servers":
        return "[kafka]"
    for name, kind in (*_PARTS.items(), ("agent", General)):
        if key in kind.__struct_fields__:
            return _header((name,))
    return ""


def _better(key: str, fields: Mapping[str, object]) -> str:
    close = nearest(key, fields)
    owner = _owner(key)
    known = f"It has {', '.join(fields)}."
    return f"It belongs under {owner}." if owner else close or known


def _toml(values: Any) -> str:
    """The first of `values` as TOML has it, which is as JSON has it."""
    return msgspec.json.encode(values[0]).decode()


def _is_server(text: str) -> bool:
    host, colon, port = text.strip().rpartition("://")[2].rpartition(":")
    if not colon:
        return bool(port) and " " not in port
    return bool(host) and " " not in host and port.isdecimal() and 0 < int(port) < 65_536
