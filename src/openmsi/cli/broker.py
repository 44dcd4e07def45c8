"""openmsi broker start | stop | status | wipe: the local Apache Kafka."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from openmsi import broker
from openmsi.errors import UsageError

app = typer.Typer(
    no_args_is_help=True,
    help="A real Apache Kafka on this machine, for trying things out. Nobody else can reach it.",
)

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="Where the broker keeps its data; by default in your own data directory.",
        show_default=False,
    ),
]

NOT_RUNNING = 3


@app.command()
def start(
    port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65000,
            help="Port to listen on; by default that of the last start, 9092 at first.",
            show_default=False,
        ),
    ] = None,
    data_dir: DataDir = None,
    nodes: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=broker.MAXIMUM_NODES,
            help="How many brokers; more than one take the ports after PORT. By default 1.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Start the broker, wait until it answers, and print its address.

    It keeps running until "openmsi broker stop", and keeps what it holds for the next start.

    The very first start fetches Apache Kafka (about 45 MB) from the internet.

    Example: openmsi broker start
    """
    local = broker.LocalBroker(data_dir, port=port, nodes=nodes)
    running = local.status().running
    if not running and not broker.is_fetched():
        _tell(f"fetching Apache Kafka {broker.KAFKA_VERSION}, about 45 MB, this once")
    address = local.start()
    if running:
        _tell("the local broker is already running")
    print(address)


@app.command()
def stop(data_dir: DataDir = None) -> None:
    """Stop the broker; what it holds is kept for the next start.

    Example: openmsi broker stop
    """
    stopped = broker.LocalBroker(data_dir).stop()
    print("the local broker is stopped" if stopped else "the local broker was not running")


@app.command()
def status(
    data_dir: DataDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Show whether the broker runs, its address, its data and its log.

    Exit code 0 means that it runs, 3 that it does not.

    Example: openmsi broker status
    """
    now = broker.LocalBroker(data_dir).status()
    print(msgspec.json.encode(now).decode() if as_json else _described(now))
    if not now.running:
        raise typer.Exit(NOT_RUNNING)


@app.command()
def wipe(
    data_dir: DataDir = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Stop the broker and delete all that it holds.

    Example: openmsi broker wipe --yes
    """
    local = broker.LocalBroker(data_dir)
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("broker wipe", "it deletes data and nobody can be asked", "add --yes")
        typer.confirm(f"Delete the local broker and all its data in {local.data_dir}?", abort=True)
    print(f"deleted {local.data_dir}" if local.wipe() else "there is no local broker to delete")


def _described(now: broker.Status) -> str:
    up = sum(node.running for node in now.nodes)
    silent = [node for node in now.nodes if node.running and not node.answers]
    state = "stopped" if not now.running else "running"
    if 0 < up < len(now.nodes):
        state += f", {up} of {len(now.nodes)} nodes"
    if silent:
        state += ", but it does not answer" if len(silent) == up else ", but not all answer"
    rows = [
        ("local broker", state),
        ("address", now.bootstrap or "none before the first start"),
        ("Kafka", now.kafka_version),
        ("data", f"{now.data_dir} ({now.size_bytes / 1e6:.1f} MB)"),
    ]
    for node in now.nodes:
        how = f"pid {node.pid}" if node.running else node.problem or "stopped"
        rows.append((f"node {node.number}", f"{node.address}, {how}"))
        rows.append(("  log", node.log))
    return "\n".join(f"{name:<13} {value}" for name, value in rows)


def _tell(text: str) -> None:
    print(f"openmsi: {text}", file=sys.stderr)
