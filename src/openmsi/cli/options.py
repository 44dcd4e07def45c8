"""Options that several verbs share, and what they are turned into."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from openmsi.config import read_client_config
from openmsi.errors import LocalDiskError
from openmsi.kafka import DEFAULT_BOOTSTRAP_SERVERS, KafkaSettings
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


Topic = Annotated[str, typer.Option("--topic", "-t", help="The Kafka topic.", show_default=False)]
Bootstrap = Annotated[
    str | None,
    typer.Option(
        "--bootstrap-servers",
        "-b",
        metavar="HOST:PORT,...",
        envvar="OPENMSI_BOOTSTRAP_SERVERS",
        help=f"The Kafka brokers; {DEFAULT_BOOTSTRAP_SERVERS} if nothing else is said.",
        show_default=False,
    ),
]
ClientConfig = Annotated[
    Path | None,
    typer.Option(
        "--client-config",
        metavar="FILE",
        help="librdkafka settings (TLS, login, ...), one NAME=VALUE a line.",
        show_default=False,
    ),
]
StateDir = Annotated[
    Path | None,
    typer.Option(
        "--state-dir",
        metavar="DIR",
        envvar="OPENMSI_STATE_DIR",
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
Json = Annotated[
    bool, typer.Option("--json", help="One JSON object a line for each event, for programs.")
]
Debug = Annotated[
    bool,
    typer.Option("--debug", callback=set_debug, help="Show what happens inside, on stderr."),
]


def kafka_settings(bootstrap: str | None, client_config: Path | None) -> KafkaSettings:
    """Raises ConfigError for a client configuration that cannot be used."""
    client = read_client_config(client_config) if client_config else {}
    named = client.pop("bootstrap.servers", None)
    return KafkaSettings(bootstrap or named or DEFAULT_BOOTSTRAP_SERVERS, client)


def state_directory(given: Path | None) -> Path:
    return (given or default_state_dir()).absolute()


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
