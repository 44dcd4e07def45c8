"""What only the real client can show: bad addresses, refused settings, brokers that hang."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing

import pytest

from openmsi.errors import (
    BrokerUnreachable,
    ConfigError,
    OpenMSIError,
    TopicError,
)
from openmsi.kafka import (
    Consumer,
    Delivery,
    Fetched,
    KafkaSettings,
    Producer,
    TopicInfo,
    open_admin,
    open_consumer,
    open_producer,
)
from openmsi.kafka import consumer as consumer_module
from openmsi.protocol import Record, SafePoint

psutil = pytest.importorskip("psutil")

PATIENCE = 60.0
NOWHERE = "127.0.0.1:1"
Notices = list[OpenMSIError | None]


class Everything:
    """A listener that starts every partition at its beginning."""

    def __init__(self) -> None:
        self.owned: set[int] = set()

    def assigned(self, points: Mapping[int, SafePoint]) -> Mapping[int, int]:
        self.owned |= set(points)
        return dict.fromkeys(points, -2)

    def revoked(self, partitions: Collection[int]) -> None:
        self.owned -= set(partitions)

    lost = revoked


def info(name: str, partitions: int = 1) -> TopicInfo:
    return TopicInfo(name, "", partitions, 1, 1_048_588, None, None, "delete", 1)


def until(condition: Callable[[], object], step: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        step()


def receive(consumer: Consumer, count: int) -> list[Fetched]:
    got: list[Fetched] = []
    until(lambda: len(got) >= count, lambda: got.extend(consumer.poll(100, 0.1)))
    return got


def deliveries(producer: Producer, count: int) -> list[Delivery]:
    found: list[Delivery] = []
    until(lambda: len(found) >= count, lambda: found.extend(producer.poll(0.1)))
    assert producer.poll(0) == []
    assert len(found) == count
    return found


# -- settings ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("acks", "1", "in-sync replica"),
        ("request.required.acks", 0, "in-sync replica"),
        ("enable.idempotence", "false", "in order"),
        ("max.in.flight", 100, "in order"),
        ("partitioner", "random", "share a partition"),
        ("message.timeout.ms", "30000", "time passed"),
        ("retries", 3, "time passed"),
        ("transactional.id", "x", "transactions"),
        ("enable.auto.commit", "true", "on disk"),
        ("enable.auto.offset.store", True, "on disk"),
        ("auto.offset.reset", "latest", "missing"),
        ("partition.assignment.strategy", "range", "share partitions"),
        ("group.protocol", "consumer", "share partitions"),
        ("group.id", "mine", "--group"),
        ("bootstrap.servers", "elsewhere:9092", "--bootstrap-servers"),
        ("check.crcs", False, "checked"),
    ],
)
def test_a_setting_that_breaks_a_promise_is_refused_with_the_reason(
    name: str, value: str | int | bool, reason: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        KafkaSettings(client={name: value})
    assert repr(name) in caught.value.what
    assert reason in caught.value.why
    assert name in caught.value.cure


def test_a_setting_that_says_what_we_do_anyway_is_accepted() -> None:
    settings = KafkaSettings(
        "a:1", {"acks": "-1", "enable.idempotence": "true", "auto.offset.reset": "smallest"}
    )
    assert settings.client["acks"] == "-1"


def test_only_plain_values_are_settings() -> None:
    with pytest.raises(ConfigError, match="error_cb"):
        KafkaSettings(client={"error_cb": print})  # type: ignore[dict-item]
    with pytest.raises(ConfigError, match="bootstrap"):
        KafkaSettings(" ")


def test_secrets_are_not_shown() -> None:
    settings = KafkaSettings("kafka:9093", {"sasl.username": "me", "sasl.password": "pssst"})
    for text in (repr(settings), str(settings), f"{settings}"):
        assert "kafka:9093" in text
        assert "sasl.password" in text
        assert "pssst" not in text


@pytest.mark.parametrize(
    "client", [{"no.such.thing": 1}, {"socket.timeout.ms": "soon"}, {"security.protocol": "magic"}]
)
def test_what_librdkafka_does_not_know_or_accept_is_named(client: Mapping[str, str]) -> None:
    settings = KafkaSettings(client=client)
    for open_it in (
        lambda: open_admin(settings),
        lambda: open_producer(settings, info("t"), print),
        lambda: open_consumer(settings, "t", "g", print),
    ):
        with pytest.raises(ConfigError, match=next(iter(client))):
            open_it()


# -- nobody there --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "why"),
    [(NOWHERE, "refused"), ("no-such-host.invalid:9092", "resolve 'no-such-host.invalid:9092'")],
)
def test_a_wrong_address_is_reported_soon_and_clearly(address: str, why: str) -> None:
    began = time.monotonic()
    with closing(open_admin(KafkaSettings(address))) as admin:
        with pytest.raises(BrokerUnreachable) as caught:
            admin.describe_topic("t")
        assert time.monotonic() - began < 6
        assert address in caught.value.what
        assert why in caught.value.why
        assert "openmsi broker start" in caught.value.cure
        assert "--bootstrap-servers" in caught.value.cure
        began = time.monotonic()
        with pytest.raises(BrokerUnreachable, match=why):
            admin.read("t", 0, 0)
        assert time.monotonic() - began < 10


def test_a_server_that_is_not_kafka_is_reported_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"

        def hang_up() -> None:
            while True:
                try:
                    server.accept()[0].close()
                except OSError:
                    return

        thread = threading.Thread(target=hang_up)
        thread.start()
        try:
            admin = open_admin(KafkaSettings(address))
            with pytest.raises(BrokerUnreachable, match=address):
                admin.create_topic("t", 1, {})
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_producer_waits_for_an_absent_broker_and_lets_go_quietly(
    capfd: pytest.CaptureFixture[str],
) -> None:
    notices: Notices = []
    producer = open_producer(KafkaSettings(NOWHERE), info("t"), notices.append)
    for number in range(100):
        assert producer.produce(Record(b"k", b"v" * 1000, []), number)
    until(lambda: notices, lambda: producer.poll(0.1))
    assert isinstance(notices[0], BrokerUnreachable)
    assert "refused" in notices[0].why
    assert producer.poll(1) == []
    assert len(notices) == 1
    began = time.monotonic()
    producer.close()
    assert time.monotonic() - began < 1.5
    assert capfd.readouterr() == ("", "")


def test_a_consumer_waits_for_an_absent_broker_and_lets_go_quietly(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer_module, "_TIMEOUT", 1.0)
    notices: Notices = []
    consumer = open_consumer(KafkaSettings(NOWHERE), "t", "g", notices.append)
    consumer.subscribe(Everything())
    until(lambda: notices, lambda: consumer.poll(10, 0.1))
    assert isinstance(notices[0], BrokerUnreachable)
    with pytest.raises(BrokerUnreachable):
        consumer.offsets(0)
    began = time.monotonic()
    consumer.close()
    assert time.monotonic() - began < 1.5
    assert len(notices) == 1
    assert capfd.readouterr() == ("", "")


# -- a real broker -------------------------------------------------------------------------


@pytest.fixture
def topic(kafka_bootstrap: str, topic_name: str) -> Iterator[TopicInfo]:
    with closing(open_admin(KafkaSettings(kafka_bootstrap))) as admin:
        yield admin.create_topic(topic_name, 1, {})


def test_tls_to_a_broker_without_it_is_unreachable_with_a_cure(kafka_bootstrap: str) -> None:
    settings = KafkaSettings(kafka_bootstrap, {"security.protocol": "ssl"})
    with pytest.raises(BrokerUnreachable, match=kafka_bootstrap):
        open_admin(settings).describe_topic("t")


def test_producing_and_consuming_leave_nothing_behind(
    kafka_bootstrap: str, topic: TopicInfo, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = KafkaSettings(kafka_bootstrap)

    def once() -> None:
        notices: Notices = []
        with closing(open_producer(settings, topic, notices.append)) as producer:
            producer.produce(Record(b"k", b"v", []), 0)
            deliveries(producer, 1)
        group = f"leak-{time.monotonic_ns()}"
        with closing(open_consumer(settings, topic.name, group, notices.append)) as consumer:
            consumer.subscribe(Everything())
            receive(consumer, 1)
        with closing(open_admin(settings)) as admin:
            assert admin.read(topic.name, 0, 0)
        assert notices == []

    once()
    process = psutil.Process()
    threads, files = process.num_threads(), process.num_fds()
    for _ in range(3):
        once()
    until(
        lambda: process.num_threads() <= threads and process.num_fds() <= files,
        lambda: time.sleep(0.05),
    )
    assert capfd.readouterr() == ("", "")


def test_a_topic_deleted_under_way_stops_both_sides_with_its_name(
    kafka_bootstrap: str, topic: TopicInfo
) -> None:
    # After a topic is made, some broker may not know it yet: librdkafka waits 30 s before it
    # believes that there is none.
    settings = KafkaSettings(kafka_bootstrap, {"topic.metadata.propagation.max.ms": 1000})
    with (
        closing(open_producer(settings, topic, print)) as producer,
        closing(open_consumer(settings, topic.name, "g-" + topic.name, print)) as consumer,
    ):
        consumer.subscribe(Everything())
        producer.produce(Record(b"k", b"v", []), 0)
        deliveries(producer, 1)
        receive(consumer, 1)
        with closing(open_admin(settings)) as admin:
            admin.delete_topic(topic.name)
        failed: list[OpenMSIError] = []

        def send_one() -> None:
            producer.produce(Record(b"k", b"v", []), 1)
            failed.extend(each.error for each in deliveries(producer, 1) if each.error)

        # A broker may still take a record while it is deleting.
        until(lambda: failed, send_one)
        assert isinstance(failed[0], TopicError)
        assert topic.name in failed[0].what
        with pytest.raises(TopicError, match=topic.name):
            until(lambda: False, lambda: consumer.poll(10, 0.1))


def test_what_is_fetched_ahead_is_bounded(kafka_bootstrap: str, topic: TopicInfo) -> None:
    settings = KafkaSettings(kafka_bootstrap)
    value = os.urandom(1_000_000)
    with closing(open_producer(settings, topic, print)) as producer:
        for number in range(150):
            until(
                lambda number=number: producer.produce(Record(b"k", value, []), number),  # type: ignore[misc]
                lambda: producer.poll(0.1),
            )
            producer.poll(0)
    process = psutil.Process()
    with closing(open_consumer(settings, topic.name, "g-" + topic.name, print)) as consumer:
        consumer.subscribe(Everything())
        consumer.poll(1, 10)
        before = process.memory_info().rss
        time.sleep(1)
        assert process.memory_info().rss - before < 80_000_000
