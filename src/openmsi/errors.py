"""Every error that openmsi raises on purpose, in one tree.

    OpenMSIError                 exit code
    ├── UsageError                   2   the command line asks for something impossible
    ├── SomeFailed                   3   the work was done, but not for every file
    ├── BrokerUnreachable  (retry)   4   nobody answers at the bootstrap address
    ├── NotAuthorized                5   the broker refuses the login or the operation
    ├── TopicError                   6   the topic is unknown, or its settings do not fit
    │   ├── RecordTooLarge           6   one record is larger than the topic takes
    │   └── TopicRemade      (retry)  6   the topic was deleted and made again meanwhile
    ├── LocalDiskError               7   a local file or directory cannot be used
    │   └── DiskFull       (retry)   7
    ├── InUse                        8   another program holds what we need
    ├── ConfigError                  9   a configuration file is wrong
    ├── LocalBrokerError            10   the local Apache Kafka cannot be fetched or started
    ├── KafkaFailure       (retry?) 11   any other error of the Kafka client
    ├── ServiceError                12   the service cannot be installed, or does not do as told
    └── RecordRejected               -   a record breaks the format; becomes a dead letter

Exit code 0 means that all that was asked for was done, 1 that openmsi itself is at fault.
Each error carries what failed, why, and what the person in front of it can do about it.
"""

from __future__ import annotations

from typing import ClassVar


class OpenMSIError(Exception):
    """Base of all errors above.

    Args:
        what: the thing that failed, as the user knows it: "topic 'ebsd'", "/data/out".
        why: the reason, in words.
        cure: what to do about it; empty when there is nothing to do.
    """

    exit_code: ClassVar[int] = 1
    retriable: bool = False

    def __init__(self, what: str, why: str = "", cure: str = "") -> None:
        super().__init__(what, why, cure)
        self.what = what
        self.why = why
        self.cure = cure

    def __str__(self) -> str:
        text = f"{self.what}: {self.why}" if self.why else self.what
        return f"{text}\n  {self.cure}" if self.cure else text


class UsageError(OpenMSIError):
    exit_code = 2


class SomeFailed(OpenMSIError):
    exit_code = 3


class BrokerUnreachable(OpenMSIError):
    exit_code = 4
    retriable = True


class NotAuthorized(OpenMSIError):
    exit_code = 5


class TopicError(OpenMSIError):
    exit_code = 6


class RecordTooLarge(TopicError):
    pass


class TopicRemade(TopicError):
    """What was known of the topic is void; start over with what it is now."""

    retriable = True

    def __init__(self, topic: str) -> None:
        super().__init__(f"topic {topic!r}", "it was deleted and made again")


class LocalDiskError(OpenMSIError):
    exit_code = 7


class DiskFull(LocalDiskError):
    retriable = True


class InUse(OpenMSIError):
    exit_code = 8


class ConfigError(OpenMSIError):
    exit_code = 9


class LocalBrokerError(OpenMSIError):
    exit_code = 10


class KafkaFailure(OpenMSIError):
    """An error of the Kafka client that has no name of its own above."""

    exit_code = 11

    def __init__(self, what: str, why: str = "", cure: str = "", *, retriable: bool = False):
        super().__init__(what, why, cure)
        self.retriable = retriable


class ServiceError(OpenMSIError):
    exit_code = 12


class RecordRejected(OpenMSIError):
    """A record that breaks the format. `reason` is a stable short name, `detail` says more.

    The receiver turns it into a dead letter; it never reaches a user as an exception.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail
