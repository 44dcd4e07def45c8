"""How the Kafka client is set up: our defaults < the user's settings < what our promises need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from openmsi.errors import ConfigError
from openmsi.kafka.logs import logger
from openmsi.kafka.seam import TopicInfo

Setting = str | int | float | bool
Config = dict[str, Any]

DEFAULT_BOOTSTRAP_SERVERS = "localhost:9092"

_MIB = 1024 * 1024
# librdkafka takes message.max.bytes from 1,000 to 1,000,000,000 only.
_MESSAGE_BYTES = (1_000, 1_000_000_000)

_ALL_DEFAULTS: Config = {
    "client.id": "openmsi",
    # The first broker that a client finds is only asked for the others; it then waits half of
    # this before it connects to one of them.
    "reconnect.backoff.ms": 20,
    # A broker that comes back is found within two seconds; librdkafka's own limit is ten.
    "reconnect.backoff.max.ms": 2_000,
    "socket.keepalive.enable": True,
}
_PRODUCER_DEFAULTS: Config = {
    **_ALL_DEFAULTS,
    "linger.ms": 5,
    "queue.buffering.max.messages": 20_000,
}
_CONSUMER_DEFAULTS: Config = {
    **_ALL_DEFAULTS,
    "session.timeout.ms": 10_000,
    "heartbeat.interval.ms": 3_000,
    # What is fetched ahead, and in one answer: an answer that takes longer than socket.timeout.ms
    # (60 s) is thrown away and asked for again, for ever on a link slower than about 1 Mbit/s.
    "queued.max.messages.kbytes": 8 * 1024,
    "fetch.max.bytes": 8 * _MIB,
    # Two default chunks with all around them: the broker cuts an answer off at this size, and a
    # record that is cut off is sent again as a whole.
    "fetch.message.max.bytes": 2_010_000,
    # A partition that is new or resumed waits for the fetch under way; idle, ten a second.
    "fetch.wait.max.ms": 100,
    # With a small queue the default of one second would halve the rate of large records.
    "fetch.queue.backoff.ms": 20,
    # One record may be larger than fetch.max.bytes; the broker sends it all the same.
    "receive.message.max.bytes": 1_000_000_000,
}
_ADMIN_DEFAULTS: Config = {
    **_ALL_DEFAULTS,
    # An address that swallows packets is noticed after this.
    "socket.connection.setup.timeout.ms": 4_000,
}
_READER_DEFAULTS: Config = {
    **_CONSUMER_DEFAULTS,
    "queued.max.messages.kbytes": 4 * 1024,
    "socket.connection.setup.timeout.ms": 4_000,
}

_PRODUCER_NEEDS: Config = {
    "acks": "all",
    "enable.idempotence": True,
    "partitioner": "murmur2_random",
    "message.timeout.ms": 0,
}
_CONSUMER_NEEDS: Config = {
    "partition.assignment.strategy": "cooperative-sticky",
    "group.protocol": "classic",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "earliest",
    "allow.auto.create.topics": False,
    "check.crcs": True,
}

_NO_LOSS = "a file counts as sent only when every in-sync replica has each of its records"
_ORDER = "the records of a file must arrive once and in order"
_ONE_PARTITION = "all versions of a path must share a partition, whichever program sends them"
_PATIENCE = "a record must not be given up because time passed"
_COMMIT = "offsets may be committed only after the files are on disk"
_ALL_RECORDS = "a new group must see the whole topic, or files would be missing"
_SHARING = "all members of a group must share partitions in the same way"

# The settings that carry a promise: what we need (None: nobody may set it) and why.
_PROTECTED: Mapping[str, tuple[Setting | None, str]] = {
    "bootstrap.servers": (None, "it is given as --bootstrap-servers"),
    "metadata.broker.list": (None, "it is given as --bootstrap-servers"),
    "acks": ("all", _NO_LOSS),
    "request.required.acks": ("all", _NO_LOSS),
    "enable.idempotence": (True, _ORDER),
    "max.in.flight": (None, _ORDER),
    "max.in.flight.requests.per.connection": (None, _ORDER),
    "transactional.id": (None, "files are sent without Kafka transactions"),
    "partitioner": ("murmur2_random", _ONE_PARTITION),
    "message.timeout.ms": (0, _PATIENCE),
    "delivery.timeout.ms": (0, _PATIENCE),
    "retries": (None, _PATIENCE),
    "message.send.max.retries": (None, _PATIENCE),
    "message.max.bytes": (None, "the topic's own limit is used"),
    "delivery.report.only.error": (False, _NO_LOSS),
    "group.id": (None, "it is given as --group"),
    "group.instance.id": (None, "members of a group must be able to come and go"),
    "group.protocol": ("classic", _SHARING),
    "group.remote.assignor": (None, _SHARING),
    "partition.assignment.strategy": ("cooperative-sticky", _SHARING),
    "enable.auto.commit": (False, _COMMIT),
    "auto.commit.enable": (False, _COMMIT),
    "enable.auto.offset.store": (False, _COMMIT),
    "auto.offset.reset": ("earliest", _ALL_RECORDS),
    "allow.auto.create.topics": (False, "topics are only made on request, with fitting settings"),
    "check.crcs": (True, "what the broker sends must be checked"),
    "enable.partition.eof": (False, "the end of a partition is found by its offsets"),
}
# Other ways to write a value of the table above.
_SAME = {"-1": "all", "1": "true", "0": "false", "smallest": "earliest", "beginning": "earliest"}


@dataclass(frozen=True, slots=True, repr=False)
class KafkaSettings:
    """Where the brokers are, and anything the user wants to tell librdkafka (TLS, SASL, ...).

    Args:
        bootstrap_servers: "host:port", several separated by commas.
        client: librdkafka's own names and values; see its CONFIGURATION.md.

    Raises:
        ConfigError: a setting of `client` would break a promise of ours; it is named.
    """

    bootstrap_servers: str = DEFAULT_BOOTSTRAP_SERVERS
    client: Mapping[str, Setting] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.bootstrap_servers.strip():
            raise ConfigError("bootstrap servers", "none are named", "Give them as host:port.")
        for name, value in self.client.items():
            _check(name, value)
        object.__setattr__(self, "client", MappingProxyType(dict(self.client)))

    def __repr__(self) -> str:
        # Values may be passwords and keys: only names are shown.
        names = ", ".join(sorted(self.client))
        return f"KafkaSettings({self.bootstrap_servers!r}, client=<{names}>)"


def _check(name: str, value: object) -> None:
    what = f"client setting {name!r}"
    if not isinstance(value, (str, int, float, bool)):
        raise ConfigError(what, f"a {type(value).__name__} cannot be its value")
    if why := objection(name, value):
        raise ConfigError(what, why, f"Remove {name!r}.")


def is_protected(name: str) -> bool:
    """Is this a client setting on which a promise rests?"""
    return name in _PROTECTED


def objection(name: str, value: Setting) -> str | None:
    """Why this value of a client setting cannot be used; None if it can."""
    needed, reason = _PROTECTED.get(name, (value, ""))
    if needed is None:
        return f"it cannot be set here: {reason}"
    if _plain(value) != _plain(needed):
        return f"it must stay {str(needed).lower()}: {reason}"
    return None


def _plain(value: object) -> str:
    text = str(value).strip().lower()
    return _SAME.get(text, text)


def _merged(settings: KafkaSettings, defaults: Config, needs: Config) -> Config:
    return {
        **defaults,
        **settings.client,
        **needs,
        "bootstrap.servers": settings.bootstrap_servers,
        "logger": logger,
    }


def producer_config(settings: KafkaSettings, topic: TopicInfo) -> Config:
    """The configuration of a producer for records as large as `topic` takes them."""
    low, high = _MESSAGE_BYTES
    largest = min(max(topic.max_message_bytes, low), high)
    # A record that does not fit the queue at all would be refused for ever.
    queue_kib = max(64 * 1024, 2 * largest // 1024)
    defaults = {**_PRODUCER_DEFAULTS, "queue.buffering.max.kbytes": queue_kib}
    return _merged(settings, defaults, {**_PRODUCER_NEEDS, "message.max.bytes": largest})


def consumer_config(settings: KafkaSettings, group: str) -> Config:
    """The configuration of one member of `group`."""
    return _merged(settings, _CONSUMER_DEFAULTS, {**_CONSUMER_NEEDS, "group.id": group})


def reader_config(settings: KafkaSettings) -> Config:
    """The configuration of a consumer that belongs to no group and reads single records."""
    # confluent_kafka wants a group.id; nothing is subscribed or committed under it.
    needs = {**_CONSUMER_NEEDS, "group.id": "openmsi-reader", "auto.offset.reset": "error"}
    return _merged(settings, _READER_DEFAULTS, needs)


def admin_config(settings: KafkaSettings) -> Config:
    """The configuration of an administrative client."""
    return _merged(settings, _ADMIN_DEFAULTS, {})
