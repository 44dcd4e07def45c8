"""The measurements that decide openmsi's own settings of the Kafka client."""

from __future__ import annotations

from pathlib import Path

from benchmarks.contest import Contestant, contest, measured, panel, process, rated, rates
from benchmarks.lab import Lab, Topics
from benchmarks.results import Lines, Result, Run

_CHUNKS = {"250 kB": 250_000, "500 kB": 500_000, "1 MB": 1_000_000, "2 MB": 2_000_000}
_CHUNKS["5 MB"] = 5_000_000
_DEFAULT_LIMIT, _RAISED_LIMIT = 1_000_000, 6_000_000
_LINGER_MS = (0, 5, 50)
_FETCH: dict[str, dict[str, int]] = {
    "openmsi's own": {},
    "queued.max.messages.kbytes 4 MiB": {"queued_max_messages_kbytes": 4 * 1024},
    "queued.max.messages.kbytes 16 MiB": {"queued_max_messages_kbytes": 16 * 1024},
    "queued.max.messages.kbytes 64 MiB": {"queued_max_messages_kbytes": 64 * 1024},
    "fetch.max.bytes 2 MiB": {"fetch_max_bytes": 2 * 1024 * 1024},
    "fetch.message.max.bytes 1 MiB": {"fetch_message_max_bytes": 1024 * 1024},
    "fetch.message.max.bytes 8 MiB": {"fetch_message_max_bytes": 8 * 1024 * 1024},
}


def settings(lab: Lab) -> Result:
    """Chunk size, linger.ms, and what is fetched ahead."""
    result = Result(
        tables=[],
        panels=[],
        notes=[
            "Chunks of more than 1 MB need a topic with a raised max.message.bytes. The other "
            "settings were given with --config."
        ],
    )
    _chunk_sizes(lab, result)
    _linger(lab, result)
    _fetching(lab, result)
    return result


def _chunk_sizes(lab: Lab, result: Result) -> None:
    size, topics = lab.options.settings_mb, Topics(lab)
    file = lab.large_file(size)

    def topic(chunk: int) -> str:
        limit = {"max_message_bytes": _RAISED_LIMIT} if chunk > _DEFAULT_LIMIT else {}
        return topics.new(1, **limit)

    def sender(chunk: int) -> Contestant:
        return Contestant(
            _name(chunk),
            process(lambda n: _upload(lab, file, topic(chunk), chunk, f"{chunk}-{n}")),
            topics.drop,
        )

    senders = [sender(chunk) for chunk in _CHUNKS.values()]
    sent = contest(senders, lab.options.repeats)
    receivers = []
    for chunk in _CHUNKS.values():
        filled = topic(chunk)
        measured(_upload(lab, file, filled, chunk, f"{chunk}-filled"))
        receivers.append(_receiver(lab, _name(chunk), filled, {}))
    received = contest(receivers, lab.options.repeats)
    topics.drop()
    lines = {}
    for verb, contestants in (("sent", senders), ("received", receivers)):
        result.tables.append(
            rated(f"Chunk size, a file of {size} MB {verb}", contestants, size, "MB")
        )
        medians = [rates(each, size).median for each in contestants]
        lines[verb] = list(zip([each / 1000 for each in _CHUNKS.values()], medians, strict=True))
    result.panels.append(Lines("Chunk size", "kB", "MB/s", lines))
    _note(result, "chunks sent", sent)
    _note(result, "chunks received", received)


def _name(chunk: int) -> str:
    return next(name for name, size in _CHUNKS.items() if size == chunk)


def _upload(lab: Lab, file: Path, topic: str, chunk: int, state: str) -> list[str | Path]:
    options = ["-t", topic, "--chunk-size", str(chunk)]
    return [*lab.openmsi("upload", file, *options, state=f"chunk-{state}")]


def _receiver(lab: Lab, name: str, topic: str, client: dict[str, int]) -> Contestant:
    def command(_: int) -> list[str | Path]:
        options: list[str | Path] = ["-t", topic, "--until-end"]
        if client:
            options += lab.client(**client)
        return [*lab.openmsi("download", lab.path("out"), *options, state="out")]

    return Contestant(name, process(command), lambda _: lab.clean("out", "state-out"))


def _linger(lab: Lab, result: Result) -> None:
    count, topics = lab.options.files, Topics(lab)
    tree = lab.small_files(count)

    def sender(milliseconds: int) -> Contestant:
        def command(number: int) -> list[str | Path]:
            options = ["-t", topics.new(6), *lab.client(linger_ms=milliseconds)]
            return [*lab.openmsi("upload", tree, *options, state=f"l-{milliseconds}-{number}")]

        return Contestant(f"linger.ms {milliseconds}", process(command), topics.drop)

    senders = [sender(each) for each in _LINGER_MS]
    runs = contest(senders, lab.options.repeats)
    title = f"linger.ms, {count:,} files of 10 kB sent"
    _both(result, title, senders, (count, "files"))
    _note(result, "linger", runs)


def _fetching(lab: Lab, result: Result) -> None:
    size = lab.options.settings_mb
    topic = lab.topic(1)
    measured(lab.openmsi("upload", lab.large_file(size), "-t", topic, state="fetching"))
    receivers = [_receiver(lab, name, topic, client) for name, client in _FETCH.items()]
    runs = contest(receivers, lab.options.repeats)
    lab.drop(topic)
    _both(result, f"Fetching, a file of {size} MB received", receivers, (size, "MB"))
    _note(result, "fetching", runs)


def _both(result: Result, title: str, contestants: list[Contestant], of: tuple[float, str]) -> None:
    result.tables.append(rated(title, contestants, *of))
    result.panels.append(panel(title, contestants, *of))


def _note(result: Result, what: str, runs: dict[str, list[Run]]) -> None:
    result.runs.update({f"{what}: {name}": each for name, each in runs.items()})
