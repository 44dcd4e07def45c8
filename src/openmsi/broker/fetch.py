"""Fetches Apache Kafka once, into the user's cache; later starts do not touch the network."""

from __future__ import annotations

import dataclasses
import logging
import os
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import platformdirs

from openmsi.broker.java import EXTRA_CURE
from openmsi.broker.lock import locked
from openmsi.errors import LocalBrokerError

logger = logging.getLogger(__name__)

KAFKA_VERSION = "4.4.0"

# Kafka logs through SLF4J and brings log4j, but not the bridge between them. The "!" keeps the
# bridge's parent from changing the versions of Kafka's own dependencies, kafka-clients among them.
_COORDINATES = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}+org.apache.logging.log4j:log4j-slf4j-impl:2.25.5!"
)

_FETCH_SECONDS = 1800
_LIST = "jars.json"


def is_fetched() -> bool:
    """Whether Kafka is in the cache, whole, so that a start needs no network."""
    return _cached() is not None


def kafka_jars() -> list[Path]:
    """The jars that make up Kafka; fetched (about 45 MB) when they are not in the cache.

    Raises:
        LocalBrokerError: jgo is not installed, the network does not give them, or the cache
            directory cannot be written.
    """
    jars = _cached()
    if jars is not None:
        return jars
    cache = _cache()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with locked(cache, _FETCH_SECONDS):
            jars = _cached()  # another command may have fetched them while we waited
            return jars if jars is not None else _fetch()
    except OSError as error:
        raise _failure(error) from error


def _cache() -> Path:
    return Path(platformdirs.user_cache_dir("openmsi", appauthor=False), "kafka")


def _home() -> Path:
    return _cache() / KAFKA_VERSION


def _cached() -> list[Path] | None:
    """The jars, if every one that was fetched is still there with its size."""
    home = _home()
    try:
        sizes = msgspec.json.decode((home / _LIST).read_bytes(), type=dict[str, int])
        whole = all(os.path.getsize(home / name) == size for name, size in sizes.items())
    except (OSError, msgspec.DecodeError):
        return None
    return [home / name for name in sizes] if whole else None


def _fetch() -> list[Path]:
    """Fetch into a directory beside the final one, which appears only when all is there.

    1. resolve and download into `partial`, jgo checks what it can; 2. read every jar to its end;
    3. write the list of jars; 4. rename the directory.
    """
    logger.info("fetching Apache Kafka %s", KAFKA_VERSION)
    partial = _cache() / "partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        jars = partial / "jars"
        jars.mkdir(parents=True)
        sizes: dict[str, int] = {}
        for source in _download(partial / "repository"):
            os.replace(source, jars / source.name)
            sizes[source.name] = os.path.getsize(jars / source.name)
        (jars / _LIST).write_bytes(msgspec.json.encode(sizes))
        shutil.rmtree(_home(), ignore_errors=True)
        os.replace(jars, _home())
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return [_home() / name for name in sizes]


def _download(repository: Path) -> list[Path]:
    try:
        return resolved(_COORDINATES, repository)
    except ImportError as error:
        raise LocalBrokerError(
            "Apache Kafka", "the package jgo, which fetches it, is not installed", EXTRA_CURE
        ) from error
    except (RuntimeError, ValueError) as error:
        raise _failure(error) from error


def resolved(coordinates: str, repository: Path) -> list[Path]:
    """The jars of these Maven coordinates and of all that they need, each read to its end;
    fetched into `repository` when they are not there.

    Raises:
        ImportError: jgo is not installed.
        RuntimeError, ValueError: they cannot be had, or one arrived damaged.
        OSError: the directory cannot be written.
    """
    from jgo.maven import MavenContext
    from jgo.parse import Endpoint

    context = MavenContext(repo_cache=repository, timeout=30)
    wanted = [
        context.create_dependency(dataclasses.replace(coordinate, scope="compile"))
        for coordinate in Endpoint.parse(coordinates).coordinates
    ]
    named, needed = context.resolver.resolve(wanted)
    artifacts = [d.artifact for d in (*named, *needed) if d.scope in ("compile", "runtime")]
    with ThreadPoolExecutor(max_workers=4) as pool:
        paths = [Path(path) for path in pool.map(lambda one: one.resolve(), artifacts)]
        for path, broken in zip(paths, pool.map(_first_bad_entry, paths), strict=True):
            if broken is not None:
                raise RuntimeError(f"{path.name} arrived damaged")
    return paths


def _first_bad_entry(jar: Path) -> str | None:
    try:
        with zipfile.ZipFile(jar) as archive:
            return archive.testzip()
    except zipfile.BadZipFile:
        return jar.name


def _failure(why: object) -> LocalBrokerError:
    text = " ".join(str(why).split())
    return LocalBrokerError(
        f"Apache Kafka {KAFKA_VERSION}",
        f"it could not be fetched from Maven Central into {_cache()}: {text[:300]}",
        "the first start needs the internet (set HTTPS_PROXY if you are behind a proxy) and about "
        "100 MB of disk; later starts do not",
    )
