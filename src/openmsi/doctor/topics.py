"""Is a topic fit for files, and may this user use it? Judgements that ask no broker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.filesize import decimal

from openmsi.doctor.case import TopicUse
from openmsi.doctor.finding import Finding
from openmsi.errors import RecordTooLarge
from openmsi.kafka import TopicHealth, TopicInfo
from openmsi.protocol import KAFKA_DEFAULT_MAX_MESSAGE_BYTES
from openmsi.send.job import fit_chunk_size

DAY_MS = 86_400_000
# A receiver that is away for a long weekend must find everything when it is back.
SHORT_RETENTION_MS = 4 * DAY_MS
SMALL_RETENTION_BYTES = 1_000_000_000
CLOCK_SECONDS = 5.0

NOT_TOLD = "the broker does not tell this user the topic's settings"
_ASK = "Ask who runs the broker"


def judge_topic(health: TopicHealth, uses: Sequence[TopicUse]) -> Iterator[Finding]:
    """Everything about a topic but its clock, for all that is to be done with it."""
    yield judge_partitions(health)
    if not any(each.files for each in uses):
        return
    if health.settings_told:
        senders = [each for each in uses if each.files and (each.sends or not each.receives)]
        yield from dict.fromkeys(judge_record_limit(health.info, each) for each in senders)
        yield judge_retention(health.info)
    else:
        about = _about(health.info)
        cure = f"{_ASK} for its max.message.bytes, retention.ms and cleanup.policy."
        yield Finding("record limit", about, "unknown", NOT_TOLD, cure)
        yield Finding("retention", about, "unknown", NOT_TOLD, cure)


def judge_partitions(health: TopicHealth) -> Finding:
    """Is every partition served, by as many brokers as writing needs?"""
    info, about = health.info, _about(health.info)
    text = f"{info.partitions} partitions, copies {info.replication}"
    least, needed = health.least_in_sync, info.min_insync_replicas
    if health.without_leader:
        why = f"{health.without_leader} of its {info.partitions} partitions have no broker now"
        return Finding("topic", about, "wrong", why, f"{_ASK}: some broker is down.")
    if info.replication < needed:
        why = f"it has {info.replication} copies and needs {needed} in sync: nothing can be sent"
        return Finding("topic", about, "wrong", why, "Lower its min.insync.replicas.")
    if least < needed:
        why = f"only {least} copies are in sync and {needed} are needed: nothing can be sent now"
        return Finding("topic", about, "wrong", why, f"{_ASK}: some broker is down.")
    if least < info.replication:
        why = f"only {least} of {info.replication} copies are in sync; it works with {needed}"
        return Finding("topic", about, "warning", why, f"{_ASK}: some broker is down.")
    return Finding("topic", about, "ok", text)


def judge_record_limit(info: TopicInfo, use: TopicUse) -> Finding:
    """Does the chunk fit into a record that the topic takes?"""
    about = _about(info)
    most = f"records of at most {info.max_message_bytes} bytes"
    try:
        fits = fit_chunk_size(use.chunk_size, info, use.format)
    except RecordTooLarge as error:
        text = f"it takes {most}: {error.what} does not fit"
        cure = error.cure.replace("--chunk-size", "a chunk size of")
        return Finding("record limit", about, "wrong", text, cure)
    chunks = f"{most}: chunks of {fits} bytes fit"
    if info.max_message_bytes < KAFKA_DEFAULT_MAX_MESSAGE_BYTES:
        text = f"{chunks}. It works, but small records are slower"
        cure = f"Set its max.message.bytes to {KAFKA_DEFAULT_MAX_MESSAGE_BYTES}, Kafka's default."
        return Finding("record limit", about, "warning", text, cure)
    return Finding("record limit", about, "ok", chunks)


def judge_retention(info: TopicInfo) -> Finding:
    """Are records kept until every receiver has them?"""
    about, text = _about(info), f"records are kept {kept_for(info)}"
    if "compact" in info.cleanup_policy:
        text = f"it is compacted: of a file of several records only the last one is kept; {text}"
        return Finding("retention", about, "wrong", text, "Set its cleanup.policy to delete.")
    if info.retention_ms is not None and info.retention_ms < SHORT_RETENTION_MS:
        text += ": what a receiver did not fetch by then is lost to it"
        return Finding("retention", about, "warning", text, "Raise its retention.ms.")
    if info.retention_bytes is not None and info.retention_bytes < SMALL_RETENTION_BYTES:
        text += ": a few large files push out what a receiver did not fetch yet"
        return Finding("retention", about, "warning", text, "Raise its retention.bytes.")
    return Finding("retention", about, "ok", text)


def kept_for(info: TopicInfo) -> str:
    """How long, and how much."""
    parts = []
    if info.retention_ms is not None:
        parts.append(_duration(info.retention_ms / 1000))
    if info.retention_bytes is not None:
        parts.append(f"up to {decimal(info.retention_bytes)} a partition")
    return " and ".join(parts) or "for ever"


_NEEDS = (("sends", "write"), ("receives", "read"))


def judge_rights(
    name: str, rights: frozenset[str] | None, uses: Sequence[TopicUse], user: str
) -> Finding:
    """May `user` do with the topic what is to be done? Where nothing is said, reading or writing
    is enough."""
    about = f"topic {name!r}"
    if rights is None:
        text = "the broker does not tell what this user may do"
        return Finding("rights", about, "unknown", text, "Send a file to see.")
    have = ", ".join(each for each in ("read", "write", "create") if each in rights) or "nothing"
    needed = [right for field, right in _NEEDS if any(getattr(use, field) for use in uses)]
    missing = [each for each in needed if each not in rights]
    if missing or (not needed and not rights & {"read", "write"}):
        lacks = " and ".join(missing) or "read or write"
        text = f"{user} may not {lacks}; may: {have}"
        return Finding("rights", about, "wrong", text, f"{_ASK} for the right to {lacks} it.")
    return Finding("rights", about, "ok", f"{user} may: {have}")


def judge_clock(health: TopicHealth, newest_ms: int | None, now: float) -> Finding:
    """What the newest record tells about the clocks of the broker and of this computer.

    A broker does not tell its time. Where it stamps records, it was at least that late when it
    stamped the newest; whether our clock is ahead cannot be seen without sending something.

    Args:
        now: this computer's time, in seconds since 1970.
    """
    about = _about(health.info)
    if not health.stamped_by_broker:
        text = "records get the time of the computer that sends, and are kept by it; a broker does"
        text += " not tell its own time"
        cure = "Set its message.timestamp.type to LogAppendTime, or keep the clocks right (NTP)."
        return Finding("clock", about, "unknown", text, cure)
    if newest_ms is None:
        text = "no record yet; a broker does not tell its time otherwise"
        return Finding("clock", about, "unknown", text)
    ahead = newest_ms / 1000 - now
    if ahead > CLOCK_SECONDS:
        text = f"this computer is at least {_duration(ahead)} behind the broker"
        return Finding("clock", about, "warning", text, "Let this computer set its clock by NTP.")
    text = f"not behind the broker's time of {_duration(max(0.0, -ahead))} ago, its newest record"
    return Finding("clock", about, "ok", f"{text}; whether it is ahead cannot be seen")


def _about(info: TopicInfo) -> str:
    return f"topic {info.name!r}"


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"
