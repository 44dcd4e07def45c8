"""The bare Kafka client: what anybody would write in a few lines, as a measure for openmsi.

    python -m benchmarks.bare send FILE BOOTSTRAP TOPIC CHUNK_SIZE
    python -m benchmarks.bare receive FILE BOOTSTRAP TOPIC BYTES

`send` has openmsi's guarantees for a record (acks=all, idempotence), `receive` writes the values
into one file and makes it durable. Neither has names, digests, a ledger or a resume.
"""

from __future__ import annotations

import os
import sys

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition


def send(file: str, bootstrap: str, topic: str, chunk_size: int) -> None:
    failed: list[KafkaError] = []

    def done(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failed.append(error)

    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 5,
            "message.max.bytes": 1_048_588,
            "queue.buffering.max.kbytes": 64 * 1024,
        }
    )
    with open(file, "rb") as source:
        while data := source.read(chunk_size):
            while True:
                try:
                    producer.produce(topic, data, b"key", on_delivery=done)
                    break
                except BufferError:
                    producer.poll(0.05)
            producer.poll(0)
    producer.flush()
    assert not failed, failed[0]


def receive(file: str, bootstrap: str, topic: str, size: int) -> None:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bare",
            "enable.auto.commit": False,
            "fetch.message.max.bytes": 2_010_000,
        }
    )
    partitions = consumer.list_topics(topic, 10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, each, 0) for each in partitions])
    with open(file, "wb", buffering=0) as target:
        while size > 0:
            for message in consumer.consume(16, 1.0):
                value = message.value() or b""
                target.write(value)
                size -= len(value)
        os.fsync(target.fileno())
    consumer.close()


if __name__ == "__main__":
    verb, file, bootstrap, topic, number = sys.argv[1:]
    {"send": send, "receive": receive}[verb](file, bootstrap, topic, int(number))
