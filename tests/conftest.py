"""Fixtures that tests of several rooms share: a real Apache Kafka for the session."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from openmsi.broker import LocalBroker

_KAFKA_FIXTURES = {"kafka_bootstrap", "kafka_broker", "kafka_cluster"}

# Waits until its standard input ends, as it does when the test session ends in any way at all,
# kill -9 included, and then removes what the session could not.
_GUARD = """
import pathlib, shutil, sys
sys.stdin.read()
from openmsi.broker import LocalBroker
LocalBroker(pathlib.Path(sys.argv[1], "broker")).wipe()
shutil.rmtree(sys.argv[1], ignore_errors=True)
"""

# A run in the background may have been told to ignore these, and every child would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _KAFKA_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.kafka)


@contextmanager
def running_broker(nodes: int = 1, **extra_config: str) -> Iterator[LocalBroker]:
    """A broker on free ports in a directory of its own, gone afterwards whatever happens.

    A dot in the name of a Kafka setting is written as an underscore.
    """
    with tempfile.TemporaryDirectory(prefix="openmsi-kafka-") as parent:
        settings = {name.replace("_", "."): value for name, value in extra_config.items()}
        broker = LocalBroker(Path(parent, "broker"), port=0, nodes=nodes, extra_config=settings)
        guard = subprocess.Popen(
            [sys.executable, "-c", _GUARD, parent], stdin=subprocess.PIPE, start_new_session=True
        )
        try:
            broker.start()
            yield broker
        finally:
            try:
                broker.wipe()
            finally:
                guard.communicate(timeout=60)


def logins(**passwords: str) -> dict[str, str]:
    """Settings for `running_broker`: only these users may connect, by SASL/PLAIN."""
    module = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    users = " ".join(f'user_{name}="{password}"' for name, password in passwords.items())
    return {
        "listener_security_protocol_map": (
            "CLIENT:SASL_PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT"
        ),
        "sasl_enabled_mechanisms": "PLAIN",
        "listener_name_client_plain_sasl_jaas_config": f"{module} {users};",
    }


@pytest.fixture(scope="session")
def kafka_broker() -> Iterator[LocalBroker]:
    """One broker for the whole session: make your own topics, and leave it running."""
    with running_broker(nodes=1) as broker:
        yield broker


@pytest.fixture(scope="session")
def kafka_bootstrap(kafka_broker: LocalBroker) -> str:
    """The address of the session's broker."""
    return kafka_broker.status().bootstrap


@pytest.fixture(scope="session")
def kafka_cluster() -> Iterator[LocalBroker]:
    """Three brokers for the whole session. A test that ends a node starts it again.

    They give a silent node up after 3 s, not after Kafka's 9 s, so that tests wait less.
    """
    quick = {"broker_session_timeout_ms": "3000", "broker_heartbeat_interval_ms": "500"}
    with running_broker(nodes=3, **quick) as broker:
        yield broker


@pytest.fixture
def topic_name() -> str:
    """A topic name that no other test has."""
    return f"test-{uuid.uuid4().hex[:12]}"
