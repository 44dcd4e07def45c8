"""openmsi demo: a directory through a real Kafka and back, to see whether and how fast it works."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.filesize import decimal
from rich.live import Live
from rich.table import Table
from rich.text import Text

from openmsi import broker
from openmsi.cli.options import (
    BOOTSTRAP_VARIABLE,
    Bootstrap,
    Config,
    Connection,
    Debug,
    Json,
    existing_directory,
)
from openmsi.cli.sample import drop_sample, prepare_sample
from openmsi.cli.show import clean
from openmsi.cli.topic import FILE_TOPIC_SETTINGS
from openmsi.cli.trial import Outcome, Trial, compare
from openmsi.errors import DiskFull, NotAuthorized, OpenMSIError, SomeFailed, TopicError, UsageError
from openmsi.kafka import KafkaAdmin, KafkaSettings, open_admin
from openmsi.send.files import identity_of
from openmsi.send.filters import Filter
from openmsi.send.scan import Found, scan

PARTITIONS = 6
MAX_ROWS = 50  # of files that are equal


class DemoSummary(msgspec.Struct, frozen=True, tag_field="event", tag="summary"):
    """What the demo found. `bytes` is the size of all files together, `skipped` what is not
    sent on purpose, `seconds` the time from the first drop to the last file rebuilt."""

    files: int
    equal: int
    skipped: int
    bytes: int
    seconds: float
    bootstrap_servers: str
    topic: str


def demo(
    directory: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR", show_default=False, help="Its files are sent; it is only read."
        ),
    ] = None,
    bootstrap_servers: Bootstrap = None,
    config: Config = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Stream the files of DIR, or a small sample, through a real Kafka and compare the copies.

    Starts an Apache Kafka of its own on this machine (the very first time it is fetched, about
    45 MB), or uses the brokers that are named. A sender and a receiver run as separate programs.
    Takes away all that it made; nothing of it is left running.

    Exit code 0: every file was rebuilt with the same content and time. 3: not every one.

    Example: openmsi demo
    """
    root = existing_directory(directory) if directory is not None else None
    theirs = None
    if bootstrap_servers or config is not None or os.environ.get(BOOTSTRAP_VARIABLE):
        theirs = Connection(bootstrap_servers, config).sending()
    show = _Show(as_json)
    with show, _interruptible() as uninterrupted, ExitStack() as stack:
        try:
            outcomes, summary = run(root, theirs, config, show, stack)
            show.results(outcomes, summary, in_place=root is not None)
        finally:
            uninterrupted()
            show.stopping()
    show.last(summary)
    if summary.equal < summary.files:
        missing = [each for each in outcomes if not each.equal]
        names = ", ".join(clean(each.path) for each in missing[:5])
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise SomeFailed("demo", f"{len(missing)} of {summary.files} not equal: {names}{more}")


def run(
    root: Path | None,
    theirs: KafkaSettings | None,
    config: str | None,
    show: _Show,
    stack: ExitStack,
) -> tuple[list[Outcome], DemoSummary]:
    """Do it. What `stack` is given to call ends and takes away all that this starts and makes.

    Args:
        root: the user's directory; None for the sample.
        theirs: the user's brokers; None for one of our own.
    """
    home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="openmsi-demo-")))
    found = _files_of(root, home) if root is not None else []
    _check_space(home, found, copies=1 if theirs else 2)
    settings = theirs or KafkaSettings(_start_broker(home, show, stack))
    topic = f"openmsi-demo-{uuid.uuid4().hex[:8]}"
    show.step(f"making topic {topic} at {settings.bootstrap_servers}")
    admin = open_admin(settings)
    stack.callback(admin.close)
    _make_topic(admin, topic, show, stack if theirs else None)
    source = root or home / "instrument"
    if root is None:
        prepare_sample(source)
    connection = ["--bootstrap-servers", settings.bootstrap_servers]
    if config is not None:
        connection += ["--config", config]
    trial = Trial(source, home, topic, connection, show.say)
    stack.callback(trial.stop)
    for each in found:
        trial.expect(each.native, each.identity)
    show.step("starting openmsi download and openmsi watch")
    trial.start()
    show.doing = lambda: _doing(trial)
    began = _stream(trial, root is not None, show)
    show.doing = None
    for words in trial.words():
        show.say(words)
    show.step("comparing the copies")
    outcomes = [compare(each, trial) for each in trial.items]
    ends = [each.rebuilt for each in trial.items if each.rebuilt is not None]
    return outcomes, DemoSummary(
        len(outcomes),
        sum(each.equal for each in outcomes),
        len(trial.skipped),
        sum(each.size for each in outcomes),
        max(ends, default=began) - began,
        settings.bootstrap_servers,
        topic,
    )


def _stream(trial: Trial, in_place: bool, show: _Show) -> float:
    """Have the files sent and wait for them; returns when it began, in monotonic seconds."""
    if in_place:
        show.step(f"streaming {len(trial.items)} files of {trial.source}")
        trial.wait()
        return trial.began
    show.step("dropping sample files")
    began = time.monotonic()
    for native in drop_sample(trial.source):
        dropped = time.monotonic()
        trial.expect(native, identity_of(os.stat(trial.source / native)), dropped)
        if len(trial.items) == 1:
            trial.wait()  # until the receiver has joined its group, which takes Kafka a while
    trial.wait()
    return began


def _files_of(root: Path, home: Path) -> list[Found]:
    """The files of the user's directory that `openmsi watch` sends."""
    if Path(os.path.realpath(home)).is_relative_to(root):
        why = f"the temporary directory {home.parent} lies in it"
        raise UsageError(str(root), why, "Name another one, or set TMPDIR to a place outside it.")
    found = [step for step in scan(root, "", Filter(), lambda _: {}) if isinstance(step, Found)]
    if not found:
        why = "there is no file in it to send; hidden and temporary names are left out"
        raise UsageError(str(root), why, "Name a directory with files, or none for a sample.")
    return found


def _check_space(home: Path, found: list[Found], copies: int) -> None:
    needed = copies * sum(each.identity.size for each in found)
    free = shutil.disk_usage(home).free
    if needed > free:
        why = f"it has {decimal(free)} left, and the copies need {decimal(needed)}"
        raise DiskFull(str(home.parent), why, "Set TMPDIR to a directory on a larger disk.")


def _start_broker(home: Path, show: _Show, stack: ExitStack) -> str:
    local = broker.LocalBroker(home / "broker", port=0)
    stack.callback(local.wipe)
    if not broker.is_fetched():
        show.step(f"fetching Apache Kafka {broker.KAFKA_VERSION}, about 45 MB, only this once")
    else:
        show.step(f"starting an Apache Kafka {broker.KAFKA_VERSION} of its own")
    return local.start()


def _make_topic(admin: KafkaAdmin, topic: str, show: _Show, stack: ExitStack | None) -> None:
    """Make the topic; `stack` gets its deletion, unless it goes away with the broker."""
    try:
        admin.create_topic(topic, PARTITIONS, FILE_TOPIC_SETTINGS)
    except (TopicError, NotAuthorized):
        raise  # there is none
    except BaseException:
        with suppress(OpenMSIError):
            admin.delete_topic(topic)
        raise
    if stack is not None:
        stack.callback(_delete_topic, admin, topic, show)


def _delete_topic(admin: KafkaAdmin, topic: str, show: _Show) -> None:
    try:
        admin.delete_topic(topic)
    except OpenMSIError as error:
        if not _is_gone(admin, topic):
            text = f"topic {topic!r} may be left at the broker; it could not be deleted"
            show.warn(f"{text}: {error}")


def _is_gone(admin: KafkaAdmin, topic: str) -> bool:
    try:
        admin.describe_topic(topic)
    except TopicError:
        return True
    except OpenMSIError:
        pass
    return False


@contextmanager
def _interruptible() -> Iterator[Callable[[], None]]:
    """Ctrl-C, a polite kill and a closed terminal all interrupt; what is called afterwards makes
    them wait, so that nothing is left half taken away."""
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    # Who starts us with a signal ignored (nohup does) wants it ignored.
    numbers = [each for each in numbers if signal.getsignal(each) != signal.SIG_IGN]

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    def ignore() -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)

    before = {each: signal.signal(each, interrupt) for each in numbers}
    try:
        yield ignore
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _doing(trial: Trial) -> str:
    files, size = trial.progress()
    return f"{files} of {len(trial.items)} rebuilt, {decimal(size)}"


class _Show:
    """What a person sees: on a terminal the step under way, live; else a line for each step.
    With --json, the results alone."""

    def __init__(self, as_json: bool) -> None:
        self.doing: Callable[[], str] | None = None
        self._json = as_json
        self._console = Console()
        self._live: Live | None = None
        self._step = ""
        self._since = 0.0
        if self._console.is_terminal and not as_json:
            self._live = Live(
                console=self._console,
                get_renderable=self._picture,
                refresh_per_second=5,
                transient=True,
            )

    def __enter__(self) -> None:
        if self._live is not None:
            self._live.start()

    def __exit__(self, *_: object) -> None:
        self._end_step()
        if self._live is not None:
            self._live.stop()

    def step(self, text: str) -> None:
        """The next step begins."""
        self._end_step()
        self._step, self._since = text, time.monotonic()
        if self._live is None:
            self._print(text)

    def stopping(self) -> None:
        """The last step, if there was any before it."""
        if self._since:
            self.step("stopping")

    def _end_step(self) -> None:
        if self._live is not None and self._step:
            self._print(f"{self._step}  ({time.monotonic() - self._since:.1f} s)")
        self._step = ""

    def say(self, text: str) -> None:
        """Something happened meanwhile."""
        self._print(f"  {text}")

    def warn(self, text: str) -> None:
        print(f"openmsi: {text}", file=sys.stderr)

    def _print(self, text: str) -> None:
        if not self._json:
            for line in text.splitlines():
                self._console.print(Text(clean(line)), soft_wrap=True)

    def _picture(self) -> Text:
        if not self._step:
            return Text("")
        doing = f": {self.doing()}" if self.doing else ""
        seconds = time.monotonic() - self._since
        return Text(f"{clean(self._step)}{doing}  {seconds:.0f} s ...", style="bold")

    def results(self, outcomes: list[Outcome], summary: DemoSummary, in_place: bool) -> None:
        """The table, or one JSON object for each file and a summary."""
        self._end_step()
        if self._json:
            for each in (*outcomes, summary):
                print(msgspec.json.encode(each).decode(), flush=True)
            return
        since = "since the start" if in_place else "from drop to rebuilt"
        table = Table()
        table.add_column("file", overflow="fold")
        table.add_column("size", justify="right", no_wrap=True)
        table.add_column(since, justify="right")
        table.add_column("digest equal")
        wrong = [each for each in outcomes if not each.equal]
        right = [each for each in outcomes if each.equal]
        for each in (*wrong, *right[:MAX_ROWS]):
            seconds = "" if each.seconds is None else f"{each.seconds:.3f} s"
            equal = "yes" if each.equal else f"NO: {each.reason}"
            cells = (each.path, decimal(each.size), seconds, equal)
            table.add_row(*(Text(clean(cell)) for cell in cells))
        self._console.print(table)
        if len(right) > MAX_ROWS:
            self._print(f"and {len(right) - MAX_ROWS} more files, all equal")

    def last(self, summary: DemoSummary) -> None:
        """What it comes to, when all is taken away."""
        skipped = f", {summary.skipped} skipped" if summary.skipped else ""
        self._print(
            f"{summary.equal} of {summary.files} files equal, content and time of modification"
            f"{skipped}; {decimal(summary.bytes)} in {summary.seconds:.1f} s."
        )
        self._print("Nothing is left running; the copies and the topic are deleted.")
