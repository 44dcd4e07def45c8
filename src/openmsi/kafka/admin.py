"""Looking at topics, making and deleting them, and reading single records."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, wait
from enum import Enum
from functools import partial
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # it has no __all__
    AdminClient,
    ConfigEntry,
    ConfigResource,
    ConsumerGroupDescription,
    NewTopic,
    OffsetSpec,
    ResourceType,
    TopicDescription,
)

from openmsi.errors import KafkaFailure, NotAuthorized, TopicError
from openmsi.kafka.conditions import Trouble
from openmsi.kafka.mapping import is_unreachable, mapped, to_error
from openmsi.kafka.reader import Reader
from openmsi.kafka.seam import Fetched, TopicInfo
from openmsi.kafka.settings import Config, KafkaSettings, admin_config
from openmsi.kafka.topics import TopicHealth, topic_info

# Seconds until an unanswered request is an error; sooner when no connection could be made.
_ANSWER_TIMEOUT = 10.0
_CONNECT_TIMEOUT = 4.5
_STEP = 0.05

_T = TypeVar("_T")


class KafkaAdmin:
    """The real `Admin`; `open_admin` makes one. Nothing connects before the first question."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._where = f"Kafka at {settings.bootstrap_servers}"
        self._trouble = Trouble()
        config: Config = {**admin_config(settings), "error_cb": self._trouble.heard}
        with mapped("Kafka client"):
            self._client = AdminClient(config)
        self._reader: Reader | None = None

    def describe_topic(self, name: str) -> TopicInfo:
        """See `Admin.describe_topic`. Also raises BrokerUnreachable and NotAuthorized."""
        return _info(self._describe(name), self._topic_settings(name))

    def create_topic(self, name: str, partitions: int, settings: Mapping[str, str]) -> TopicInfo:
        """See `Admin.create_topic`. Returns when every partition has a leader."""
        new = NewTopic(name, partitions, replication_factor=-1, config=dict(settings))
        self._ask(lambda: self._client.create_topics([new])[name], f"topic {name!r}")
        deadline = time.monotonic() + _ANSWER_TIMEOUT
        while True:
            try:
                found = self._describe(name)
                if len(found.partitions) == partitions and all(p.leader for p in found.partitions):
                    return _info(found, self._topic_settings(name))
            except TopicError:
                pass  # made, but not every broker knows of it yet
            if time.monotonic() > deadline:
                why = f"made, but some partition has no leader after {_ANSWER_TIMEOUT:.0f} s"
                raise KafkaFailure(f"topic {name!r}", why, retriable=True)
            time.sleep(_STEP)

    def delete_topic(self, name: str) -> None:
        """See `Admin.delete_topic`. Returns when the topic is gone."""
        self._ask(lambda: self._client.delete_topics([name])[name], f"topic {name!r}")
        deadline = time.monotonic() + _ANSWER_TIMEOUT
        while time.monotonic() < deadline:
            try:
                self._describe(name)
            except TopicError:
                return
            time.sleep(_STEP)

    def read(self, topic: str, partition: int, offset: int) -> Fetched | None:
        """See `Admin.read`. Reading a partition forwards is as fast as consuming it."""
        if self._reader is None:
            self._reader = Reader(self._settings)
        return self._reader.read(topic, partition, offset)

    def members(self, group: str) -> int:
        """How many members a consumer group has.

        Raises:
            BrokerUnreachable, NotAuthorized: as for all questions.
        """
        return len(self._describe_group(group).members)

    # -- what `openmsi doctor` asks; nothing of it leaves a trace ------------------------------

    def brokers(self) -> tuple[str, ...]:
        """HOST:PORT of each broker of the cluster, as it tells its clients to come.

        Raises:
            BrokerUnreachable, NotAuthorized: as for all questions.
        """
        found = self._ask(self._client.describe_cluster, self._where)
        return tuple(
            f"[{each.host}]:{each.port}" if ":" in each.host else f"{each.host}:{each.port}"
            for each in found.nodes
        )

    def topic_health(self, name: str) -> TopicHealth:
        """How the topic is now, and what this user may do with it.

        Raises:
            TopicError, BrokerUnreachable, NotAuthorized: as `describe_topic`.
        """
        found = self._describe(name, include_authorized_operations=True)
        entries = self._topic_settings(name)
        stamped = entries.get("message.timestamp.type")
        parts = found.partitions
        return TopicHealth(
            _info(found, entries),
            bool(entries),
            stamped is not None and stamped.value == "LogAppendTime",
            _rights(found.authorized_operations),
            sum(each.leader is None for each in parts),
            min((len(each.isr) for each in parts), default=0),
        )

    def group_rights(self, group: str) -> frozenset[str] | None:
        """What this user may do with a consumer group: "read", ...; None if nobody tells.

        A cluster that never had a group makes its own topic for them, as any such question does.

        Raises:
            BrokerUnreachable, NotAuthorized: as for all questions.
        """
        found = self._describe_group(group, include_authorized_operations=True)
        return _rights(found.authorized_operations)

    def check_create(self, name: str) -> None:
        """Ask whether a topic of this name could be made, without making it.

        Raises:
            NotAuthorized: this user may not.
            TopicError: the name is impossible, or taken.
            BrokerUnreachable: as for all questions.
        """
        new = NewTopic(name, 1, replication_factor=-1)
        self._ask(
            lambda: self._client.create_topics([new], validate_only=True)[name], f"topic {name!r}"
        )

    def newest_ms(self, topic: TopicInfo) -> int | None:
        """The latest timestamp of the topic's records, in ms since 1970; None if it has none.

        Raises:
            BrokerUnreachable, NotAuthorized: as for all questions.
        """
        newest = OffsetSpec.max_timestamp()  # type: ignore[no-untyped-call]
        places = {TopicPartition(topic.name, each): newest for each in range(topic.partitions)}
        what = f"topic {topic.name!r}"
        with mapped(what):
            asked = self._client.list_offsets(places)
        found = [self._ask(partial(asked.__getitem__, each), what).timestamp for each in places]
        return max((each for each in found if each >= 0), default=None)

    def close(self) -> None:
        """Let go of all connections."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _describe(self, name: str, **more: Any) -> TopicDescription:
        topics = TopicCollection([name])
        found: TopicDescription = self._ask(
            lambda: self._client.describe_topics(topics, **more)[name], f"topic {name!r}"
        )
        return found

    def _describe_group(self, group: str, **more: Any) -> ConsumerGroupDescription:
        found: ConsumerGroupDescription = self._ask(
            lambda: self._client.describe_consumer_groups([group], **more)[group],
            f"group {group!r}",
        )
        return found

    def _topic_settings(self, name: str) -> dict[str, ConfigEntry]:
        resource = ConfigResource(ResourceType.TOPIC, name)
        try:
            return self._ask(
                lambda: self._client.describe_configs([resource])[resource], f"topic {name!r}"
            )
        except NotAuthorized:
            return {}  # many clusters let users write but not look: Kafka's defaults then

    def _ask(self, start: Callable[[], Future[_T]], what: str) -> _T:
        """Wait for the answer to a request, and find out why there is none."""
        trouble = self._trouble
        trouble.forget()
        with mapped(what):
            answer = start()
        begun = time.monotonic()
        while not answer.done():
            wait([answer], _STEP)  # which another thread of the client brings
            self._client.poll(0)
            waited = time.monotonic() - begun
            if trouble.error is not None and not is_unreachable(trouble.error):
                raise to_error(trouble.error, self._where)
            if waited > (_CONNECT_TIMEOUT if trouble.error is not None else _ANSWER_TIMEOUT):
                silent = KafkaError(KafkaError._TIMED_OUT, f"no answer within {waited:.0f} s")
                raise to_error(trouble.blamed_for(silent), self._where)
        try:
            return answer.result()
        except KafkaException as exception:
            error: KafkaError = exception.args[0]
            if is_unreachable(error):
                raise to_error(trouble.blamed_for(error), self._where) from exception
            raise to_error(error, what) from exception


def _info(topic: TopicDescription, entries: Mapping[str, ConfigEntry]) -> TopicInfo:
    settings = {name: each.value for name, each in entries.items() if each.value is not None}
    replication = min((len(each.replicas) for each in topic.partitions), default=0)
    return topic_info(topic.name, str(topic.topic_id), len(topic.partitions), replication, settings)


def _rights(operations: Iterable[Enum] | None) -> frozenset[str] | None:
    return None if operations is None else frozenset(each.name.lower() for each in operations)


def count_members(settings: KafkaSettings, group: str) -> int:
    """See `KafkaAdmin.members`; with connections of its own."""
    admin = KafkaAdmin(settings)
    try:
        return admin.members(group)
    finally:
        admin.close()


def describe_topic(settings: KafkaSettings, name: str) -> TopicInfo:
    """See `Admin.describe_topic`; with connections of its own. Also shows that the brokers can be
    reached, and with whose rights."""
    admin = KafkaAdmin(settings)
    try:
        return admin.describe_topic(name)
    finally:
        admin.close()


def open_admin(settings: KafkaSettings) -> KafkaAdmin:
    """Return an `Admin`; `close` it when done.

    Raises:
        ConfigError: the client does not know or accept a setting.
    """
    return KafkaAdmin(settings)
