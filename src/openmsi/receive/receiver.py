"""The receiving loop: records in, complete and verified files out.

One thread owns all of this; rebalances are told from inside `Consumer.poll`, so in it too.
"""

from __future__ import annotations

import errno
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping

from openmsi.errors import (
    DiskFull,
    LocalDiskError,
    OpenMSIError,
    RecordRejected,
    TopicRemade,
)
from openmsi.events import (
    DeadLetter,
    FileRebuilt,
    Notice,
    ReceiveSummary,
    Report,
    Started,
    Waits,
)
from openmsi.kafka.seam import Consumer, Fetched
from openmsi.kafka.seam import Notice as OnNotice
from openmsi.protocol import (
    Abort,
    Chunk,
    LegacyChunk,
    Manifest,
    SafePoint,
    VersionId,
    decode,
)
from openmsi.receive.assembly import (
    Assembler,
    Discard,
    Effect,
    Publish,
    Tell,
    Verify,
    Write,
)
from openmsi.receive.ending import TopicEnd
from openmsi.receive.job import ReceiveJob, ReceiveStats
from openmsi.receive.journal import Journaling
from openmsi.receive.resume import where_to_start
from openmsi.receive.sharing import Sharing
from openmsi.receive.sink import Refused, Sink
from openmsi.receive.spool import Spool
from openmsi.state import disk_error

log = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 1.0
CHECKPOINT_BYTES = 64 * 2**20
STALE_CHECK_SECONDS = 60.0
POLL_SECONDS = 0.1
# Taken at a time. Of large records only a few: memory that is used again soon is still in the
# processor's cache, and is not given back to the system in between (a fifth of the rate).
BATCH_BYTES = 2 * 2**20
MAX_BATCH = 1000
VERIFY_BYTES = 256 * 2**20  # read between two polls; about a second
_PASSING = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.EAGAIN}
_TOO_FAR = {errno.EFBIG, errno.EINVAL, errno.EOVERFLOW}


class Receiver:
    """Rebuilds the files of one topic into a sink, as a member of a consumer group.

    Args:
        open_consumer: gives the consumer for the job's topic and group.
        report: hears of every file.
    """

    def __init__(
        self,
        job: ReceiveJob,
        open_consumer: Callable[[OnNotice], Consumer],
        sink: Sink,
        journal: Journaling,
        report: Report,
    ) -> None:
        self._job = job
        self._sink = sink
        self._journal = journal
        self._report = report
        self._spool = Spool(sink.spool_directory)
        self._assembler = Assembler(job.topic.name, journal)
        self._consumer = open_consumer(Waits(report).because)
        who = f"topic {job.topic.name!r}, group {job.group!r}"
        self._sharing = Sharing(self._consumer, job.topic.partitions, who, report)
        self._end = TopicEnd(self._consumer)
        self.stats = ReceiveStats()
        self._effects: deque[Effect] = deque()
        self._ready: deque[Manifest] = deque()
        self._disk = Waits(report)
        self._blocked = False
        self._remade = False
        self._dirty = False
        self._unsynced_bytes = 0
        self._checkpoint_due = 0.0
        self._stale_due = 0.0
        self._assigned = False
        self._batch = MAX_BATCH

    # -- the loop --------------------------------------------------------------------------

    def run(self, stop: Callable[[], bool]) -> ReceiveSummary:
        """Receive until `stop()`, or until the end of the topic.

        Raises:
            OpenMSIError: the topic is gone, the broker refuses us, the destination is broken.
                Nothing is lost: what was not committed is received again by the next run.
        """
        began = time.monotonic()
        try:
            self._consumer.subscribe(self)
            while not stop() and not self._at_end():
                self._turn()
            incomplete = self._assembler.incomplete()
        finally:
            self._close()
        for path, _ in incomplete if self._job.until_end else ():
            self._report(Notice(f"{path}: not all of it is in the topic yet"))
        return self.stats.summary(len(incomplete), time.monotonic() - began)

    def _turn(self) -> None:
        if self._blocked:
            # This only keeps us in the group, but a partition may come with a first record.
            reading = bool(self._effects) and isinstance(self._effects[0], Verify)
            self._take_records(1, 0.0 if reading else 1.0)
            self._consumer.pause(list(self._assembler.positions()))
        else:
            self._take_records(self._batch, self._poll_seconds())
        if self._perform() and self._publish():
            self._look_for_stale()
            if (self._checkpoint() if self._is_checkpoint_due() else True) and self._blocked:
                self._unblock()
            self._sharing.look(self._assembler.positions(), self)
        self.stats.open = self._assembler.open_count()
        self.stats.lag = self._consumer.lag(self._assembler.positions())

    def _is_checkpoint_due(self) -> bool:
        full = self._unsynced_bytes > CHECKPOINT_BYTES
        return self._dirty and (self._blocked or full or time.monotonic() >= self._checkpoint_due)

    def _look_for_stale(self) -> None:
        now = time.monotonic()
        if now >= self._stale_due:
            self._stale_due = now + STALE_CHECK_SECONDS
            self._effects.extend(self._assembler.stale(now, self._job.stale_after))

    def _poll_seconds(self) -> float:
        left = self._checkpoint_due - time.monotonic()
        return min(POLL_SECONDS, left) if self._dirty and left > 0 else POLL_SECONDS

    def _take_records(self, most: int, wait: float) -> None:
        fetched = self._consumer.poll(most, wait)
        if not fetched:
            return
        self._end.heard()
        now = time.monotonic()
        size = 0
        for each in fetched:
            position = self._assembler.position(each.partition)
            if position is None:
                continue  # revoked while the records were on their way
            if each.offset < position:
                self._remade = True  # nothing else makes offsets go back
                raise TopicRemade(self._job.topic.name)
            size += len(each.record.value or b"")
            self._take_record(each, now)
        self.stats.records += len(fetched)
        self.stats.bytes_received += size
        # Bounded memory: a batch of large records is a small batch.
        average = size // len(fetched) + 1
        self._batch = max(1, min(MAX_BATCH, BATCH_BYTES // average))

    def _take_record(self, each: Fetched, now: float) -> None:
        self._dirty = True
        item: Chunk | LegacyChunk | Abort | RecordRejected
        try:
            item = decode(each.record)
        except RecordRejected as rejected:
            item = rejected
        if isinstance(item, LegacyChunk) and item.chunks > 1:
            self._sharing.saw_spread_file()
        effects = self._assembler.record(each.partition, each.offset, item, now, each.timestamp_ms)
        self._effects.extend(effects)

    def _at_end(self) -> bool:
        busy = self._effects or self._ready or self._blocked
        if not self._job.until_end or not self._assigned or busy:
            return False
        return self._end.reached(self._assembler.positions())

    def _close(self) -> None:
        try:
            self._consumer.close()  # tells `revoked` of what is assigned: the last checkpoint
        finally:
            self._spool.close()

    # -- effects ---------------------------------------------------------------------------

    def _perform(self) -> bool:
        """Perform the effects in order. Returns False when one must wait."""
        while self._effects:
            effect = self._effects[0]
            try:
                more = self._perform_one(effect)
            except OSError as error:
                if not isinstance(effect, Write) or error.errno not in _TOO_FAR:
                    return self._block(error)
                more = self._give_up(effect, error)
            if more is None:
                return self._hold()
            self._effects.popleft()
            # What follows from an effect comes before what later records brought.
            self._effects.extendleft(reversed(more))
        return True

    def _perform_one(self, effect: Effect) -> list[Effect] | None:
        """Returns what follows from it; None when there is more to do."""
        if isinstance(effect, Write):
            self._spool.write(effect.version, effect.start, effect.data)
            self._unsynced_bytes += len(effect.data)
        elif isinstance(effect, Publish):
            self._ready.append(effect.manifest)
        elif isinstance(effect, Verify):
            digest = self._spool.digest(effect.version, effect.algorithm, VERIFY_BYTES)
            return self._assembler.verified(effect.version, digest) if digest else None
        elif isinstance(effect, Discard):
            self._spool.discard(effect.version)
        else:
            self._tell(effect)
        return []

    def _give_up(self, effect: Write, error: OSError) -> list[Effect]:
        """Only in the older format can a chunk claim to begin anywhere."""
        detail = f"bytes from {effect.start} on cannot be written: {error.strerror}"
        more = self._assembler.rejected(effect.version, "bad-size", detail)
        if more:  # what later records of it brought must not come after its end
            self._drop({effect.version})
            self._effects.appendleft(effect)
        return more

    def _tell(self, effect: Tell) -> None:
        if isinstance(effect.event, DeadLetter):
            self.stats.dead_letters += 1
            self._journal.dead_letter(effect.event)
        self._report(effect.event)

    def _publish(self) -> bool:
        """Publish what is complete, each durable before it gets its name."""
        if not self._ready:
            return True
        try:
            self._spool.sync([each.version for each in self._ready])
        except OSError as error:
            return self._block(error)
        while self._ready:
            manifest = self._ready[0]
            try:
                self._sink.publish(manifest, self._spool.release(manifest.version))
            except Refused as refused:
                self._ready.popleft()
                self._effects.extend(self._assembler.rejected(manifest.version, *refused.args))
                self._perform()
                continue
            except OSError as error:
                return self._block(error)
            self._ready.popleft()
            self._assembler.published(manifest.version)
            self._journal.published(manifest)
            self._tell_rebuilt(manifest)
        return True

    def _tell_rebuilt(self, manifest: Manifest) -> None:
        self.stats.rebuilt += 1
        self.stats.bytes_rebuilt += manifest.size
        self._report(FileRebuilt.of(manifest))

    def _block(self, error: OSError) -> bool:
        """Wait when the reason may pass; the broker keeps the records meanwhile."""
        where = error.filename or self._sink.spool_directory
        if error.errno not in _PASSING and getattr(error, "winerror", None) != 112:
            raise disk_error(where, error) from error
        return self._wait_for_disk(disk_error(where, error))

    def _wait_for_disk(self, error: LocalDiskError) -> bool:
        self._disk.because(error)
        return self._hold()

    def _hold(self) -> bool:
        """Take no more records while something is not done. The group must hear from us."""
        if not self._blocked:
            self._blocked = True
            self._consumer.pause(list(self._assembler.positions()))
        return False

    def _unblock(self) -> None:
        self._blocked = False
        self._consumer.resume(list(self._assembler.positions()))
        self._disk.because(None)

    # -- checkpoints -----------------------------------------------------------------------

    def _checkpoint(self) -> bool:
        """Make everything so far lasting, so that no record of it is needed again. Returns
        False when one must wait for the disk.

        1. Make the spool files of open versions durable.
        2. Make the published names durable (their content is since `_publish`).
        3. Write the journal: positions, open versions, published versions, dead letters.
        4. Commit each partition's safe offset.

        A crash between any two leaves the earlier state, from which records are read again.
        """
        try:
            self._spool.sync_all()
            self._sink.sync()
            self._journal.checkpoint(self._assembler.positions(), self._assembler.saved())
        except OSError as error:
            return self._block(error)
        except DiskFull as error:
            return self._wait_for_disk(error)
        self._dirty = False
        self._unsynced_bytes = 0
        self._checkpoint_due = time.monotonic() + CHECKPOINT_SECONDS
        try:
            self._consumer.commit(self._assembler.safe_points())
        except OpenMSIError as error:
            if not error.retriable:
                raise
            log.info("commit will be tried again: %s", error)
            self._dirty = True
        return True

    # -- partitions come and go, told by the consumer --------------------------------------

    def assigned(self, points: Mapping[int, SafePoint]) -> Mapping[int, int]:
        if not self._assigned and self._job.group:
            self._report(Started(self._job.destination, self._job.topic.name, self._job.group))
        self._assigned = True
        now = time.monotonic()
        # Asked first: when a broker goes meanwhile, all of this is done again.
        limits = {partition: self._consumer.offsets(partition) for partition in points}
        starts = {}
        for partition, committed in points.items():
            low, high = limits[partition]
            start, handled, saved = where_to_start(
                self._journal,
                self._spool,
                partition,
                committed,
                low,
                self._assembler.can_resume,
            )
            if start < low:
                self._tell_gone(partition, f"records {start} to {low}", low)
                start = low
                handled = SafePoint(low, max(low, handled.position), handled.open)
            elif start > high:
                self._tell_gone(partition, f"everything before {start}", low)
                start, handled = low, SafePoint(low, low)
            self._assembler.assigned(partition, start, handled, saved, now)
            starts[partition] = start
            self._end.is_at(partition, high)
        return starts

    def _tell_gone(self, partition: int, what: str, low: int) -> None:
        where = f"{self._job.topic.name}[{partition}]"
        self._report(Notice(f"{where}: {what} no longer in the topic; receiving goes on at {low}"))

    def revoked(self, partitions: Collection[int]) -> None:
        waits = self._blocked or self._effects or self._ready
        if not waits and not self._remade:
            self._checkpoint()
        self.lost(partitions)

    def lost(self, partitions: Collection[int]) -> None:
        gone: set[VersionId] = set()
        for partition in partitions:
            gone.update(self._assembler.forget(partition))
            self._end.forget(partition)
        self._drop(gone)

    def _drop(self, versions: set[VersionId]) -> None:
        """What was to be done for these is not to be done any more."""
        self._effects = deque(each for each in self._effects if _version(each) not in versions)
        self._ready = deque(each for each in self._ready if each.version not in versions)


def _version(effect: Effect) -> VersionId | None:
    if isinstance(effect, Publish):
        return effect.manifest.version
    return None if isinstance(effect, Tell) else effect.version
