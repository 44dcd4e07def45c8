"""Where sending a file begins: with a new version, or in the middle of one."""

from __future__ import annotations

import os

from openmsi.protocol import Opening, VersionId
from openmsi.send.files import Identity, open_to_read
from openmsi.send.formats import NATIVE
from openmsi.send.job import SendJob
from openmsi.send.ledger import IN_FLIGHT, SENT, Entry, Ledger
from openmsi.send.names import check_twin, topic_path
from openmsi.send.reading import Reading
from openmsi.send.transfer import Progress, Transfer


def open_reading(
    job: SendJob, ledger: Ledger, native: str, identity: Identity, known: Entry | None
) -> Reading:
    """Open the file `native`, to be sent as `identity`. `known` is its entry in the ledger.

    Raises:
        RecordRejected: its name cannot be a path in the topic.
        OSError: it cannot be opened.
    """
    if known is not None and resumes(job, known, identity):
        attempt, progress = known.attempt, known.progress()
    else:
        # Also a content that was sent before, and comes back, is another version.
        attempt = _next_attempt(known)
        version = ledger.new_version(native, identity, job.chunk_size, attempt)
        progress = Progress(version, job.chunk_size)
    opening = Opening(identity.size, identity.mtime_ns, job.source)
    reading = _open(job, native, identity, attempt, (opening, progress))
    if known is not None and known.state == SENT and known.size == identity.size:
        reading.compare_with(known)
    return reading


def open_growing(job: SendJob, native: str, identity: Identity, known: Entry | None) -> Reading:
    """Open the file `native`, to be sent while it is written. Raises as `open_reading`."""
    progress = Progress(VersionId(os.urandom(16).hex()), job.chunk_size)
    opening = Opening(source=job.source)
    return _open(job, native, identity, _next_attempt(known), (opening, progress))


def _next_attempt(known: Entry | None) -> int:
    return 0 if known is None else known.attempt + 1


def _open(
    job: SendJob, native: str, identity: Identity, attempt: int, begin: tuple[Opening, Progress]
) -> Reading:
    path = topic_path(native, job.prefix)
    check_twin(job.root, native)
    transfer = Transfer(path, *begin, legacy=job.format != NATIVE)
    descriptor = open_to_read(os.path.join(job.root, native))
    return Reading(native, descriptor, identity, attempt, transfer)


def resumes(job: SendJob, known: Entry, identity: Identity) -> bool:
    """Does the version that was in flight go on? Not in another format: no receiver could put
    its two parts together."""
    same_format = bool(known.digest) == (job.format != NATIVE)
    unfinished = known.state == IN_FLIGHT and known.chunk_size > 0
    return unfinished and same_format and known.describes(identity)
