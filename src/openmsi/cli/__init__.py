"""The command line: one file per verb. Parse -> options -> run(options)."""

from __future__ import annotations

from typing import Annotated

import typer

from openmsi import __version__
from openmsi.cli import broker, config, dead_letters, service, topic
from openmsi.cli.demo import demo
from openmsi.cli.doctor import doctor
from openmsi.cli.download import download
from openmsi.cli.entry import guarded
from openmsi.cli.run import run
from openmsi.cli.status import status
from openmsi.cli.upload import upload
from openmsi.cli.verify import verify
from openmsi.cli.watch import watch

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Streams the files of laboratory instruments through Apache Kafka.",
    epilog="Exit codes: 0 done, 1 a fault of openmsi, 2 wrong command line, 3 some files failed, "
    "4 no broker, 5 not allowed, 6 topic, 7 local disk, 8 in use, 9 configuration, "
    "10 local broker, 11 Kafka, 12 service, 130 interrupted. docs/reference.md tells more.",
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
app.command()(run)
app.command()(status)
app.command()(verify)
app.command()(doctor)
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(topic.app, name="topic")
app.add_typer(broker.app, name="broker")
app.add_typer(config.app, name="config")
app.add_typer(service.app, name="service")


def main() -> None:
    """The console script `openmsi`."""
    guarded("openmsi", app)  # exits by itself, also after a usage error
