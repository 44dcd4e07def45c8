"""What a topic's settings mean for files."""

from __future__ import annotations

from collections.abc import Mapping

from openmsi.kafka.seam import TopicInfo
from openmsi.protocol import KAFKA_DEFAULT_MAX_MESSAGE_BYTES

_WEEK_MS = 604_800_000


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
