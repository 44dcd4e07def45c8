"""What a receiver is asked to do, and what it counts while it does it."""

from __future__ import annotations

import msgspec

from openmsi.events import ReceiveSummary
from openmsi.kafka.seam import TopicInfo


class ReceiveJob(msgspec.Struct, frozen=True):
    """What to receive.

    Args:
        until_end: stop where the topic ended when its partitions were assigned.
        stale_after: seconds after which an unfinished version holds nothing back any more.
        destination: where the files go, for those who are told.
    """

    topic: TopicInfo
    group: str
    until_end: bool = False
    stale_after: float = 86_400.0
    destination: str = ""


class ReceiveStats(msgspec.Struct):
    """Running totals, read by a progress display while the receiver works. Sizes in bytes."""

    rebuilt: int = 0
    bytes_rebuilt: int = 0
    bytes_received: int = 0
    records: int = 0
    dead_letters: int = 0
    open: int = 0
    lag: int = 0  # records that are in the topic and were not received yet

    def summary(self, incomplete: int, seconds: float) -> ReceiveSummary:
        return ReceiveSummary(
            self.rebuilt, self.bytes_rebuilt, self.dead_letters, incomplete, seconds
        )
