"""A real Apache Kafka on this machine, for trying things and for tests.

It stands alone: nothing else in openmsi knows how this Kafka is started, and it knows nothing of
them. What it gives is an address, as any other Kafka has one.

    broker = LocalBroker()
    address = broker.start()
    ...
    broker.stop()
"""

from openmsi.broker.fetch import KAFKA_VERSION, is_fetched
from openmsi.broker.local import MAXIMUM_NODES, LocalBroker, default_data_dir
from openmsi.broker.plan import DEFAULT_PORT
from openmsi.broker.status import NodeStatus, Status

__all__ = [
    "DEFAULT_PORT",
    "KAFKA_VERSION",
    "MAXIMUM_NODES",
    "LocalBroker",
    "NodeStatus",
    "Status",
    "default_data_dir",
    "is_fetched",
]
