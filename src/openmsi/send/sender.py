"""The sending loop: reads each settled file once, sends it, notes it in the ledger.

One thread owns all of this. Events of the file system and acknowledgements of the broker come
in through queues that it empties in each turn.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable

from msgspec.structs import replace

from openmsi.errors import (
    NotAuthorized,
    OpenMSIError,
    RecordRejected,
    RecordTooLarge,
    TopicError,
)
from openmsi.events import (
    FileChanged,
    FileDeleted,
    FileFailed,
    FileKept,
    FileMoved,
    FileSent,
    FileVanished,
    Report,
    SendSummary,
    Started,
)
from openmsi.protocol import Abort, VersionId
from openmsi.send.after import AfterSending
from openmsi.send.files import Identity
from openmsi.send.finder import Finder, Settled
from openmsi.send.formats import NATIVE, encoder
from openmsi.send.job import SendJob, SendStats
from openmsi.send.ledger import (
    FAILED,
    GONE,
    IN_FLIGHT,
    SENT,
    Entry,
    Ledger,
    failed,
    sent,
)
from openmsi.send.names import shown, topic_path
from openmsi.send.notes import Notes
from openmsi.send.outbox import OpenProducer, Outbox
from openmsi.send.pace import Pace
from openmsi.send.plan import open_growing, open_reading, resumes
from openmsi.send.reading import Reading
from openmsi.send.transfer import ABORT_INDEX, State

log = logging.getLogger(__name__)

MAX_READING = 32  # files open at a time
MAX_LARGE_READING = 4  # of these, so that large files leave room for small ones
LARGE_BYTES = 8 * 2**20
GROWING_SECONDS = 0.5
MAX_TRIES_ONCE = 5
BUSY_SECONDS = 0.1
PATIENCE_SECONDS = 0.05  # in one turn, when nothing can be sent
STOP_SECONDS = 5.0


class Sender:
    """Sends the files of one directory to one topic.

    Args:
        open_producer: gives a producer for the job's topic; called again if it breaks.
        report: hears of every file.
        after: what is done with a file that is sent; None leaves it where it is.
    """

    def __init__(
        self,
        job: SendJob,
        ledger: Ledger,
        open_producer: OpenProducer,
        report: Report,
        after: AfterSending | None = None,
    ) -> None:
        self.stats = SendStats()
        self.finder = Finder(job, ledger, report, self.stats, after.sent if after else None)
        self.reading: deque[Reading] = deque()
        self._job = job
        self._ledger = ledger
        self._outbox = Outbox(open_producer, report, encoder(job.format))
        self._pace = Pace(job.max_rate)
        self._report = report
        self._after = after
        self._large: deque[Settled] = deque()
        self._active: dict[str, Reading] = {}  # until all is acknowledged
        self._growing: dict[str, Reading] = {}
        self._growing_due = 0.0
        self._tries: dict[str, int] = {}  # of files that changed while they were read
        self._notes = Notes(ledger, job.chunk_size, report)

    def in_flight(self) -> list[Reading]:
        """The files on their way; for any thread."""
        return list(self._active.values())

    # -- the loop --------------------------------------------------------------------------

    def run(self, stop: Callable[[], bool]) -> SendSummary:
        """Send until `stop()`, or, for a job to be done once, until all is sent.

        Raises:
            OpenMSIError: the topic is gone, or the broker refuses us. What was acknowledged is
                in the ledger; what was not is sent again by the next run.
        """
        began = time.monotonic()
        try:
            self.finder.begin()
            if not self._job.once:
                self._report(Started(shown(str(self._job.root)), self._job.topic.name))
            for entry in self._ledger.in_state(IN_FLIGHT):
                if self._job.only is None or entry.native in self._job.only:
                    self.finder.again(entry.native, 0.0)
            while not self._finished() and not stop():
                self._turn()
            self._wind_down()
        finally:
            self._close()
        return self.stats.summary(time.monotonic() - began)

    def _turn(self) -> None:
        self.finder.listen(idle=not (self._active or self._outbox.full or self._large))
        if not self._notes.disk_full and self._outbox.ready():
            self.finder.advance()
            self._start_settled()
            self._follow_growing()
            self._read_some()
        self._take_deliveries(self._patience())
        self._tell_outcomes()
        self._notes.keep(self._active.values())

    def _finished(self) -> bool:
        if self._after is not None and self._after.busy:
            return False
        return self.finder.exhausted and not (self._active or self._large or self._outbox.full)

    def _patience(self) -> float:
        """Seconds to wait for acknowledgements in this turn."""
        if self._outbox.full or self._notes.disk_full:
            return PATIENCE_SECONDS
        if self.reading:
            return min(self._pace.wait(time.monotonic()), PATIENCE_SECONDS)
        if self.finder.scanning or self.finder.has_settled:
            return 0.0
        return 0.01 if self._active else 0.0

    def _wind_down(self) -> None:
        """Give what is completely read a little time to be acknowledged."""
        until = time.monotonic() + STOP_SECONDS
        unread = {each.native for each in (*self.reading, *self._growing.values())}
        while time.monotonic() < until and (self._outbox.full or self._active.keys() - unread):
            if not self._outbox.ready():
                return
            self._outbox.push()
            self._take_deliveries(0.05)

    def _close(self) -> None:
        self.finder.stop()
        if self._after is not None:
            self._after.stop()
            self._tell_outcomes()
        for each in self._active.values():
            each.close()
            self._notes.progress(each)
        self._outbox.close()
        self._ledger.flush()

    # -- starting files --------------------------------------------------------------------

    def _start_settled(self) -> None:
        large = sum(each.identity.size > LARGE_BYTES for each in self.reading)
        while len(self.reading) < MAX_READING and not self._outbox.full:
            if self._large and large < MAX_LARGE_READING:
                found: Settled | None = self._large.popleft()
            else:
                found = self.finder.next_settled()
            if found is None:
                return
            native, identity, problem = found
            if native in self._active:
                self._settle_growing(self._active[native], identity)
            elif problem:
                self._fail(native, problem)
            elif identity is None:
                self._vanished(native)
            elif identity.size > LARGE_BYTES and large >= MAX_LARGE_READING:
                self._large.append(found)
            else:
                large += identity.size > LARGE_BYTES
                self._start(native, identity)

    def _start(self, native: str, identity: Identity, growing: bool = False) -> None:
        known = self._ledger.entry(native)
        if known is not None and known.state == SENT and known.describes(identity):
            return
        try:
            if growing:
                reading = open_growing(self._job, native, identity, known)
            else:
                reading = open_reading(self._job, self._ledger, native, identity, known)
        except RecordRejected as error:
            self._fail(native, error.detail, identity)
            return
        except FileNotFoundError:
            self._vanished(native)
            return
        except OSError as error:
            self._fail(native, f"it cannot be opened: {error.strerror or error}", identity)
            return
        if known is not None and not resumes(self._job, known, identity):
            self._abort_left_behind(known, "the file changed before it was sent completely")
        self._active[native] = reading
        self.reading.append(reading)
        self.finder.started(native)
        if growing or identity.size > self._job.chunk_size:
            self._notes.progress(reading)

    def _abort_left_behind(self, known: Entry, reason: str) -> None:
        if known.state != IN_FLIGHT:
            return
        self._notes.given_up(replace(known, state=FAILED, reason=reason))
        # The older format knows no aborts: a program that reads it would stop at one.
        if self._job.format == NATIVE and not known.digest:
            path = topic_path(known.native, self._job.prefix)
            self._outbox.send(Abort(path, VersionId(known.version), reason), None)

    # -- files that are sent while they are written ----------------------------------------

    def _follow_growing(self) -> None:
        now = time.monotonic()
        if not self._job.growing or now < self._growing_due:
            return
        self._growing_due = now + GROWING_SECONDS
        for each in self._growing.values():
            still = each.transfer.state is State.GROWING
            if still and each not in self.reading and each.grown():
                self.reading.append(each)
        for native, identity, _ in self.finder.growing(self._job.chunk_size):
            if len(self._growing) >= MAX_READING:
                return
            if native not in self._active and identity is not None:
                self._start(native, identity, growing=True)
                if native in self._active:
                    self._growing[native] = self._active[native]

    def _still_growing(self, each: Reading) -> bool:
        """Returns whether there is more to read of it now."""
        # When it was thought to be settled, it has to be looked at until it is, or is gone.
        if each.changed and not self.finder.look_at(each.native):
            self.finder.again(each.native, BUSY_SECONDS)
        return each.grown()

    def _settle_growing(self, each: Reading, identity: Identity | None) -> None:
        if each.transfer.state is not State.GROWING:
            self.finder.again(each.native, BUSY_SECONDS)
            return
        self.finder.started(each.native)
        abort = each.gone() if identity is None else each.settled(identity)
        if abort is not None:
            self._send_abort(abort, each)
        elif each.transfer.reason:  # given up before anything was sent
            self._gave_up(each)
        elif each not in self.reading:
            self.reading.append(each)

    # -- reading and producing -------------------------------------------------------------

    def _read_some(self) -> None:
        """One chunk of each open file, as long as the producer takes them."""
        self._outbox.push()
        for _ in range(len(self.reading)):
            if self._outbox.full or self._pace.wait(time.monotonic()):
                return
            each = self.reading.popleft()
            if self._read_one(each):
                self.reading.append(each)

    def _read_one(self, each: Reading) -> bool:
        """Returns whether there is more to read."""
        try:
            item = each.step()
        except OSError as error:
            item = each.transfer.give_up(f"it cannot be read: {error.strerror}")
        if isinstance(item, Abort):
            self._send_abort(item, each)
        elif item is not None:
            self.stats.bytes_read += len(item.data)
            self._pace.spent(len(item.data), time.monotonic())
            self._outbox.send(item, (each, item.index))
        if each.unchanged_entry is not None:
            self._found_unchanged(each, each.unchanged_entry)
        elif each.transfer.state in (State.HASHING, State.READING):
            return True
        elif each.transfer.state is State.GROWING:
            return self._still_growing(each)
        elif each.transfer.state is State.ABORTED:
            self._gave_up(each)
        each.close()
        return False

    def _send_abort(self, abort: Abort, each: Reading) -> None:
        if each in self.reading:
            self.reading.remove(each)
        self._notes.given_up(failed(each.native, each.identity, each.attempt, abort.reason))
        self._outbox.send(abort, (each, ABORT_INDEX))

    def _found_unchanged(self, each: Reading, entry: Entry) -> None:
        self._ledger.note(entry)
        self.stats.already_sent += 1
        self._leave(each)
        if self._after is not None:
            self._after.sent(entry)

    # -- what became of it -----------------------------------------------------------------

    def _take_deliveries(self, patience: float) -> None:
        broken = False
        for token, partition, offset, error in self._outbox.poll(patience):
            if isinstance(token, tuple):
                each, index = token
                broken |= not self._take_delivery(each, index, (partition, offset), error)
        if broken:
            self._start_over()

    def _take_delivery(
        self, each: Reading, index: int, place: tuple[int, int], error: OpenMSIError | None
    ) -> bool:
        """Returns False when the producer is broken."""
        transfer = each.transfer
        if error is None:
            abort = transfer.acknowledged(index, *place)
        elif isinstance(error, (TopicError, NotAuthorized)) and not isinstance(
            error, RecordTooLarge
        ):
            raise error  # nothing can be sent any more
        elif error.retriable:
            log.info("interrupted: path=%r index=%d error=%s", each.native, index, error)
            return False
        else:
            abort = transfer.failed(index, str(error))
        if transfer.reason and each in self.reading:
            self.reading.remove(each)
        if abort is not None:
            self._send_abort(abort, each)
        if transfer.state is State.SENT:
            self._sent(each)
        elif transfer.state is State.ABORTED:
            self._gave_up(each)
        return True

    def _start_over(self) -> None:
        """Everything on its way goes on with another producer, from where the acknowledgements
        end."""
        self._outbox.give_up()
        self.reading.clear()
        for each in list(self._active.values()):
            self._notes.progress(each)
            self._leave(each)
            self.finder.again(each.native, BUSY_SECONDS)

    def _sent(self, each: Reading) -> None:
        manifest = each.transfer.manifest(self._job.topic.name)
        entry = sent(each.native, each.identity, each.attempt, manifest)
        self._ledger.note(entry)
        if self._after is not None:
            self._after.sent(entry)
        self._tries.pop(each.native, None)
        self.stats.sent += 1
        self.stats.bytes_sent += manifest.size
        self._leave(each)
        self._report(FileSent.of(manifest, time.monotonic() - each.began))

    def _gave_up(self, each: Reading) -> None:
        self._leave(each)
        reason = each.transfer.reason
        tries = self._tries[each.native] = self._tries.get(each.native, 0) + 1
        if not each.changed or (self._job.once and tries >= MAX_TRIES_ONCE):
            self._fail(each.native, reason, each.identity, each.attempt)
            return
        self._ledger.note(failed(each.native, each.identity, each.attempt, reason))
        if each.is_gone:
            self._vanished(each.native)
            return
        self.finder.again(each.native, max(self._job.settle, BUSY_SECONDS))
        self._report(FileChanged(shown(each.native), reason))

    def _vanished(self, native: str) -> None:
        """It is gone: never sent, or in the middle. A file that was sent may go as it likes."""
        known = self._ledger.entry(native)
        if known is not None and known.state in (SENT, GONE):
            return
        reason = "it was deleted before it was sent"
        if known is not None:
            self._abort_left_behind(known, reason)
            self._ledger.note(replace(known, state=GONE, reason=reason))
        if self._job.once or (known is not None and known.state == IN_FLIGHT):
            self.stats.failed += 1
            self._report(FileFailed(shown(native), reason))
        else:
            self._report(FileVanished(shown(native)))

    def _fail(
        self, native: str, reason: str, identity: Identity | None = None, attempt: int = 0
    ) -> None:
        known = self._ledger.entry(native)
        if known is None or known.state != IN_FLIGHT:  # that one can still be resumed
            attempt = max(attempt, known.attempt if known else 0)
            self._ledger.note(failed(native, identity, attempt, reason))
        if self.finder.failed(native):
            self.stats.failed += 1
            self._report(FileFailed(shown(native), reason, retry=not self._job.once))

    def _leave(self, each: Reading) -> None:
        each.close()
        self._active.pop(each.native, None)
        self._growing.pop(each.native, None)
        self.finder.succeeded(each.native)

    def _tell_outcomes(self) -> None:
        for entry, to, problem in self._after.outcomes() if self._after else ():
            path = shown(entry.native)
            if problem:
                self._report(FileKept(path, problem))
            else:
                self._report(FileMoved(path, to) if to else FileDeleted(path))
