"""What configuration files mean, in words without secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from openmsi.config import AgentSettings, Download, Watch, is_secret
from openmsi.send.formats import NATIVE


def agent_explained(settings: AgentSettings) -> Iterator[tuple[str, str]]:
    """What an agent would do, as labels and texts."""
    yield "file", str(settings.file)
    yield "brokers", settings.sending.bootstrap_servers
    sending, receiving = settings.sending.client, settings.receiving.client
    yield from login({**receiving, **sending})
    for each in settings.watches:
        yield from _watch(each)
    for part in settings.downloads:
        yield from _download(part)
    both = {key: value for key, value in sending.items() if receiving.get(key) == value}
    for whom, client in (("every client", both), ("senders", sending), ("receivers", receiving)):
        own = client if client is both else {k: v for k, v in client.items() if k not in both}
        if shown := others(own):
            yield "settings", f"of {whom}: {shown}"
    general = settings.general
    if general.state_dir:
        yield "state", f"in {general.state_dir}"
    if general.low_priority:
        yield "priority", "low: every other program goes first"
    yield "log", f"{general.log}, to {general.log_file or 'standard output'}"
    if general.metrics_port:
        yield "metrics", f"http://127.0.0.1:{general.metrics_port}/metrics"
    if general.heartbeat_topic:
        every = f"every {general.heartbeat_seconds:g} s"
        yield "heartbeat", f"to topic {general.heartbeat_topic!r} {every}"


def _watch(part: Watch) -> Iterator[tuple[str, str]]:
    which = "what appears in it" if part.new_only else "all that is in it or appears"
    below = f" under {part.prefix}/" if part.prefix else ""
    yield "sends", f"from {part.directory} {which}, to topic {part.topic!r}{below}"
    if not part.directory.is_dir():
        yield "note", f"{part.directory} is not there now; the agent waits for it"
    if part.include:
        yield "", f"only {', '.join(part.include)}"
    if part.exclude:
        yield "", f"not {', '.join(part.exclude)}"
    when = f"when unchanged for {part.settle:g} s"
    yield "", f"{'while they are written, done ' if part.growing else ''}{when}"
    if part.after != "keep":
        yield "", f"and then: {part.after.replace(':', ' to ', 1)}"
    if part.chunk_size is not None:
        yield "", f"in chunks of {part.chunk_size} bytes"
    if part.max_rate is not None:
        yield "", f"at most {part.max_rate:g} MB a second"
    if part.format != NATIVE:
        yield "", f"as records of the format {part.format}, as the OpenMSI programs do"


def _download(part: Download) -> Iterator[tuple[str, str]]:
    who = f"as one of the group {part.group!r}" if part.group else "all files"
    yield "receives", f"topic {part.topic!r} into {part.directory}, {who}"


_PROTOCOLS = {
    "plaintext": "no encryption and no login",
    "ssl": "TLS",
    "sasl_plaintext": "login without encryption",
    "sasl_ssl": "login over TLS",
}


def login(settings: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """How a client with these settings connects and logs in."""
    protocol = str(settings.get("security.protocol", "plaintext"))
    yield "connection", _PROTOCOLS.get(protocol.lower(), protocol)
    if "sasl.username" in settings:
        how = settings.get("sasl.mechanism") or settings.get("sasl.mechanisms")
        password = "a password" if settings.get("sasl.password") else "no password"
        by = f" by {how}" if how else ""
        yield "login", f"as {settings['sasl.username']!r} with {password}{by}"


_TOLD = {
    "bootstrap.servers",
    "security.protocol",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "sasl.password",
}


def others(settings: Mapping[str, object]) -> str:
    """The other settings, without secrets."""
    return ", ".join(
        f"{key} is set"
        if is_secret(key) or "://" in str(value) or "\n" in str(value)
        else f"{key} = {value}"
        for key, value in settings.items()
        if key not in _TOLD
    )
