"""The text of a configuration file."""

from __future__ import annotations

from pathlib import Path

from openmsi.errors import ConfigError


def read_text(path: Path) -> str:
    """Raises ConfigError for a file that cannot be read or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(str(path), error.strerror or str(error), "Name another file.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), "it is not UTF-8 text", "Save it as UTF-8.") from error
