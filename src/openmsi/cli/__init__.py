"""The command line: one file per verb. Parse -> options -> run(options)."""

from __future__ import annotations

import io
import sys
import traceback
import warnings
from typing import Annotated

import typer

from openmsi import __version__
from openmsi.cli import broker, dead_letters, topic
from openmsi.cli.demo import demo
from openmsi.cli.download import download
from openmsi.cli.options import debugging
from openmsi.cli.status import status
from openmsi.cli.upload import upload
from openmsi.cli.verify import verify
from openmsi.cli.watch import watch
from openmsi.errors import OpenMSIError

INTERRUPTED = 130

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Streams the files of laboratory instruments through Apache Kafka.",
    epilog="Exit codes: 0 done, 1 a fault of openmsi, 2 wrong command line, 3 some files failed, "
    "4 no broker, 5 not allowed, 6 topic, 7 local disk, 8 in use, 9 configuration, "
    "10 local broker, 11 Kafka, 130 interrupted. docs/reference.md tells more.",
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"openmsi {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


app.command()(demo)
app.command()(upload)
app.command()(watch)
app.command()(download)
app.command()(status)
app.command()(verify)
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(topic.app, name="topic")
app.add_typer(broker.app, name="broker")


def main() -> None:
    """The console script: every error becomes a message and a documented exit code."""
    for stream in (sys.stdout, sys.stderr):
        # File names know no locale: they are written as UTF-8, whatever a pipe pretends to be.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    # watchdog says so when directories appear while it looks; the scan finds them all the same.
    warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning)
    try:
        app()  # exits by itself, also after a usage error
    except OpenMSIError as error:
        if debugging():
            traceback.print_exc()
        print(f"openmsi: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()  # nobody reads our output any more: nothing to say
        sys.exit(INTERRUPTED)
    except Exception as error:
        if debugging():
            raise
        print(f"openmsi: an error of openmsi itself: {error!r}", file=sys.stderr)
        print("  The same command with --debug shows where; please report it.", file=sys.stderr)
        sys.exit(OpenMSIError.exit_code)
