"""What a topic's settings mean for files."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from openmsi.kafka.seam import TopicInfo
from openmsi.protocol import KAFKA_DEFAULT_MAX_MESSAGE_BYTES

_WEEK_MS = 604_800_000


class TopicHealth(msgspec.Struct, frozen=True):
    """How a topic is now, and what the one who asks may do with it.

    Args:
        settings_told: False if the broker does not tell the settings: `info` then has Kafka's
            defaults.
        stamped_by_broker: records get the broker's time, not that of who sends them.
        rights: "read", "write", "create", ...; None if the broker does not tell.
        without_leader: how many partitions nobody serves.
        least_in_sync: the fewest copies in sync that a partition has.
    """

    info: TopicInfo
    settings_told: bool
    stamped_by_broker: bool
    rights: frozenset[str] | None
    without_leader: int
    least_in_sync: int


def topic_info(
    name: str, topic_id: str, partitions: int, replication: int, settings: Mapping[str, str]
) -> TopicInfo:
    """Return what the topic is; what `settings` do not tell is as in Apache Kafka by default."""

    def limit(setting: str, default: int) -> int | None:
        found = int(settings.get(setting, default))
        return None if found < 0 else found

    return TopicInfo(
        name=name,
        topic_id=topic_id,
        partitions=partitions,
        replication=replication,
        max_message_bytes=int(settings.get("max.message.bytes", KAFKA_DEFAULT_MAX_MESSAGE_BYTES)),
        retention_ms=limit("retention.ms", _WEEK_MS),
        retention_bytes=limit("retention.bytes", -1),
        cleanup_policy=settings.get("cleanup.policy", "delete"),
        min_insync_replicas=int(settings.get("min.insync.replicas", 1)),
    )
