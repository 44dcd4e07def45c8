"""The command lines of the OpenMSI programs of 2021 and of today.

They are read with argparse, as by the programs themselves: options may be shortened.
"""

from __future__ import annotations

import argparse
import logging
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openmsi.cli.legacy.console import LogOptions
from openmsi.errors import UsageError

Adds = Callable[[argparse.ArgumentParser], None]

_OURS = "openmsi bounds its threads and memory itself"
_NO_CRYPTO = ("KafkaCrypto is not supported", "Programs that use it cannot be replaced yet.")
_ONE_TOPIC = ("there is one topic only", "Name it with --topic_name.")

# What is taken and changes nothing: where argparse puts it, the option, the reason.
_NO_EFFECT = (
    ("n_threads", "--n_threads", _OURS),
    ("queue_max_size", "--queue_max_size", _OURS),
    ("use_polling_observer", "--use_polling_observer", "the directory is looked through anyway"),
    ("group_of_sender", "--consumer_group_id", "only receivers are in a group"),
)
# Options that are not supported: why, and what to do instead.
_REFUSED = {
    "--consumer_topic_name": _ONE_TOPIC,
    "--producer_topic_name": _ONE_TOPIC,
    "--treat_undecryptable_as_plaintext": _NO_CRYPTO,
    "--max_wait_per_decrypt": _NO_CRYPTO,
    "--max_initial_wait_per_decrypt": _NO_CRYPTO,
    "--download_regex": (
        "openmsi rebuilds all files of a topic",
        "Leave it out, or put the files that are wanted into a topic of their own.",
    ),
}
_FLAGS = ("--use_polling_observer", "--treat_undecryptable_as_plaintext")


@dataclass(frozen=True)
class Told:
    """Messages about the program to a topic; `id` begins their key."""

    topic: str
    id: str
    seconds: float


@dataclass(frozen=True)
class Arguments:
    """What one of the programs is asked to do. An option that it does not have is at its default.

    Args:
        target: the file or directory.
        threads: as given or by default; only repeated in a line.
        notes: options that change nothing, and why.
    """

    program: str
    target: Path
    config: str
    topic: str
    threads: int
    log: LogOptions
    chunk_size: int = 0
    update_seconds: float = -1
    new_only: bool = False
    settle: float = 2.0
    regex: str = ""
    group: str = ""
    heartbeat: Told | None = None
    log_topic: Told | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Program:
    """One command: its name, what it does, its one argument, and what its options add."""

    name: str
    does: str
    target: str
    joint: str  # between name and time in each line
    defaults: Mapping[str, Any]
    adds: tuple[Adds, ...]


def parse(program: Program, words: list[str] | None = None) -> Arguments:
    """Read the command line. Ends the program with code 2 where it is wrong, as it is usual.

    Raises:
        UsageError: an option is not supported.
    """
    parser = argparse.ArgumentParser(program.name, description=program.does)
    parser.add_argument("target", metavar=program.target, type=Path)
    for add in program.adds:
        add(parser)
    parser.set_defaults(**program.defaults)
    given = vars(parser.parse_args(words))
    for option, reason in _REFUSED.items():
        if given.get(option[2:]) not in (None, False):
            raise UsageError(option, *reason)
    notes = [
        f"{option} changes nothing: {why}"
        for name, option, why in _NO_EFFECT
        if given.get(name) not in (None, False)
    ]
    return Arguments(
        program.name,
        given["target"],
        given["config"],
        given["topic_name"],
        given["n_threads"] or given["threads"],
        LogOptions(
            f"{program.name}{program.joint}",
            given.get("logger_stream_level", logging.INFO),
            given.get("logger_file_path"),
            given.get("logger_file_level", logging.WARNING),
        ),
        given.get("chunk_size", 0),
        given.get("update_seconds", -1),
        given.get("new_files_only", False) or given.get("upload_existing") is False,
        given.get("watchdog_lag_time", 2.0),
        given.get("upload_regex", ""),
        given.get("consumer_group_id", ""),
        _told(program.name, given, "heartbeat"),
        _told(program.name, given, "log"),
        notes,
    )


def _told(program: str, given: Mapping[str, Any], what: str) -> Told | None:
    topic = given.get(f"{what}_topic_name")
    if not topic:
        return None
    name = given[f"{what}_program_id"] or f"{program}@{socket.gethostname()}"
    return Told(topic, name, given[f"{what}_interval_secs"])


# -- what the options are ----------------------------------------------------------------------


def common(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--config", metavar="NAME", help="a .config file, or the name of one (default: test)")
    add("--topic_name", metavar="TOPIC", help="the Kafka topic (default: %(default)s)")
    add("--n_threads", type=whole_number, metavar="N", help="changes nothing")


def chunks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--chunk_size",
        type=whole_number,
        metavar="BYTES",
        help="bytes of a file in one record (default: %(default)s)",
    )


def queue(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--queue_max_size", type=whole_number, metavar="N", help="changes nothing")


def updates(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--update_seconds",
        type=float,
        metavar="SECONDS",
        help="between two dots that show that it is alive; -1 for none (default: %(default)s)",
    )


def group_of_sender(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--consumer_group_id", dest="group_of_sender", metavar="GROUP", help="changes nothing"
    )


def new_only(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--new_files_only",
        action="store_true",
        help="leave alone what is there at the first start",
    )


def group_of_2021(parser: argparse.ArgumentParser) -> None:
    _group(parser, "--consumer_group_ID", "that of the configuration, or else a fresh one")


def group(parser: argparse.ArgumentParser) -> None:
    _group(parser, "--consumer_group_id", "a fresh one")


def _group(parser: argparse.ArgumentParser, option: str, default: str) -> None:
    text = f"receivers of one group share the work; by default {default}"
    parser.add_argument(option, dest="consumer_group_id", default="", metavar="GROUP", help=text)


def logs(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    words = "debug, info, warning, error, critical or a number"
    add(
        "--logger_stream_level",
        type=level,
        default="info",
        metavar="LEVEL",
        help=f"lines shown from: {words}",
    )
    add("--logger_file_path", type=Path, metavar="FILE", help="also write lines into this file")
    add(
        "--logger_file_level",
        type=level,
        default="warning",
        metavar="LEVEL",
        help=f"lines kept from: {words}",
    )


def told(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    for what, default in (("heartbeat", 900.0), ("log", 60.0)):
        add(f"--{what}_topic_name", metavar="TOPIC", help=f"put {what} messages into this topic")
        add(f"--{what}_program_id", metavar="ID", help="begins the key of these messages")
        add(
            f"--{what}_interval_secs",
            type=seconds,
            default=default,
            metavar="SECONDS",
            help="between two messages (default: %(default)s)",
        )


def watching(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--upload_regex",
        default="",
        metavar="REGEX",
        help="send only files whose relative path begins like this",
    )
    add("--upload_existing", action="store_true", help="send what is there already, too")
    add(
        "--watchdog_lag_time",
        type=seconds,
        default=3.0,
        metavar="SECONDS",
        help="a file unchanged for so long is sent (default: %(default)s)",
    )


def without_use(*options: str) -> Adds:
    """Options that are refused, or change nothing: known, so that they can be named."""

    def add(parser: argparse.ArgumentParser) -> None:
        for option in options:
            text = "not supported" if option in _REFUSED else "changes nothing"
            if option in _FLAGS:
                parser.add_argument(option, action="store_true", help=text)
            else:
                parser.add_argument(option, metavar="X", help=text)

    return add


def whole_number(text: str) -> int:
    number = int(text)
    if number <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds")
    return number


def level(text: str) -> int:
    names = {**logging.getLevelNamesMapping(), "NOTSET": 0}
    return names[text.upper()] if text.upper() in names else int(text)
