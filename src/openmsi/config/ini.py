"""INI files as the OpenMSI programs read them, but literally: a value is the text that stands
there, and each remembers its line."""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator, Mapping

import msgspec

from openmsi.config.keys import is_secret
from openmsi.errors import ConfigError

_HEADER = re.compile(r"\[(.+)\]")
_DELIMITER = re.compile(r"[=:]")
# As os.path.expandvars on POSIX, on every system.
_VARIABLE = re.compile(r"\$(?:(\w+)|\{([^}]*)\})", re.ASCII)
_USUAL_NAME = re.compile(r"[A-Z][A-Z0-9_]*")


class Entry(msgspec.Struct, frozen=True):
    """One setting: `text` is its value, `line` is where it stands, from 1."""

    file: str
    line: int
    section: str
    key: str
    text: str

    @property
    def where(self) -> str:
        return f"{self.file}, line {self.line}, [{self.section}] {self.key}"


class Section(msgspec.Struct, frozen=True):
    """`line` is that of its header; keys are lower-case."""

    line: int
    entries: dict[str, Entry]


def is_ini(text: str) -> bool:
    """Does the first line that is not empty or a comment begin a section?"""
    for line in map(str.strip, text.splitlines()):
        if line and line[0] not in "#;":
            return line.startswith("[")
    return False


def parse_ini(text: str, file: str) -> dict[str, Section]:
    """The sections of `text` in their order. `file` is its name in messages.

    Raises:
        ConfigError: a line has no place in such a file; it is named by its number only, since it
            may hold a secret.
    """
    # No section gives defaults to the others: [DEFAULT] is one like any other.
    parser = configparser.RawConfigParser(default_section="")
    try:
        parser.read_string(text, file)
    except configparser.DuplicateOptionError as error:
        where = f"{file}, line {error.lineno}, [{error.section}] {error.option}"
        raise ConfigError(where, "it was set above", "Keep one of the two.") from None
    except configparser.DuplicateSectionError as error:
        where = f"{file}, line {error.lineno}, [{error.section}]"
        raise ConfigError(where, "this section was begun above", "Join the two.") from None
    except configparser.MissingSectionHeaderError as error:
        why = "it stands before the first section"
        raise ConfigError(f"{file}, line {error.lineno}", why, "Write [broker] above it.") from None
    except configparser.ParsingError as error:
        where = f"{file}, line {error.errors[0][0]}"
        why = "it is no section, no comment and not KEY = VALUE"
        raise ConfigError(where, why, "Write it as bootstrap.servers = HOST:PORT.") from None
    lines = dict(reversed(list(_lines(text))))
    return {
        name: Section(
            lines.get((name, ""), 0),
            {
                key: Entry(file, lines.get((name, key), 0), name, key, value)
                for key, value in parser.items(name)
            },
        )
        for name in parser.sections()
    }


def _lines(text: str) -> Iterator[tuple[tuple[str, str], int]]:
    """Each (section, key) and its line; the section's header has no key."""
    section = ""
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if not line or line[0] in "#;":
            continue
        if header := _HEADER.match(line):
            section = header[1]
            yield (section, ""), number
        elif _DELIMITER.search(line):
            yield (section, _DELIMITER.split(line)[0].strip().lower()), number


def expand(entry: Entry, environment: Mapping[str, str]) -> str:
    """The value of `entry`. One that begins with `$` has all its `$NAME` and `${NAME}` replaced;
    in any other a `$` is itself.

    Raises:
        ConfigError: a variable is not set, or there is none after the `$`.
    """
    if not entry.text.startswith("$"):
        return entry.text
    cure = "Set it; a value that itself begins with $ must come from a variable."
    if not _VARIABLE.search(entry.text):
        raise ConfigError(entry.where, "no environment variable is named after the $", cure)

    def value_of(found: re.Match[str]) -> str:
        name = found[1] or found[2] or ""
        if name in environment:
            return environment[name]
        # What looks like no usual name may be part of a password that begins with $.
        hidden = is_secret(entry.key) and not _USUAL_NAME.fullmatch(name)
        shown = "named here" if hidden else name
        raise ConfigError(entry.where, f"the environment variable {shown} is not set", cure)

    return _VARIABLE.sub(value_of, entry.text)
