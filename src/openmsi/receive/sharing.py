"""Receivers that share a group on a topic with files of the older format.

The chunks of one such file lie in all partitions, so that only a receiver that has all of them can
rebuild it. Nothing is lost while several share them: each holds back its safe offsets. But nothing
is completed either, so all but one leave the group until it has no member.
"""

from __future__ import annotations

import time
from collections.abc import Collection

from openmsi.errors import OpenMSIError
from openmsi.events import Notice, Report
from openmsi.kafka.seam import Consumer, Rebalanced

ASK_SECONDS = 10.0


class Sharing:
    """Decides whether this receiver stays in its group.

    Args:
        partitions: how many the topic has.
        who: topic and group, for people.
    """

    def __init__(self, consumer: Consumer, partitions: int, who: str, report: Report) -> None:
        self._consumer = consumer
        self._partitions = partitions
        self._who = who
        self._report = report
        self._spread = False
        self._told = False
        self._standing_by = False
        self._ask_due = 0.0

    def saw_spread_file(self) -> None:
        """The topic has a file whose chunks lie in several partitions."""
        self._spread = True

    def look(self, owned: Collection[int], listener: Rebalanced) -> None:
        """Leave the group when somebody else should have our partitions; come back when nobody
        is there any more.

        The one with partition 0 stays: exactly one has it.
        """
        if self._standing_by:
            self._maybe_return(listener)
        elif not self._spread or not owned or len(owned) == self._partitions:
            self._told = False
        elif 0 not in owned:
            self._standing_by = True
            self._ask_due = time.monotonic() + ASK_SECONDS
            self._consumer.leave()
            self._report(
                Notice(
                    f"{self._who}: the files of this topic are spread over all its partitions"
                    " (the older format), so that one receiver must read them all. Another one of"
                    " the group does; this one stands by, and goes on if that one ends"
                )
            )
        elif not self._told:
            self._told = True
            self._report(
                Notice(
                    f"{self._who}: another receiver is in the group, but the files of this topic"
                    " are spread over all its partitions (the older format). This one takes all"
                    " of them as soon as the other gives way: a receiver of openmsi does so by"
                    " itself, any other must be ended, or be given another group"
                )
            )

    def _maybe_return(self, listener: Rebalanced) -> None:
        now = time.monotonic()
        if now < self._ask_due:
            return
        self._ask_due = now + ASK_SECONDS
        try:
            if self._consumer.members():
                return
        except OpenMSIError as error:
            if not error.retriable:
                raise
            return
        self._standing_by = False
        self._report(Notice(f"{self._who}: nobody else is in the group any more; receiving"))
        self._consumer.subscribe(listener)
