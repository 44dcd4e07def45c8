"""Where a partition begins and ends, with a true reason when that cannot be told."""

from __future__ import annotations

from confluent_kafka import Consumer as Client
from confluent_kafka import KafkaError, KafkaException, TopicPartition


def watermarks(client: Client, topic: str, partition: int, timeout: float) -> tuple[int, int]:
    """The first offset that exists and the one after the last, within `timeout` seconds twice.

    Raises:
        KafkaException: its first argument is the KafkaError.
    """
    place = TopicPartition(topic, partition)
    try:
        return _ask(client, place, timeout)
    except KafkaException as exception:
        # librdkafka calls a partition unknown also while no broker is there to tell it.
        if exception.args[0].code() != KafkaError._UNKNOWN_PARTITION:
            raise
    found = client.list_topics(topic, timeout).topics[topic]
    if found.error is not None:
        raise KafkaException(found.error)
    if partition not in found.partitions:
        raise KafkaException(KafkaError(KafkaError._UNKNOWN_PARTITION, f"no partition {partition}"))
    return _ask(client, place, timeout)


def _ask(client: Client, place: TopicPartition, timeout: float) -> tuple[int, int]:
    # In spite of its type it returns None when the time is over.
    found: tuple[int, int] | None = client.get_watermark_offsets(place, timeout)
    if found is None:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"no answer for {timeout:.0f} s"))
    return found
