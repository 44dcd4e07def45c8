"""TOML files whose every key still knows its line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from openmsi.errors import ConfigError

# Names of tables and keys, and numbers of the entries of a list, from the outside inwards.
Place = tuple[str | int, ...]

_AT_LINE = re.compile(r" \(at line (\d+), column \d+\)$")
_CURES = (
    ("Cannot declare", "It was begun above: join the two."),
    ("Cannot overwrite", "It was set above: keep one of the two."),
    ("Cannot mutate", "It was set above: keep one of the two."),
    ("Expected '=' after", "Write it as key = value; spaces in a key need quotes."),
    ("Invalid value", "Text needs quotes, as in topic = 'ebsd'; true and false are in lower case."),
    ("Expected newline or end", "Only a comment may follow a value on its line."),
    ("Unclosed array", "Close it with ]."),
    ("Expected ']", "Write [[watch]] or [kafka], with as many brackets behind as before."),
    ("Invalid initial character", "Write it as key = value, and comments after #."),
)
_BACKSLASH = "Between \" a backslash has a meaning of its own; write 'D:\\data' between ' instead."
_UNCLOSED = "Close the text with the quote that it begins with."


def parse_toml(text: str, file: str) -> dict[str, Any]:
    """The content of `text`. `file` is its name in messages.

    Raises:
        ConfigError: it is not TOML. The line is named and not shown: it may hold a secret.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _AT_LINE.search(str(error))
        why = str(error)[: found.start()] if found else str(error).partition(" (at ")[0]
        line = int(found[1]) if found else _last_good_line(text) + 1
    lines = text.split("\n")
    # A text that is not closed is noticed at the next line.
    if found is None and why == "Invalid value":
        why, cure = "the file ends in the middle of it", "Close what is open, with ], } or a quote."
    elif "Illegal character '\\n'" in why or why.startswith(("Unterminated", 'Expected "\'"')):
        cure = _UNCLOSED
    elif "\\" in lines[min(line, len(lines)) - 1] and re.search("escape|hex", why, re.I):
        why, cure = "a backslash is used in a way that TOML does not know", _BACKSLASH
    else:
        cure = next((cure for begin, cure in _CURES if why.startswith(begin)), "")
    raise ConfigError(f"{file}, line {line}", why, cure or "See https://toml.io for how it is.")


class Lines:
    """Where the values of a TOML file stand.

    What a line adds to a file is what is in the file up to there, and not up to the line before.
    So the file is parsed up to each line, once: for messages, not for every value of a file.
    """

    def __init__(self, text: str) -> None:
        self._text = text

    @cached_property
    def _parsed(self) -> list[tuple[int, Mapping[str, Any]]]:
        return list(_prefixes(self._text))

    def of(self, place: Place) -> int:
        """The line, from 1, where the value at `place` begins; that of its table if it is not
        there."""
        while place:
            good = 0
            for number, parsed in self._parsed:
                if _has(parsed, place):
                    return good + 1
                good = number
            place = place[:-1]
        return 1


def _prefixes(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """For each line after which the file could end: its number, and what is above."""
    lines = text.split("\n")
    for number in range(1, len(lines) + 1):
        try:
            yield number, tomllib.loads("\n".join(lines[:number]) + "\n")
        except tomllib.TOMLDecodeError:
            continue


def _last_good_line(text: str) -> int:
    return max((number for number, _ in _prefixes(text)), default=0)


def _has(parsed: object, place: Place) -> bool:
    for step in place:
        try:
            parsed = parsed[step]  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            return False
    return True
