"""Options that several verbs share, and what they are turned into."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Generic, TypeVar, cast, get_args

import typer

from openmsi.config import ClientSettings, DirectoryStream, LegacyConfig, load
from openmsi.errors import LocalDiskError, UsageError
from openmsi.events import Report
from openmsi.kafka import DEFAULT_BOOTSTRAP_SERVERS, KafkaSettings
from openmsi.priority import lower_priority
from openmsi.send.formats import NATIVE, Format
from openmsi.state import default_state_dir


def set_debug(on: bool) -> None:
    """Show what happens inside on stderr; errors come with their traceback."""
    if on:
        logging.basicConfig(
            level=logging.DEBUG,
            stream=sys.stderr,
            format="%(asctime)s %(levelname)s %(name)s %(message)s",
        )


def debugging() -> bool:
    return logging.getLogger().isEnabledFor(logging.DEBUG)


def _lower_priority(on: bool) -> None:
    if on:
        lower_priority()


Worker = TypeVar("Worker")
_COMPRESSIONS = ("none", "lz4", "zstd")
STATE_VARIABLE = "OPENMSI_STATE_DIR"
BOOTSTRAP_VARIABLE = "OPENMSI_BOOTSTRAP_SERVERS"

Topic = Annotated[str, typer.Option("--topic", "-t", help="The Kafka topic.", show_default=False)]
Bootstrap = Annotated[
    str | None,
    typer.Option(
        "--bootstrap-servers",
        "-b",
        metavar="HOST:PORT,...",
        help="The Kafka brokers. By default those of --config, then those of the environment"
        f" variable {BOOTSTRAP_VARIABLE}, then {DEFAULT_BOOTSTRAP_SERVERS}.",
        show_default=False,
    ),
]
Config = Annotated[
    str | None,
    typer.Option(
        "--config",
        "--client-config",
        metavar="FILE",
        help="Brokers, login and other settings: a file of librdkafka settings, one NAME=VALUE a"
        " line, or a .config file of the OpenMSI programs, or the name of one.",
        show_default=False,
    ),
]
StateDir = Annotated[
    Path | None,
    typer.Option(
        "--state-dir",
        metavar="DIR",
        envvar=STATE_VARIABLE,
        help="Where to remember what was sent and received; a local disk.",
        show_default=False,
    ),
]
ChunkSize = Annotated[
    int | None,
    typer.Option(
        "--chunk-size",
        min=1024,
        metavar="BYTES",
        help="Bytes of a file in one record; by default what fits the topic.",
        show_default=False,
    ),
]
MaxRate = Annotated[
    float | None,
    typer.Option(
        "--max-rate",
        min=0.001,
        metavar="MB/S",
        help="Send at most so many megabytes (10^6 bytes) of files a second, on average.",
        show_default=False,
    ),
]
LowPriority = Annotated[
    bool,
    typer.Option(
        "--low-priority",
        callback=_lower_priority,
        help="Let every other program on this computer go first.",
    ),
]
CompressionOption = Annotated[
    str | None,
    typer.Option(
        "--compression",
        metavar="none|lz4|zstd",
        help="Compress on the way and in the topic; what does not become smaller goes as it is. "
        "lz4 costs little, zstd saves more. By default as --config says, else none.",
        show_default=False,
    ),
]
Prefix = Annotated[
    str, typer.Option("--prefix", metavar="P", help="Put the files under P/ in the topic.")
]
Include = Annotated[
    list[str] | None,
    typer.Option(
        "--include",
        metavar="PATTERN",
        help="Send only what matches, as in .gitignore; may be repeated.",
        show_default=False,
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        metavar="PATTERN",
        help="Do not send what matches, as in .gitignore; may be repeated. Hidden files and"
        " common temporary names are left out anyway; a pattern like !*.tmp takes them back.",
        show_default=False,
    ),
]
After = Annotated[
    str,
    typer.Option(
        "--after",
        metavar="keep|move:DIR|delete",
        help="What to do with a file that is sent. It is deleted only after the topic's copy was"
        " read back and its digest matched.",
    ),
]
FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="native|openmsi-9|openmsi-10",
        help="How to write records. openmsi-9 is read by all OpenMSI programs since 2021-07, "
        "openmsi-10 by those since 1.8.6.1; only native records share work among receivers. By "
        "default openmsi-9 where --config has their DataFileChunkSerializer, else native.",
        show_default=False,
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="One JSON object a line for each event, for programs.")
]
Debug = Annotated[
    bool,
    typer.Option("--debug", callback=set_debug, help="Show what happens inside, on stderr."),
]


class Connection:
    """What --bootstrap-servers, --config and the environment say together, in this order.

    Settings of the file that openmsi does not use are named on stderr.

    Raises:
        ConfigError: there is no such configuration, or it is wrong.
    """

    def __init__(self, bootstrap: str | None, config: str | None) -> None:
        self._file = load(config) if config is not None else ClientSettings()
        self.said = self._file.client if isinstance(self._file, LegacyConfig) else self._file
        self._bootstrap = bootstrap
        for note in self.said.notes:
            print(f"openmsi: note: {note}", file=sys.stderr)

    @property
    def service(self) -> DirectoryStream | None:
        """What a .config file says about the service of 2021."""
        return self._file.service if isinstance(self._file, LegacyConfig) else None

    def sending(self, compression: str | None = None) -> KafkaSettings:
        """For a sender, with this compression if it is given.

        Raises:
            ConfigError: a setting would break a promise.
            UsageError: there is no such compression.
        """
        client = self.said.sending()
        if compression is not None:
            if compression not in _COMPRESSIONS:
                why = f"it is none of {', '.join(_COMPRESSIONS)}"
                raise UsageError(f"--compression {compression}", why)
            client = {**client, "compression.type": compression}
            client.pop("compression.codec", None)  # librdkafka's other name for it
        return self._with(client)

    def receiving(self) -> KafkaSettings:
        """Raises ConfigError for a setting that would break a promise."""
        return self._with(self.said.receiving())

    def telling(self, section: str) -> KafkaSettings:
        """For messages about the program: the section `heartbeat` or `log` of a .config file, or
        what senders have where it has none."""
        theirs = getattr(self._file, section, None)
        return self.sending() if theirs is None else self._with(self.said.broker | theirs)

    def _with(self, client: dict[str, str]) -> KafkaSettings:
        named = client.pop("bootstrap.servers", None)
        around = os.environ.get(BOOTSTRAP_VARIABLE)
        return KafkaSettings(
            self._bootstrap or named or around or DEFAULT_BOOTSTRAP_SERVERS, client
        )


def format_of(given: str | None, said: ClientSettings) -> Format:
    """How to write records: as the command line says, or else the configuration, or natively.

    Raises:
        UsageError: there is no such format.
    """
    for each in get_args(Format):
        if given == each:
            return cast(Format, each)
    if given is not None:
        raise UsageError(f"--format {given}", f"it is none of {', '.join(get_args(Format))}")
    return said.format or NATIVE


def state_directory(given: Path | None) -> Path:
    named = os.environ.get(STATE_VARIABLE)
    return (given or (Path(named) if named else default_state_dir())).absolute()


def existing_directory(path: Path) -> Path:
    """`path`, absolute and without links.

    Raises:
        LocalDiskError: it is not a directory.
    """
    if not path.is_dir():
        why = "it is a file, but a directory is needed" if path.exists() else "there is none"
        raise LocalDiskError(str(path), why, "Name an existing directory.")
    return real_directory(path)


def real_directory(path: Path) -> Path:
    """`path`, absolute and without links.

    Raises:
        LocalDiskError: its name cannot be written down.
    """
    real = os.path.realpath(path)
    try:
        real.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(real).decode(errors="replace")
        raise LocalDiskError(shown, "its name is not valid UTF-8", "Rename it.") from None
    return Path(real)


class StopOnSignal:
    """Turns the first SIGINT or SIGTERM into a wish to stop; a second one ends at once."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, *_: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def __call__(self) -> bool:
        return self.asked


Stop = Callable[[], bool]


@dataclass(frozen=True)
class Host(Generic[Worker]):
    """Whoever runs a sender or receiver: hears of events, says when to stop, and gets to know
    the one at work, for its counts. A topic that was made again brings another one."""

    report: Report
    stop: Stop
    started: Callable[[Worker], None]
