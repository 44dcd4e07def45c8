"""Where `--config NAME` is looked for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from openmsi.config.keys import nearest
from openmsi.config.text import read_text
from openmsi.errors import ConfigError

# Directories of named configurations: ours, and the one that OpenMSIStream looks into.
DIRECTORIES = ("OPENMSI_CONFIG_DIR", "OPENMSISTREAM_CONFIG_FILE_DIR")
SUFFIX = ".config"

_CLUSTER = """\
[broker]
bootstrap.servers = $KAFKA_{0}_CLUSTER_BOOTSTRAP_SERVERS
security.protocol = SASL_SSL
sasl.mechanism = PLAIN
sasl.username = $KAFKA_{0}_CLUSTER_USERNAME
sasl.password = $KAFKA_{0}_CLUSTER_PASSWORD
[producer]
compression.type = lz4
key.serializer = StringSerializer
value.serializer = DataFileChunkSerializer
[consumer]
group.id = create_new
key.deserializer = StringDeserializer
value.deserializer = DataFileChunkDeserializer
"""
BUILT_IN = {"prod": _CLUSTER.format("PROD"), "test": _CLUSTER.format("TEST")}


class Source(msgspec.Struct, frozen=True):
    """A configuration as text. `path` is None of one that is built in."""

    shown: str
    text: str
    path: Path | None


def find_config(
    name: str | Path, environment: Mapping[str, str], beside: Path | None = None
) -> Source:
    """Read the configuration file `name`, or the named configuration.

    A name without a dot gets `.config`. It is looked for as a path, in the directory `beside`,
    in those that the variables in DIRECTORIES name, among the built-in ones (`prod`, `test`),
    and at last as it stands.

    Raises:
        ConfigError: there is none, or it cannot be read.
    """
    given = Path(name)
    full = given if "." in given.name or not given.name else given.with_name(given.name + SUFFIX)
    by_name = given.name == str(name)
    directories = _directories(environment) if by_name else []
    for path in [
        full,
        *([beside / full] if beside else []),
        *(each / full for each in directories),
    ]:
        if path.is_file():
            return Source(str(path), read_text(path), path)
    if by_name and full.stem in BUILT_IN and full.suffix == SUFFIX:
        return Source(f"{full.stem} (built in)", BUILT_IN[full.stem], None)
    if given.is_file():
        return Source(str(given), read_text(given), given)
    raise _missing(given, full, by_name, directories)


def _directories(environment: Mapping[str, str]) -> list[Path]:
    return [Path(environment[each]) for each in DIRECTORIES if environment.get(each)]


def _missing(given: Path, full: Path, by_name: bool, directories: list[Path]) -> ConfigError:
    if given.is_dir():
        return ConfigError(str(given), "it is a directory", "Name a file.")
    if not by_name:
        return ConfigError(str(full), "there is no such file", _near_files(full))
    why = f"there is no file {str(full)!r} here, and no configuration has this name"
    if directories:
        why += f" in {' or '.join(map(str, directories))}"
    names = {*BUILT_IN, *(each for place in directories for each in _names(place))}
    cure = nearest(full.stem, names) or _near_files(full)
    return ConfigError(str(given), why, cure or f"Known names: {', '.join(sorted(names))}.")


def _near_files(path: Path) -> str:
    return nearest(path.name, (each + SUFFIX for each in _names(path.parent)))


def _names(directory: Path) -> Iterator[str]:
    try:
        found = os.listdir(directory)
    except OSError:
        return iter(())
    return (each.removesuffix(SUFFIX) for each in found if each.endswith(SUFFIX))
