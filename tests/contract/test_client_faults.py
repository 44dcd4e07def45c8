"""What a broker can do to us: librdkafka's own mock broker, driven through ctypes."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import confluent_kafka
import pytest
from kafkas import Member, poll_until, settled

from openmsi.errors import (
    BrokerUnreachable,
    KafkaFailure,
    NotAuthorized,
    OpenMSIError,
)
from openmsi.kafka import (
    KafkaProducer,
    KafkaSettings,
    TopicInfo,
    open_admin,
    open_consumer,
    open_producer,
)
from openmsi.kafka import consumer as consumer_module
from openmsi.protocol import Record, SafePoint


def info(name: str) -> TopicInfo:
    return TopicInfo(name, "", 1, 1, 1_048_588, None, None, "delete", 1)


_BUNDLED = Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs"
PRODUCE, INIT_PRODUCER_ID, OFFSET_FETCH = 0, 22, 9
OUT_OF_ORDER, DUPLICATE, CLUSTER_DENIED, REBALANCING = 45, 46, 31, 27


class MockCluster:
    """One broker inside this process that can be told to err or to fall silent."""

    def __init__(self) -> None:
        found = sorted(_BUNDLED.glob("librdkafka*.so*"))
        if not found:
            pytest.skip("librdkafka is not bundled as a shared library here")
        self._lib = ctypes.CDLL(str(found[0]))
        for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
            getattr(self._lib, name).restype = ctypes.c_void_p
        self._lib.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        conf = ctypes.c_void_p(self._lib.rd_kafka_conf_new())
        reason = ctypes.create_string_buffer(256)
        self._lib.rd_kafka_conf_set(conf, b"bootstrap.servers", b"127.0.0.1:1", reason, 256)
        self._lib.rd_kafka_conf_set(conf, b"log_level", b"0", reason, 256)
        self._handle = ctypes.c_void_p(self._lib.rd_kafka_new(0, conf, reason, 256))
        self._cluster = ctypes.c_void_p(self._lib.rd_kafka_mock_cluster_new(self._handle, 1))
        self._lib.rd_kafka_mock_topic_create(self._cluster, b"t", 1, 1)
        self.settings = KafkaSettings(
            self._lib.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()
        )

    def answer_with(self, api: int, *codes: int) -> None:
        """The next requests of this kind get these errors."""
        self._lib.rd_kafka_mock_push_request_errors(
            self._cluster,
            ctypes.c_int16(api),
            ctypes.c_size_t(len(codes)),
            *[ctypes.c_int(each) for each in codes],
        )

    def answer_after(self, milliseconds: int) -> None:
        self._lib.rd_kafka_mock_broker_set_rtt(self._cluster, -1, milliseconds)

    def close(self) -> None:
        self._lib.rd_kafka_mock_cluster_destroy(self._cluster)
        self._lib.rd_kafka_destroy(self._handle)


@pytest.fixture
def mock() -> Iterator[MockCluster]:
    with closing(MockCluster()) as cluster:
        yield cluster


def producer_of(mock: MockCluster) -> KafkaProducer:
    return open_producer(mock.settings, info("t"), print)


def test_a_fatal_error_fails_every_token_once_and_another_producer_goes_on(
    mock: MockCluster,
) -> None:
    with closing(producer_of(mock)) as producer:
        producer.produce(Record(b"k", b"v", []), "first")
        assert settled(producer, 1)[0].error is None
        mock.answer_with(PRODUCE, OUT_OF_ORDER)
        for number in range(20):
            assert producer.produce(Record(b"k", b"v", []), number)
        failed = settled(producer, 20)
        assert sorted(str(each.token) for each in failed) == sorted(map(str, range(20)))
        assert all(each.error is not None and each.error.retriable for each in failed)
        assert producer.produce(Record(b"k", b"v", []), "late")
        late = settled(producer, 1)[0]
        assert late.token == "late"
        assert late.error == failed[0].error
    with closing(producer_of(mock)) as producer:
        producer.produce(Record(b"k", b"v", []), "again")
        assert settled(producer, 1)[0].error is None


# The refusal comes while the record waits, or before there is one.
@pytest.mark.parametrize("pause", [0.0, 1.0])
def test_a_producer_that_may_not_write_at_all_says_so(mock: MockCluster, pause: float) -> None:
    mock.answer_with(INIT_PRODUCER_ID, *[CLUSTER_DENIED] * 5)
    with closing(producer_of(mock)) as producer:
        time.sleep(pause)
        producer.produce(Record(b"k", b"v", []), 0)
        error = settled(producer, 1)[0].error
    assert isinstance(error, NotAuthorized)
    assert "Cluster authorization failed" in error.why


def test_an_acknowledgement_without_a_true_offset_is_not_believed(mock: MockCluster) -> None:
    with closing(producer_of(mock)) as producer:
        for number in range(3):
            producer.produce(Record(b"k", b"v", []), number)
        settled(producer, 3)
        mock.answer_with(PRODUCE, DUPLICATE)
        for number in range(3):
            producer.produce(Record(b"k", b"v", []), number)
        for each in settled(producer, 3):
            assert isinstance(each.error, KafkaFailure)
            assert each.error.retriable


def joined(mock: MockCluster, notices: list[OpenMSIError | None]) -> Member:
    member = Member(open_consumer(mock.settings, "t", "g", notices.append))
    poll_until(lambda: bool(member.owned), member)
    return member


def test_a_failed_question_for_committed_offsets_is_asked_again(mock: MockCluster) -> None:
    with closing(producer_of(mock)) as producer:
        producer.produce(Record(b"k", b"v", []), 0)
        settled(producer, 1)
    notices: list[OpenMSIError | None] = []
    mock.answer_with(OFFSET_FETCH, *[REBALANCING] * 4)
    with closing(joined(mock, notices)) as member:
        poll_until(lambda: len(member.got) == 1, member)
    assert [type(each) for each in notices] == [KafkaFailure, type(None)]


def test_a_broker_that_falls_silent_cannot_hold_commit_and_close(
    mock: MockCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer_module, "_TIMEOUT", 2.0)
    monkeypatch.setattr(consumer_module, "_CLOSE_TIMEOUT", 1.0)
    member = joined(mock, [])
    mock.answer_after(60_000)
    began = time.monotonic()
    with pytest.raises(BrokerUnreachable) as caught:
        member.consumer.commit({0: SafePoint(1, 1)})
    assert caught.value.retriable
    assert time.monotonic() - began < 3
    member.close()
    assert member.owned == set()
    assert time.monotonic() - began < 5
    mock.answer_after(0)


@pytest.fixture
def topic(kafka_bootstrap: str, topic_name: str) -> Iterator[TopicInfo]:
    with closing(open_admin(KafkaSettings(kafka_bootstrap))) as admin:
        yield admin.create_topic(topic_name, 1, {})
        admin.delete_topic(topic_name)


def test_header_names_that_are_not_text_do_not_stop_the_stream(
    mock: MockCluster, kafka_bootstrap: str, topic: TopicInfo
) -> None:
    lib, reason = mock._lib, ctypes.create_string_buffer(256)
    conf = ctypes.c_void_p(lib.rd_kafka_conf_new())
    lib.rd_kafka_conf_set(conf, b"bootstrap.servers", kafka_bootstrap.encode(), reason, 256)
    raw = ctypes.c_void_p(lib.rd_kafka_new(0, conf, reason, 256))
    # rd_kafka_vtype_t: 0 end, 1 topic, 4 value, 7 flags (2: copy), 9 one header.
    for _ in range(50):
        number, text, length = ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t
        lib.rd_kafka_producev(
            *(raw, number(1), text(topic.name.encode()), number(7), number(2)),
            *(number(4), text(b"value"), length(5)),
            *(number(9), text(b"\xff\xfe"), text(b"x"), length(1), number(0)),
        )
    lib.rd_kafka_flush(raw, 10_000)
    lib.rd_kafka_destroy(raw)
    settings = KafkaSettings(kafka_bootstrap)
    consumer = open_consumer(settings, topic.name, "g-" + topic.name, print)
    with closing(Member(consumer)) as member:
        poll_until(lambda: len(member.got) == 50, member)
    assert [each.record for each in member.got] == [Record(None, b"value", [])] * 50
