"""Configuration files -> validated settings."""

from __future__ import annotations

from pathlib import Path

from openmsi.errors import ConfigError


def read_client_config(path: Path) -> dict[str, str]:
    """The librdkafka settings in `path`: one `name=value` a line, `#` before comments.

    A value is the text that stands there, to the end of the line without outer spaces.

    Raises:
        ConfigError: the file cannot be read, or a line is not a setting; it is named.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(str(path), error.strerror or str(error), "Name another file.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), "it is not UTF-8 text", "Save it as UTF-8.") from error
    settings: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not name.strip():
            where = f"{path}, line {number}"
            raise ConfigError(where, "it is not NAME=VALUE", "Write it as security.protocol=SSL.")
        settings[name.strip()] = value.strip()
    return settings
