"""The whole examination, in the order in which one thing needs the other."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import groupby

from openmsi.doctor.case import Case, TopicUse
from openmsi.doctor.connection import judge_brokers, log_in, reach_any, user_of
from openmsi.doctor.disk import examine_directory
from openmsi.doctor.finding import Finding
from openmsi.doctor.services import examine_service
from openmsi.doctor.topics import judge_clock, judge_rights, judge_topic
from openmsi.errors import BrokerUnreachable, NotAuthorized, OpenMSIError, TopicError
from openmsi.kafka import KafkaAdmin, KafkaSettings, open_admin

# Longer than one question may take, so that it is asked twice.
GROUP_SECONDS = 12.0


def examine(case: Case) -> Iterator[Finding]:
    """Look at everything; each finding comes as soon as it is known. What cannot be looked at
    because something before it is wrong is left out.

    Raises:
        ConfigError: the Kafka client does not accept a setting.
    """
    yield from _examine_kafka(case)
    for use in case.directories:
        yield from examine_directory(use)
    if case.service:
        yield from examine_service(case.service, str(case.agent or ""))


def _examine_kafka(case: Case) -> Iterator[Finding]:
    # Senders and receivers may log in as different users.
    sides: list[tuple[KafkaSettings, list[TopicUse]]] = [(case.sending, [])]
    if _other(case.sending, case.receiving):
        sides.append((case.receiving, []))
    for use in case.topics:
        sides[-1 if use.receives and not use.sends else 0][1].append(use)
    known = ""
    for settings, uses in sides:
        if len(sides) > 1 and not uses:
            continue
        if settings.bootstrap_servers != known:
            known = settings.bootstrap_servers
            answers, found = reach_any(known)
            yield from found
            if not answers:
                yield from _not_examined(case.topics)
                return
        yield from _examine_side(settings, uses)


def _other(one: KafkaSettings, two: KafkaSettings) -> bool:
    def of(settings: KafkaSettings) -> dict[str, object]:
        login = ("security.", "sasl.", "ssl.")
        return {key: each for key, each in settings.client.items() if key.startswith(login)}

    return one.bootstrap_servers != two.bootstrap_servers or of(one) != of(two)


def _examine_side(settings: KafkaSettings, uses: Sequence[TopicUse]) -> Iterator[Finding]:
    admin = open_admin(settings)
    try:
        brokers, found = log_in(admin, settings)
        yield from found
        if not brokers:
            yield from _not_examined(uses)
            return
        yield from judge_brokers(brokers, settings.bootstrap_servers)
        by_topic = sorted(uses, key=lambda use: use.topic)
        for name, together in groupby(by_topic, key=lambda use: use.topic):
            yield from _examine_topic(admin, name, list(together), user_of(settings.client))
    finally:
        admin.close()


def _not_examined(uses: Sequence[TopicUse]) -> Iterator[Finding]:
    for name in dict.fromkeys(each.topic for each in uses):
        yield Finding("topic", f"topic {name!r}", "unknown", "not examined: no broker can be asked")


def _examine_topic(
    admin: KafkaAdmin, name: str, uses: Sequence[TopicUse], user: str
) -> Iterator[Finding]:
    about = f"topic {name!r}"
    try:
        health = admin.topic_health(name)
    except TopicError as error:
        why = error.why[:1].lower() + error.why[1:]
        yield Finding("topic", about, "wrong", why, _make(admin, name))
        return
    except NotAuthorized as error:
        text = f"{user} may not even look at it: {error.why}"
        cure = "Ask who runs the broker for the right to describe it."
        yield Finding("rights", about, "wrong", text, cure)
        return
    except BrokerUnreachable as error:
        why = f"the brokers do not answer about it: {error.why}"
        cure = "Try again in a minute; if it stays, ask who runs the broker: some broker is down."
        yield Finding("topic", about, "wrong", why, cure)
        return
    except OpenMSIError as error:
        yield Finding("topic", about, "wrong", error.why, error.cure)
        return
    yield from judge_topic(health, uses)
    yield judge_rights(name, health.rights, uses, user)
    for use in uses:
        if use.receives and use.group:
            yield from _examine_group(admin, use.group, user)
    if health.without_leader:
        return  # nobody would answer for these partitions
    try:
        newest = admin.newest_ms(health.info)
    except OpenMSIError:
        newest = None  # a user who may only write is not told
    yield judge_clock(health, newest, time.time())


def _make(admin: KafkaAdmin, name: str) -> str:
    """What to do about a topic that is not there."""
    try:
        admin.check_create(name)
    except NotAuthorized:
        return "Check the name; you may not make it: ask who runs the broker."
    except OpenMSIError as error:
        return f"Check the name; it cannot be made: {error.why}."
    return f"Make it: openmsi topic create {name}"


def _group_rights(admin: KafkaAdmin, group: str) -> frozenset[str] | None:
    """As `KafkaAdmin.group_rights`; a broker that just started needs some seconds to answer."""
    deadline = time.monotonic() + GROUP_SECONDS
    while True:
        try:
            return admin.group_rights(group)
        except OpenMSIError as error:
            if not error.retriable or time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def _examine_group(admin: KafkaAdmin, group: str, user: str) -> Iterator[Finding]:
    about = f"group {group!r}"
    try:
        rights = _group_rights(admin, group)
    except NotAuthorized:
        rights = frozenset()
    except OpenMSIError as error:
        yield Finding("rights", about, "unknown", error.why)
        return
    if rights is None:
        text = "the broker does not tell what this user may do"
        yield Finding("rights", about, "unknown", text)
    elif "read" in rights:
        yield Finding("rights", about, "ok", f"{user} may be a member")
    else:
        cure = "Ask who runs the broker for the right to read this group."
        yield Finding("rights", about, "wrong", f"{user} may not be a member", cure)
