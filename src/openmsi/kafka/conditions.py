"""What the client reports aside from its answers: brokers that are away, logins that fail."""

from __future__ import annotations

import time
from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException

from openmsi.errors import BrokerUnreachable, OpenMSIError
from openmsi.kafka.mapping import is_unreachable, reason, to_error
from openmsi.kafka.seam import Notice

# How often, and how long, to ask whether an absent broker is back, in seconds.
_PROBE_EVERY = 2.0
_PROBE_TIMEOUT = 1.0


class Trouble:
    """Remembers, for a client that only answers questions, why a question has no answer."""

    def __init__(self) -> None:
        self.error: KafkaError | None = None

    def heard(self, error: KafkaError) -> None:
        """librdkafka's `error_cb`."""
        # "All brokers are down" says less than the reason that comes before or after it.
        if error.code() != KafkaError._ALL_BROKERS_DOWN or self.error is None:
            self.error = error

    def forget(self) -> None:
        self.error = None

    def blamed_for(self, error: KafkaError) -> KafkaError:
        """The error to report instead of `error`, which says only that no answer came."""
        vague = self.error is None or self.error.code() == KafkaError._ALL_BROKERS_DOWN
        return error if vague or self.error is None else self.error


# Asks any broker for anything, for at most so many seconds; raises KafkaException.
Probe = Callable[[float], object]


class Conditions:
    """Collects errors from librdkafka's `error_cb` and passes them on from within `poll`.

    librdkafka says "all brokers are down" also when an idle connection was closed, so that is
    checked before anybody is alarmed; and it never says that one is back, so that is asked.
    """

    def __init__(self, notice: Notice, where: str) -> None:
        self._notice = notice
        self._where = where
        self._reason = ""
        self._raise: OpenMSIError | None = None
        self._suspect = False
        self._told = False
        self._next_probe = 0.0
        self.fatal: OpenMSIError | None = None

    @property
    def doubtful(self) -> bool:
        """Is it worth calling `over`?"""
        return self._suspect or self._told

    def heard(self, error: KafkaError) -> None:
        """librdkafka's `error_cb`: only remembers, for it may be called anywhere."""
        if error.fatal():
            self.fatal = to_error(error, self._where)
        elif error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._suspect = True
        elif is_unreachable(error):
            self._reason = reason(error)
        else:
            found = to_error(error, self._where)
            if not found.retriable:
                self._raise = found

    def tell(self, probe: Probe) -> None:
        """Give notice of what was heard.

        Raises:
            OpenMSIError: of a kind that does not pass by itself, such as a refused login.
        """
        if self._raise is not None:
            error, self._raise = self._raise, None
            raise error
        if not self.doubtful or time.monotonic() < self._next_probe:
            return
        try:
            probe(_PROBE_TIMEOUT)
        except KafkaException as exception:
            self._next_probe = time.monotonic() + _PROBE_EVERY
            self._away(exception.args[0])
        else:
            self.over()

    def _away(self, error: KafkaError) -> None:
        if not is_unreachable(error):
            self.passing(to_error(error, self._where))
            return
        plain = to_error(error, self._where)
        self.passing(BrokerUnreachable(plain.what, self._reason or plain.why, plain.cure))

    def passing(self, error: OpenMSIError) -> None:
        """Give notice of a condition that will pass; until `over`, only once."""
        if not self._told:
            self._told = True
            self._notice(error)

    def over(self) -> None:
        """Something succeeded: whatever was wrong has passed."""
        self._suspect = False
        if self._told:
            self._told = False
            self._notice(None)
