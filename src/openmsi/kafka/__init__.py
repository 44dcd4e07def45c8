"""Apache Kafka behind a narrow seam. The only package that imports the Kafka client."""

from openmsi.kafka.admin import KafkaAdmin, describe_topic, open_admin
from openmsi.kafka.consumer import KafkaConsumer, open_consumer
from openmsi.kafka.partitions import partition_of
from openmsi.kafka.producer import KafkaProducer, open_producer
from openmsi.kafka.seam import (
    Admin,
    Consumer,
    Delivery,
    Fetched,
    Notice,
    Producer,
    Rebalanced,
    TopicInfo,
)
from openmsi.kafka.settings import (
    DEFAULT_BOOTSTRAP_SERVERS,
    KafkaSettings,
    is_protected,
    objection,
)
from openmsi.kafka.topics import TopicHealth

__all__ = [
    "DEFAULT_BOOTSTRAP_SERVERS",
    "Admin",
    "Consumer",
    "Delivery",
    "Fetched",
    "KafkaAdmin",
    "KafkaConsumer",
    "KafkaProducer",
    "KafkaSettings",
    "Notice",
    "Producer",
    "Rebalanced",
    "TopicHealth",
    "TopicInfo",
    "describe_topic",
    "is_protected",
    "objection",
    "open_admin",
    "open_consumer",
    "open_producer",
    "partition_of",
]
