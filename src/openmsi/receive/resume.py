"""Where to go on in a partition that was just assigned."""

from __future__ import annotations

from collections.abc import Callable

from openmsi.protocol import SafePoint
from openmsi.receive.assembly import Saved
from openmsi.receive.journal import Journaling
from openmsi.receive.progress import SavedInOrder
from openmsi.receive.spool import Spool


def where_to_start(
    journal: Journaling,
    spool: Spool,
    partition: int,
    committed: SafePoint,
    low: int,
    can_resume: Callable[[Saved], bool],
) -> tuple[int, SafePoint, list[Saved]]:
    """Go by our own journal, unless somebody else went further since; then by what the group
    committed (`committed.offset` is negative if it never did).

    Args:
        low: the partition's first offset that still exists.
        can_resume: may this version go on from what was spooled of it?

    Returns:
        The offset to start at, which records from there on were handled already, and the open
        versions whose spool files can be used. What cannot be used is deleted.
    """
    position = journal.position(partition)
    saved = journal.open_versions(partition)
    whole = [
        each
        for each in saved
        if spool.size(each.version) >= each.progress.extent and can_resume(each)
    ]
    if position is None or committed.position > position:
        useful = [each for each in whole if each.version in committed.open]
        for each in saved:
            # A version with records in several partitions may go on without this one's.
            if each not in useful and isinstance(each.progress, SavedInOrder):
                spool.discard(each.version)
        if committed.offset < 0:
            return low, SafePoint(low, low), useful
        return committed.offset, committed, useful
    broken = [each for each in saved if each not in whole]
    start = min([position, *(each.first_offset for each in broken)])
    again = frozenset(each.version for each in broken)
    return start, SafePoint(start, position, again), whole
