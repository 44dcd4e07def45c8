"""Client configurations: one librdkafka setting a line."""

from __future__ import annotations

from pathlib import Path

from openmsi.config.text import read_text
from openmsi.errors import ConfigError


def read_client_config(path: Path) -> dict[str, str]:
    """The librdkafka settings in `path`: one `name=value` a line, `#` before comments.

    A value is the text that stands there, to the end of the line without outer spaces.

    Raises:
        ConfigError: the file cannot be read, or a line is not a setting; it is named.
    """
    return parse_client_config(read_text(path), str(path))


def parse_client_config(text: str, shown: str) -> dict[str, str]:
    """As `read_client_config`; `shown` is the file's name in messages."""
    settings: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not name.strip():
            where = f"{shown}, line {number}"
            raise ConfigError(where, "it is not NAME=VALUE", "Write it as security.protocol=SSL.")
        settings[name.strip()] = value.strip()
    return settings
