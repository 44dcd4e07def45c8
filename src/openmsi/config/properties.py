"""Client configurations: one librdkafka setting a line."""

from __future__ import annotations

from openmsi.errors import ConfigError


def parse_client_config(text: str, shown: str) -> dict[str, str]:
    """The librdkafka settings in `text`: one `name=value` a line, `#` before comments.

    A value is the text that stands there, to the end of the line without outer spaces.

    Args:
        shown: the file's name in messages.

    Raises:
        ConfigError: a line is not a setting; it is named.
    """
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
