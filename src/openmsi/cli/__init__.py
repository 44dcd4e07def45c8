"""The command line: one file per verb. Parse -> options -> run(options)."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Annotated

import typer

from openmsi import __version__

# Each in the module of its name: a function, or an app of several commands.
VERBS = (
    "demo",
    "upload",
    "watch",
    "download",
    "run",
    "status",
    "verify",
    "doctor",
    "dead-letters",
    "topic",
    "broker",
    "config",
    "service",
)
_HELP = "Streams the files of laboratory instruments through Apache Kafka."
_EPILOG = (
    "Exit codes: 0 done, 1 a fault of openmsi, 2 wrong command line, 3 some files failed, "
    "4 no broker, 5 not allowed, 6 topic, 7 local disk, 8 in use, 9 configuration, "
    "10 local broker, 11 Kafka, 12 service, 130 interrupted. docs/reference.md tells more."
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"openmsi {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def make_app(verbs: Iterable[str] = VERBS) -> typer.Typer:
    """The program with these verbs."""
    app = typer.Typer(
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        help=_HELP,
        epilog=_EPILOG,
    )
    app.callback()(_root)
    for verb in verbs:
        module = import_module(f"openmsi.cli.{verb.replace('-', '_')}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=verb)
        else:
            app.command(verb)(getattr(module, verb))
    return app


def named_app(arguments: list[str]) -> typer.Typer:
    """The program with the verb that these arguments name; with all when they name none."""
    # To import the modules of all verbs takes longer than sending a small file.
    named = arguments[:1]
    return make_app(named if set(named) & set(VERBS) else VERBS)
