"""The peer in its own environment, and a lab with both programs on one topic."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "kafka"))

from helpers import Lab

from interop.peer import VERSION, CannotInstall, Peer, python_with_peer


@pytest.fixture(scope="session")
def peer_python() -> Path:
    """Its installation takes a minute or two, once on each computer."""
    try:
        return python_with_peer()
    except CannotInstall as error:
        pytest.skip(f"openmsistream=={VERSION} cannot be installed here: {error}")


@pytest.fixture
def lab(kafka_bootstrap: str, topic_name: str, tmp_path: Path) -> Iterator[Lab]:
    """Make the topic yourself, with as many partitions as you need."""
    with Lab(kafka_bootstrap, topic_name, tmp_path) as lab:
        yield lab


@pytest.fixture
def peer(peer_python: Path, lab: Lab, tmp_path: Path) -> Peer:
    """The peer's programs on the lab's topic."""
    return Peer(peer_python, lab.bootstrap, lab.topic, tmp_path)
