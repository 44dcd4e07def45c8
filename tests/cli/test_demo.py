"""openmsi demo: what it shows, its exit codes, and that it leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from openmsi.cli.sample import PATTERN_HEADER_BYTES, drop_sample, prepare_sample
from openmsi.cli.trial import Item, Trial, compare
from openmsi.errors import TopicError
from openmsi.kafka import KafkaSettings, open_admin

SAMPLE = {
    "logs/session.log",
    "scans/silicon_xrd.csv",
    "images/overview.tif",
    "ebsd/map1_patterns.dat",
    "ebsd/map1.done",
}


@pytest.fixture
def places(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment in which all that the demo makes comes to lie below one directory, which
    must be empty again afterwards, with no process left that has to do with it."""
    temporary, home = tmp_path / "temporary", tmp_path / "home"
    temporary.mkdir()
    home.mkdir()
    environment = {name: os.environ[name] for name in os.environ if name != "OPENMSI_STATE_DIR"}
    environment.pop("OPENMSI_BOOTSTRAP_SERVERS", None)
    environment |= {"TMPDIR": str(temporary), "XDG_STATE_HOME": str(home)}
    environment |= {"XDG_DATA_HOME": str(home), "COLUMNS": "120"}
    yield environment
    assert list(temporary.iterdir()) == []
    assert list(home.iterdir()) == []
    assert processes_about(str(tmp_path)) == []


def processes_about(text: str) -> list[list[str]]:
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words = [*(process.info["cmdline"] or []), process.info["cwd"] or ""]
        if any(text in word for word in words):
            found.append(words)
    return found


def demo(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "openmsi", "demo", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def objects(output: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.splitlines()]


def is_topic(bootstrap: str, name: str) -> bool:
    admin = open_admin(KafkaSettings(bootstrap))
    try:
        admin.describe_topic(name)
    except TopicError:
        return False
    finally:
        admin.close()
    return True


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A user's directory."""
    found = tmp_path / "data"
    (found / "deep/er").mkdir(parents=True)
    (found / "größe 1.csv").write_text("1,2\n")
    (found / "deep/er/-big.dat").write_bytes(bytes(range(256)) * 10_000)
    (found / "empty").touch()
    os.utime(found / "empty", ns=(10**18 + 1, 10**18 + 1))
    return found


def test_without_arguments_it_brings_its_own_kafka_and_shows_a_table(
    places: dict[str, str], kafka_bootstrap: str
) -> None:
    # kafka_bootstrap is not used: it makes sure that Kafka is fetched.
    done = demo(places)
    assert done.returncode == 0, done.stderr
    rows = {line.split()[1]: line for line in done.stdout.splitlines() if line.startswith("│")}
    assert rows.keys() == SAMPLE
    assert all(" s " in row and " yes " in row for row in rows.values())
    assert "5 of 5 files equal" in done.stdout


def test_with_brokers_of_the_user_it_deletes_its_topic(
    places: dict[str, str], kafka_bootstrap: str
) -> None:
    done = demo(places, "--json", "--bootstrap-servers", kafka_bootstrap)
    assert (done.returncode, done.stderr) == (0, "")
    *files, summary = objects(done.stdout)
    assert {each["path"] for each in files} == SAMPLE
    for each in files:
        assert each["equal"] is True
        assert each["mtime_equal"] is True
        assert each["digest"] == each["received_digest"]
        assert isinstance(each["seconds"], float)
    assert (summary["files"], summary["equal"]) == (5, 5)
    assert summary["bootstrap_servers"] == kafka_bootstrap
    assert not is_topic(kafka_bootstrap, str(summary["topic"]))


def test_a_directory_of_the_user_is_only_read(
    places: dict[str, str], kafka_bootstrap: str, directory: Path
) -> None:
    before = snapshot(directory)
    places["OPENMSI_BOOTSTRAP_SERVERS"] = kafka_bootstrap
    done = demo(places, "--json", str(directory))
    assert done.returncode == 0, done.stderr
    assert {each["path"] for each in objects(done.stdout)[:-1]} == {
        "größe 1.csv",
        "deep/er/-big.dat",
        "empty",
    }
    assert snapshot(directory) == before


def snapshot(directory: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(each): (each.stat().st_mtime_ns, b"" if each.is_dir() else each.read_bytes())
        for each in (directory, *directory.rglob("*"))
    }


def test_a_file_that_is_refused_is_named_and_the_exit_code_is_3(
    places: dict[str, str], kafka_bootstrap: str, directory: Path
) -> None:
    (directory / "aux.txt").touch()
    (directory / "link").symlink_to("empty")
    done = demo(places, "--bootstrap-servers", kafka_bootstrap, str(directory))
    assert done.returncode == 3
    assert "reserved device name on Windows" in done.stdout
    assert "skipped link: it is a symbolic link" in done.stdout
    assert "3 of 4 files equal" in done.stdout
    assert done.stderr == "openmsi: demo: 1 of 4 not equal: aux.txt\n"


class Unsettled:
    """A file that is written to all the time, so that the demo is not done while it lasts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._write)
        with open(self._path, "w"):
            pass

    def _write(self) -> None:
        with open(self._path, "a") as file:
            while not self._done.wait(0.2):
                file.write("on and on\n")
                file.flush()

    def __enter__(self) -> Unsettled:
        self._thread.start()
        return self

    def settle(self) -> None:
        self._done.set()

    def __exit__(self, *_: object) -> None:
        self.settle()
        self._thread.join()


@contextlib.contextmanager
def running(environment: dict[str, str], *command: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, *command],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()


def read_until(process: subprocess.Popen[str], text: str) -> list[str]:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError(f"{text!r} never came: {lines} {process.communicate()}")


def topic_in(lines: list[str]) -> str:
    return next(line.split()[2] for line in lines if line.startswith("making topic"))


def test_a_copy_with_other_content_is_found(
    places: dict[str, str], kafka_bootstrap: str, directory: Path
) -> None:
    victim = directory / "größe 1.csv"
    with (
        Unsettled(directory / "unsettled.log") as unsettled,
        running(places, "-m", "openmsi", "demo", "-b", kafka_bootstrap, str(directory)) as process,
    ):
        read_until(process, "rebuilt größe 1.csv")
        stat = victim.stat()
        with open(victim, "r+b") as file:  # in place, and the time put back: nobody can notice
            file.write(b"9")
        os.utime(victim, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        unsettled.settle()
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "NO: the content differs" in output
    assert "not equal: größe 1.csv" in errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_it_takes_everything_away(
    places: dict[str, str], kafka_bootstrap: str, directory: Path, number: signal.Signals
) -> None:
    with (
        Unsettled(directory / "unsettled.log"),
        running(places, "-m", "openmsi", "demo", "-b", kafka_bootstrap, str(directory)) as process,
    ):
        topic = topic_in(read_until(process, "streaming"))
        assert is_topic(kafka_bootstrap, topic)
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert not is_topic(kafka_bootstrap, topic)


def test_interrupted_while_its_own_kafka_starts_it_takes_everything_away(
    places: dict[str, str], kafka_bootstrap: str
) -> None:
    with running(places, "-m", "openmsi", "demo") as process:
        read_until(process, "starting an Apache Kafka")
        time.sleep(1.5)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130


def test_a_failed_child_is_told_in_its_own_words(
    places: dict[str, str], kafka_bootstrap: str, directory: Path, tmp_path: Path
) -> None:
    settings = tmp_path / "client.properties"
    # Only a member of a consumer group finds out that the broker does not take this.
    settings.write_text("session.timeout.ms=1000\nheartbeat.interval.ms=100\n")
    done = demo(places, "-b", kafka_bootstrap, "--client-config", str(settings), str(directory))
    assert done.returncode == 3
    assert done.stderr.startswith("openmsi: demo: `openmsi download` ended with exit code 11\n")
    assert "session timeout" in done.stderr
    assert not is_topic(kafka_bootstrap, topic_in(done.stdout.splitlines()))


def test_a_killed_child_is_told(
    places: dict[str, str], kafka_bootstrap: str, directory: Path
) -> None:
    with (
        Unsettled(directory / "unsettled.log"),
        running(places, "-m", "openmsi", "demo", "-b", kafka_bootstrap, str(directory)) as process,
    ):
        topic = topic_in(read_until(process, "streaming"))
        (child,) = (
            each for each in psutil.Process(process.pid).children() if "watch" in each.cmdline()
        )
        child.kill()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "`openmsi watch` was ended by signal 9" in errors
    assert not is_topic(kafka_bootstrap, topic)


_IMPATIENT = """
import sys
from openmsi.__main__ import main
from openmsi.cli import trial
trial.STALL_SECONDS = 4.0
sys.argv = ["openmsi", *sys.argv[1:]]
main()
"""


def test_when_nothing_moves_any_more_it_says_what_is_missing(
    places: dict[str, str], kafka_bootstrap: str, directory: Path
) -> None:
    arguments = ("demo", "-b", kafka_bootstrap, str(directory))
    with (
        Unsettled(directory / "unsettled.log"),
        running(places, "-c", _IMPATIENT, *arguments) as process,
    ):
        output, errors = process.communicate(timeout=90)
    assert process.returncode == 3
    assert "NO: nothing moved for 4 s" in output
    assert "1 of 4 not equal: unsettled.log" in errors


def test_a_directory_with_nothing_to_send_is_an_error(
    places: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/.hidden").touch()
    done = demo(places, str(tmp_path / "data"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "no file in it to send" in done.stderr


def test_the_directory_with_the_temporary_files_is_refused(
    places: dict[str, str], tmp_path: Path
) -> None:
    done = demo(places, str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert "TMPDIR" in done.stderr


def test_an_address_where_nobody_answers(places: dict[str, str]) -> None:
    done = demo(places, "--bootstrap-servers", "127.0.0.1:1")
    assert done.returncode == 4
    assert done.stderr.startswith("openmsi: Kafka at 127.0.0.1:1: ")


# -- the parts ------------------------------------------------------------------------------


def test_the_sample_is_the_same_at_every_run(tmp_path: Path) -> None:
    for name in ("one", "two"):
        prepare_sample(tmp_path / name)
        assert set(drop_sample(tmp_path / name)) == SAMPLE
    for name in SAMPLE:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    patterns = (tmp_path / "one/ebsd/map1_patterns.dat").read_bytes()
    assert len(patterns) == PATTERN_HEADER_BYTES + 75 * 75 * 60 * 60
    first, second = patterns[512 : 512 + 3600], patterns[512 + 3600 : 512 + 7200]
    assert first != second
    image = (tmp_path / "one/images/overview.tif").read_bytes()
    assert len(image) == struct.unpack_from("<I", image, 8 + 2 + 5 * 12 + 8)[0] + 640 * 480


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        ("", ""),
        ("content", "the content differs"),
        ("mtime", "the time of modification differs"),
        ("gone", "the copy cannot be read"),
        ("changed", "it changed while the demo ran"),
    ],
)
def test_compare_finds_every_difference(tmp_path: Path, harm: str, reason: str) -> None:
    source, home = tmp_path / "source", tmp_path / "home"
    trial = Trial(source, home, "topic", [], print)
    for each in (source, trial.received):
        each.mkdir(parents=True)
        (each / "file").write_bytes(b"content")
        os.utime(each / "file", ns=(10**18, 10**18))
    copy = trial.received / "file"
    if harm == "content":
        copy.write_bytes(b"CONTENT")
        os.utime(copy, ns=(10**18, 10**18))
    elif harm == "mtime":
        os.utime(copy, ns=(10**18, 10**18 + 1000))
    elif harm == "gone":
        copy.unlink()
    elif harm == "changed":
        (source / "file").write_bytes(b"later")
    outcome = compare(Item("file", "file", 7, 10**18, dropped=1.0, rebuilt=1.5), trial)
    assert outcome.equal is (harm == "")
    assert outcome.reason.startswith(reason)
    assert outcome.seconds == 0.5
    assert outcome.mtime_equal is (harm in ("", "content"))
