"""How hard the crash tests try, and their closing lines.

pytest tests/crash                           the short form, 20 kills, small files
pytest tests/crash -m crash --kills 60       everything, small files, 60 kills
pytest tests/crash -m crash --full           everything, 300 kills, files of gigabytes
"""

from __future__ import annotations

import random
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conftest import running_broker
from crash.harness import Hub, Scale, World
from crash.proxy import proxied_broker

_LINES: list[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("crash", "how hard the crash tests try")
    group.addoption("--kills", type=int, default=None, help="how many kills; 20, or 300 in full")
    group.addoption("--seed", type=int, default=None, help="of all that is random; else a new one")
    group.addoption("--full", action="store_true", help="files of gigabytes, faults of minutes")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "crash: kills and cuts real processes; see tests/crash")
    # Whoever ends the run in this way wants it tidied up as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _LINES:
        terminalreporter.section("crash tests")
        for line in _LINES:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def scale(pytestconfig: pytest.Config) -> Scale:
    """Sizes, counts and the seed of this run."""
    full = bool(pytestconfig.getoption("full", False))
    kills = pytestconfig.getoption("kills", None)
    seed = pytestconfig.getoption("seed", None)
    return Scale(
        full,
        (300 if full else 20) if kills is None else int(kills),
        random.SystemRandom().randrange(10**6) if seed is None else int(seed),
    )


Close = Callable[..., None]


@pytest.fixture
def closing(request: pytest.FixtureRequest, scale: Scale) -> Close:
    """Keeps a line for the end of the run."""

    def add(**numbers: object) -> None:
        told = ", ".join(f"{name.replace('_', ' ')} {each}" for name, each in numbers.items())
        _LINES.append(f"{request.node.name}: seed {scale.seed}, {told}")
        print(_LINES[-1])

    return add


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that is gone after the test: gigabytes are not kept."""
    with tempfile.TemporaryDirectory(prefix="openmsi-crash-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    """A broker of this module's own, which its tests may kill."""
    with running_broker(nodes=1) as broker:
        yield Hub(broker, broker.status().bootstrap)


@pytest.fixture(scope="module")
def proxied_hub() -> Iterator[Hub]:
    """A broker that clients reach through a proxy only."""
    with proxied_broker() as (broker, proxy):
        yield Hub(broker, proxy.address, proxy)


@pytest.fixture
def world(hub: Hub, directory: Path, topic_name: str) -> Iterator[World]:
    """A topic and directories, with no program yet."""
    with World(hub, directory, topic_name) as world:
        yield world


@pytest.fixture
def proxied(proxied_hub: Hub, directory: Path, topic_name: str) -> Iterator[World]:
    """The same behind a proxy, which passes everything on at first."""
    assert proxied_hub.proxy is not None
    proxied_hub.proxy.heal()
    with World(proxied_hub, directory, topic_name) as world:
        yield world
    proxied_hub.proxy.heal()
