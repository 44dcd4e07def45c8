"""openmsi topic create | show: a topic with settings that suit files."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer
from rich.filesize import decimal

from openmsi.cli.options import Bootstrap, Config, Connection, Debug
from openmsi.kafka import TopicInfo, open_admin

app = typer.Typer(no_args_is_help=True, help="Make a topic for files, or look at one.")

Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")]

# Compaction would keep only the last chunk of each file. Retention must go by the broker's
# clock: a record from an instrument whose clock is wrong would be deleted at once, or never.
FILE_TOPIC_SETTINGS = {"cleanup.policy": "delete", "message.timestamp.type": "LogAppendTime"}


@app.command()
def create(
    name: Name,
    partitions: Annotated[
        int, typer.Option(min=1, max=10_000, help="At most so many receivers share the work.")
    ] = 6,
    bootstrap_servers: Bootstrap = None,
    config: Config = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Make a topic.

    Example: openmsi topic create ebsd
    """
    admin = open_admin(Connection(bootstrap_servers, config).sending())
    try:
        _show(admin.create_topic(name, partitions, FILE_TOPIC_SETTINGS), as_json)
    finally:
        admin.close()


@app.command()
def show(
    name: Name,
    bootstrap_servers: Bootstrap = None,
    config: Config = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show a topic's settings and what they mean for files.

    Example: openmsi topic show ebsd
    """
    admin = open_admin(Connection(bootstrap_servers, config).sending())
    try:
        _show(admin.describe_topic(name), as_json)
    finally:
        admin.close()


def _show(topic: TopicInfo, as_json: bool) -> None:
    if as_json:
        print(msgspec.json.encode(topic).decode())
        return
    rows = [
        ("topic", topic.name),
        ("partitions", str(topic.partitions)),
        ("copies", f"{topic.replication}, of which {topic.min_insync_replicas} must be in sync"),
        ("largest record", decimal(topic.max_message_bytes)),
        ("records kept", _retention(topic)),
    ]
    print("\n".join(f"{label:<15} {value}" for label, value in rows))
    if "compact" in topic.cleanup_policy:
        print("warning: the topic is compacted, which destroys files of more than one record;")
        print("         set its cleanup.policy to delete")


def _retention(topic: TopicInfo) -> str:
    parts = []
    if topic.retention_ms is not None:
        parts.append(f"{topic.retention_ms / 86_400_000:g} days")
    if topic.retention_bytes is not None:
        parts.append(f"up to {decimal(topic.retention_bytes)} a partition")
    return " and ".join(parts) or "for ever"
