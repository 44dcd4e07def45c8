"""Which partition a key belongs to: Kafka's own rule, for those who cannot ask librdkafka."""

from __future__ import annotations


def partition_of(key: bytes, partitions: int) -> int:
    """Where Kafka's Java client, and ours, put the records of `key`: murmur2, positive, modulo.

    The hash is org.apache.kafka.common.utils.Utils.murmur2, of 32 bits.
    """
    return (_murmur2(key) & 0x7FFFFFFF) % partitions


def _murmur2(data: bytes) -> int:
    mask, multiplier = 0xFFFFFFFF, 0x5BD1E995
    found = 0x9747B28C ^ len(data)
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        word = int.from_bytes(data[at : at + 4], "little") * multiplier & mask
        word = (word ^ word >> 24) * multiplier & mask
        found = (found * multiplier & mask) ^ word
    if rest := data[whole:]:
        found = (found ^ int.from_bytes(rest, "little")) * multiplier & mask
    found = (found ^ found >> 13) * multiplier & mask
    return found ^ found >> 15
