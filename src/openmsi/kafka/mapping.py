"""The one place where the Kafka client's errors become ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

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

_UNREACHABLE = {
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TRANSPORT,
    KafkaError._RESOLVE,
    KafkaError._TIMED_OUT,
    KafkaError._SSL,
}
_DENIED = {
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.UNSUPPORTED_SASL_MECHANISM,
    KafkaError.ILLEGAL_SASL_STATE,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError.DELEGATION_TOKEN_AUTHORIZATION_FAILED,
    KafkaError.SECURITY_DISABLED,
}
_UNKNOWN_TOPIC = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.UNKNOWN_TOPIC_ID,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
}
_BAD_TOPIC = {
    KafkaError.TOPIC_ALREADY_EXISTS,
    KafkaError.TOPIC_EXCEPTION,
    KafkaError.INVALID_PARTITIONS,
    KafkaError.INVALID_REPLICATION_FACTOR,
    KafkaError.INVALID_REPLICA_ASSIGNMENT,
    KafkaError.INVALID_CONFIG,
    KafkaError.POLICY_VIOLATION,
    KafkaError.TOPIC_DELETION_DISABLED,
}
_TOO_LARGE = {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE,
    KafkaError.INVALID_MSG_SIZE,
}
_MISCONFIGURED = {
    KafkaError._INVALID_ARG,
    KafkaError._NOT_CONFIGURED,
    KafkaError._UNSUPPORTED_FEATURE,
    KafkaError._INVALID_TYPE,
}
# Pass by themselves, or after the next rebalance; the client does not mark all of them so.
_PASSING = {
    KafkaError.UNKNOWN,  # a broker that is going down may answer so
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.NOT_CONTROLLER,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.REPLICA_NOT_AVAILABLE,
    KafkaError.BROKER_NOT_AVAILABLE,
    KafkaError.NETWORK_EXCEPTION,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.NOT_ENOUGH_REPLICAS,
    KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    KafkaError.KAFKA_STORAGE_ERROR,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.UNSTABLE_OFFSET_COMMIT,
    KafkaError.THROTTLING_QUOTA_EXCEEDED,
    # Another producer may go on where this one cannot.
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.INVALID_PRODUCER_ID_MAPPING,
    KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
    KafkaError.DUPLICATE_SEQUENCE_NUMBER,
    KafkaError.UNKNOWN_PRODUCER_ID,
    KafkaError.PRODUCER_FENCED,
    KafkaError._FATAL,
    KafkaError._FENCED,
    KafkaError._MSG_TIMED_OUT,
    KafkaError._TIMED_OUT_QUEUE,
    KafkaError._WAIT_COORD,
    KafkaError._WAIT_CACHE,
    KafkaError._IN_PROGRESS,
    KafkaError._PREV_IN_PROGRESS,
    KafkaError._RETRY,
    KafkaError._ASSIGNMENT_LOST,
    KafkaError._MAX_POLL_EXCEEDED,
    KafkaError._STATE,
    KafkaError._PURGE_QUEUE,
    KafkaError._PURGE_INFLIGHT,
    KafkaError._DESTROY,
    KafkaError._QUEUE_FULL,
    KafkaError._INTR,
    # Older clients do not have it; there it never comes.
    getattr(KafkaError, "_DESTROY_BROKER", KafkaError._DESTROY),
}

_CURE_UNREACHABLE = "Start one with `openmsi broker start`, or name yours with --bootstrap-servers."
_CURE_TLS = "Check security.protocol, ssl.ca.location and the broker's certificate."
_CURE_DENIED = "Check the login in the client settings, or ask for the right to do this."
_CURE_UNKNOWN = "Make it with `openmsi topic create NAME`, or check the name."
_CURE_LARGE = "Send smaller chunks, or raise the topic's max.message.bytes."
_CURE_REST = "If it stays, look at the broker's own log."


def is_unreachable(error: KafkaError) -> bool:
    """Is it only about a connection to a broker?"""
    return error.code() in _UNREACHABLE


def to_error(error: KafkaError, what: str) -> OpenMSIError:
    """The error of our tree for `error`, told about `what`: "topic 'ebsd'", "Kafka at a:9092"."""
    code, why = error.code(), reason(error)
    if code in _UNREACHABLE:
        cure = _CURE_TLS if code == KafkaError._SSL else _CURE_UNREACHABLE
        return BrokerUnreachable(what, why, cure)
    if code in _DENIED:
        return NotAuthorized(what, why, _CURE_DENIED)
    if code in _TOO_LARGE:
        return RecordTooLarge(what, why, _CURE_LARGE)
    if code in _UNKNOWN_TOPIC:
        return TopicError(what, why, _CURE_UNKNOWN)
    if code in _BAD_TOPIC:
        return TopicError(what, why, "Choose another name or other settings.")
    if code in _MISCONFIGURED:
        return ConfigError(what, why, "Correct the client settings.")
    passing = error.retriable() or error.fatal() or code in _PASSING
    return KafkaFailure(what, f"{why} [{error.name()}]", _CURE_REST, retriable=passing)


_NOTE = re.compile(r" \(after \d+ms in state .*\)$")
_ADDRESS = re.compile(r"^(?:\w+://)?(\S+?)/(?:bootstrap|\d+): (.*)$", re.DOTALL)
_SIDE = re.compile(r"\b(?:Local|Broker): ")


def reason(error: KafkaError) -> str:
    """librdkafka's reason, without what only its authors need."""
    text = _SIDE.sub("", _NOTE.sub("", error.str()))
    if found := _ADDRESS.match(text):
        address, rest = found.groups()
        text = rest if address in rest else f"{address}: {rest}"
    return text or error.name()


@contextmanager
def mapped(what: str) -> Iterator[None]:
    """Turn whatever confluent_kafka raises inside into an error of our tree about `what`."""
    try:
        yield
    except KafkaException as exception:
        error = exception.args[0] if exception.args else None
        if isinstance(error, KafkaError):
            raise to_error(error, what) from exception
        raise KafkaFailure(what, str(exception), _CURE_REST) from exception
