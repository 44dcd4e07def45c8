"""What a sender is asked to do, and what it counts while it does it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from openmsi.errors import RecordTooLarge
from openmsi.events import SendSummary
from openmsi.kafka.seam import TopicInfo
from openmsi.protocol import DEFAULT_CHUNK_SIZE
from openmsi.send.filters import Filter
from openmsi.send.formats import LEGACY_CHUNK_SIZE, NATIVE, Format

# Room in a record for the key, the headers (the path is in both) and Kafka's own fields.
RECORD_OVERHEAD_BYTES = 16 * 1024
LEAST_CHUNK_SIZE = 1024


class SendJob(msgspec.Struct, frozen=True):
    """What to send where.

    Args:
        root: the directory; its files are named relative to it.
        only: names of single files in `root` to send; None sends the whole tree.
        prefix: path in the topic under which the files are put; empty for none.
        chunk_size: bytes of a file in one record.
        source: who sends, for the first record of each version.
        settle: seconds without change after which a file counts as done.
        once: stop when all that was there is sent.
        new_only: leave alone what was there at the very first start.
        growing: send files while they are written; in the native format only.
        format: of the records that are written.
        max_rate: bytes of files a second, on average; None for as many as the line takes.
    """

    root: Path
    topic: TopicInfo
    chunk_size: int
    filter: Filter
    source: str
    only: frozenset[str] | None = None
    prefix: str = ""
    settle: float = 2.0
    once: bool = False
    new_only: bool = False
    growing: bool = False
    format: Format = NATIVE
    max_rate: float | None = None


class SendStats(msgspec.Struct):
    """Running totals, read by a progress display while the sender works. Sizes in bytes."""

    sent: int = 0
    bytes_sent: int = 0
    already_sent: int = 0
    failed: int = 0
    skipped: int = 0
    bytes_read: int = 0

    def summary(self, seconds: float) -> SendSummary:
        return SendSummary(
            self.sent, self.bytes_sent, self.already_sent, self.failed, self.skipped, seconds
        )


def fit_chunk_size(wanted: int | None, topic: TopicInfo, form: Format = NATIVE) -> int:
    """The chunk size in bytes for a topic: the wanted one, or the format's default made to fit.

    Raises:
        RecordTooLarge: the wanted size, or any useful one, does not fit the topic's limit.
    """
    most = topic.max_message_bytes - RECORD_OVERHEAD_BYTES
    if wanted is None and most >= LEAST_CHUNK_SIZE:
        return min(DEFAULT_CHUNK_SIZE if form == NATIVE else LEGACY_CHUNK_SIZE, most)
    if wanted is None or wanted > most:
        what = f"a chunk of {wanted or LEAST_CHUNK_SIZE} bytes"
        limit = f"topic {topic.name!r} takes records of at most {topic.max_message_bytes} bytes"
        cure = "Raise the topic's max.message.bytes."
        if most >= LEAST_CHUNK_SIZE:
            cure = f"Use --chunk-size {most} or less, or raise the topic's max.message.bytes."
        raise RecordTooLarge(what, limit, cure)
    return wanted
