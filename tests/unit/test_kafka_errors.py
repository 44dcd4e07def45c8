"""Whatever the Kafka client reports becomes one of our errors, told so that a person can act."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from openmsi.errors import (
    BrokerUnreachable,
    ConfigError,
    KafkaFailure,
    NotAuthorized,
    OpenMSIError,
    RecordTooLarge,
    TopicError,
)
from openmsi.kafka.mapping import is_unreachable, mapped, reason, to_error

ALL_CODES = {
    name: value
    for name in dir(KafkaError)
    if not name.startswith("__") and isinstance(value := getattr(KafkaError, name), int)
}


def test_the_client_really_lists_its_codes() -> None:
    assert len(ALL_CODES) > 150


@pytest.mark.parametrize("name", ALL_CODES)
def test_every_code_has_a_what_a_why_and_a_cure(name: str) -> None:
    error = to_error(KafkaError(ALL_CODES[name]), "topic 'ebsd'")
    assert isinstance(error, OpenMSIError)
    assert error.exit_code > 1
    assert error.what == "topic 'ebsd'"
    assert error.why
    assert error.cure
    assert len(str(error).splitlines()) == 2


@pytest.mark.parametrize(
    ("kind", "retriable", "names"),
    [
        (BrokerUnreachable, True, "_ALL_BROKERS_DOWN _TRANSPORT _RESOLVE _TIMED_OUT _SSL"),
        (
            NotAuthorized,
            False,
            "_AUTHENTICATION SASL_AUTHENTICATION_FAILED UNSUPPORTED_SASL_MECHANISM "
            "TOPIC_AUTHORIZATION_FAILED GROUP_AUTHORIZATION_FAILED CLUSTER_AUTHORIZATION_FAILED",
        ),
        (
            TopicError,
            False,
            "UNKNOWN_TOPIC_OR_PART _UNKNOWN_TOPIC TOPIC_ALREADY_EXISTS TOPIC_EXCEPTION "
            "INVALID_PARTITIONS INVALID_REPLICATION_FACTOR",
        ),
        (RecordTooLarge, False, "MSG_SIZE_TOO_LARGE RECORD_LIST_TOO_LARGE"),
        (ConfigError, False, "_INVALID_ARG _NOT_CONFIGURED"),
        (
            KafkaFailure,
            True,
            "ILLEGAL_GENERATION REBALANCE_IN_PROGRESS UNKNOWN_MEMBER_ID _WAIT_COORD "
            "COORDINATOR_NOT_AVAILABLE NOT_ENOUGH_REPLICAS LEADER_NOT_AVAILABLE _PURGE_QUEUE",
        ),
        (KafkaFailure, False, "INVALID_RECORD _BAD_MSG OFFSET_METADATA_TOO_LARGE"),
    ],
)
def test_codes_become_the_errors_that_the_documentation_names(
    kind: type[OpenMSIError], retriable: bool, names: str
) -> None:
    for name in names.split():
        error = to_error(KafkaError(ALL_CODES[name]), "it")
        assert (type(error), error.retriable) == (kind, retriable), name


def test_what_the_client_calls_retriable_is_retriable() -> None:
    code = KafkaError.INVALID_RECORD
    assert to_error(KafkaError(code, retriable=True), "it").retriable
    assert to_error(KafkaError(code, fatal=True), "it").retriable
    assert not to_error(KafkaError(code), "it").retriable


def test_only_connections_count_as_unreachable() -> None:
    assert is_unreachable(KafkaError(KafkaError._TRANSPORT))
    assert not is_unreachable(KafkaError(KafkaError._AUTHENTICATION))


@pytest.mark.parametrize(
    ("told", "plain"),
    [
        (
            "localhost:9092/bootstrap: Connect to ipv4#127.0.0.1:9092 failed: Connection refused "
            "(after 0ms in state CONNECT)",
            "localhost:9092: Connect to ipv4#127.0.0.1:9092 failed: Connection refused",
        ),
        (
            "kafka:9092/bootstrap: Failed to resolve 'kafka:9092': Name or service not known "
            "(after 3ms in state CONNECT, 1 identical error(s) suppressed)",
            "Failed to resolve 'kafka:9092': Name or service not known",
        ),
        (
            "sasl_ssl://kafka:9093/2: SASL authentication error: Authentication failed",
            "kafka:9093: SASL authentication error: Authentication failed",
        ),
        (
            "Failed while waiting for controller: Local: Timed out",
            "Failed while waiting for controller: Timed out",
        ),
        ("Broker: Unknown topic or partition", "Unknown topic or partition"),
    ],
)
def test_the_reason_is_for_people(told: str, plain: str) -> None:
    assert reason(KafkaError(KafkaError._FAIL, told)) == plain


def test_exceptions_of_the_client_are_mapped_and_others_pass() -> None:
    with pytest.raises(TopicError) as caught, mapped("topic 'x'"):
        raise KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
    assert isinstance(caught.value.__cause__, KafkaException)
    with pytest.raises(KafkaFailure, match="strange"), mapped("it"):
        raise KafkaException("strange")
    with pytest.raises(ZeroDivisionError), mapped("it"):
        raise ZeroDivisionError
