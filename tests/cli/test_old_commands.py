"""The commands of the OpenMSI programs: typed as users were shown, against a real Kafka."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
from old_site import CONFIG, Site, Terminal, script, wait

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="its console is not a pipe")

STAMP = r"\[{} \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d\] "
MOMENT = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}"
DATA_FILE = "1a0ceb89-b5f0-45dc-9c12-63d3020e2217.dat"


@pytest.fixture
def site(tmp_path: Path, kafka_bootstrap: str, topic_name: str) -> Iterator[Site]:
    site = Site(tmp_path, kafka_bootstrap, topic_name)
    try:
        yield site
    finally:
        site.close()


def instrument_file(site: Site, size: int = 40_000) -> Path:
    path = site.source / DATA_FILE
    path.write_bytes(os.urandom(size))
    return path


# -- as on the slides --------------------------------------------------------------------------


def test_reconstruct_data_files_at_a_terminal(site: Site) -> None:
    site.create("oxford_EBSD")
    sent = site.run(
        "upload_data_file", instrument_file(site), "--config", "prod", "--topic_name", "oxford_EBSD"
    )
    assert sent.returncode == 0, sent.stderr
    typed = ["test_ebsd_reco", "--config", "prod", "--topic_name", "oxford_EBSD"]
    with Terminal(site, "reconstruct_data_files", *typed, "--update_seconds", "1") as terminal:
        before = terminal.settings()
        terminal.until(" successfully reconstructed ")
        terminal.until(r"\] \.")
        terminal.type("C")
        terminal.until("so far")
        terminal.type("x\r q")
        assert terminal.ended() == 0, terminal.screen
        assert terminal.settings() == before
        screen = terminal.screen
    assert (site.home / "test_ebsd_reco" / DATA_FILE).read_bytes() == (
        site.source / DATA_FILE
    ).read_bytes()
    stamp = STAMP.format("reconstruct_data_files at")
    where = re.escape(str(site.home / "test_ebsd_reco"))
    expected = [
        f"{stamp}Listening for files to reconstruct in {where}",
        f"{stamp}Will listen for files from the oxford_EBSD topic using 5 threads",
        f"{stamp}File {DATA_FILE} successfully reconstructed locally from stream",
        rf"{stamp}\.",
        "c",
        f"{stamp}3 messages read, 1 files completely reconstructed so far",
        "q",
        f"{stamp}File reconstructor writing to {where} shut down",
        f"{stamp}3 total messages were consumed and the following 1 file was successfully "
        f"reconstructed from {MOMENT} to {MOMENT}",
        f"\t{DATA_FILE}",
    ]
    dots = re.compile(expected[3])
    lines = [each for each in screen.splitlines() if not dots.fullmatch(each)]
    assert any(map(dots.fullmatch, screen.splitlines()))
    del expected[3]
    assert len(lines) == len(expected), screen
    for line, pattern in zip(lines, expected, strict=True):
        assert re.fullmatch(pattern, line), (line, pattern)


def test_files_added_to_a_directory_are_uploaded_until_q(site: Site) -> None:
    (site.source / "before.dat").write_bytes(b"was there")
    program = site.start(
        "upload_data_files_added_to_directory", site.source, *site.options(), "--new_files_only"
    )
    program.until("Listening for files")
    instrument_file(site)
    program.until(f"sent +{DATA_FILE}")
    program.type("check\n")
    program.until(
        "3 messages sent, 1 files completely uploaded so far, 40.0 kB read, 0 files waiting"
    )
    program.type("QUIT\n")
    assert program.ended() == 0
    assert program.output.count("so far") == 1, "check is one word, not two c"
    assert "before.dat" not in program.output
    assert re.match(STAMP.format("upload_data_files_added_to_directory at"), program.output)


# -- the end of input --------------------------------------------------------------------------


def test_the_end_of_input_means_to_go_on_and_costs_nothing(site: Site) -> None:
    program = site.start("reconstruct_data_files", "out", *site.options(), stdin=subprocess.DEVNULL)
    program.until("Will listen")
    watched = psutil.Process(program.process.pid)
    time.sleep(1)
    before = sum(watched.cpu_times()[:2])
    time.sleep(3)
    used = sum(watched.cpu_times()[:2]) - before
    assert program.process.poll() is None, program.output
    assert used < 0.6, f"{used} s of processor in 3 s"
    program.process.send_signal(signal.SIGTERM)
    assert program.ended() == 0
    assert "0 total messages were consumed and no files were" in program.output


def test_what_was_typed_before_the_end_of_input_counts(site: Site) -> None:
    program = site.start("DataFileDownloadDirectory", "out", *site.options())
    program.type("c")
    assert program.process.stdin is not None
    program.process.stdin.close()
    program.until("0 messages read, 0 files completely reconstructed so far")
    assert program.process.poll() is None
    program.process.send_signal(signal.SIGTERM)
    assert program.ended() == 0


# -- groups ------------------------------------------------------------------------------------


def test_a_fresh_group_receives_everything_again_and_a_named_one_goes_on(site: Site) -> None:
    assert site.run("UploadDataFile", instrument_file(site), *site.options()).returncode == 0

    def received(*more: str) -> bool:
        program = site.start("DataFileDownloadDirectory", "out", *site.options(), *more)
        program.until("Will listen")
        deadline = time.monotonic() + 4
        while "successfully" not in program.output and time.monotonic() < deadline:
            time.sleep(0.1)
        program.type("q")
        assert program.ended() == 0, program.output
        return f"File {DATA_FILE} successfully reconstructed" in program.output

    # As the program itself, it asks its command line for the group and not the configuration.
    config = site.home / "configs" / "prod.config"
    config.write_text(CONFIG.replace("create_new", f"{site.topic}-named"))
    assert received()
    (site.home / "out" / DATA_FILE).unlink()
    assert received(), "each start has a group of its own"
    assert (site.home / "out" / DATA_FILE).exists()
    group = ["--consumer_group_id", f"{site.topic}-group"]
    assert received(*group)
    assert not received(*group), "the group had it"
    # What the groups that are over knew is not kept.
    journals = [*(site.home / "state" / "receive").glob("*.sqlite")]
    assert len(journals) == 2


def test_two_programs_do_not_write_into_one_directory(site: Site) -> None:
    first = site.start("DataFileDownloadDirectory", "out", *site.options())
    first.until("Will listen")
    second = site.run("DataFileDownloadDirectory", "out", *site.options())
    assert second.returncode == 8
    assert f"process {first.process.pid}" in second.stderr


# -- which files -------------------------------------------------------------------------------


def test_what_the_older_programs_left_in_the_directory_is_not_sent(site: Site) -> None:
    (site.source / "LOGS").mkdir()
    (site.source / "LOGS" / "uploaded_to_x.csv").write_text("theirs")
    (site.source / "DataFileUploadDirectory.log").write_text("theirs")
    (site.source / "catalog.csv").write_text("ours")
    program = site.start(
        "DataFileUploadDirectory", site.source, *site.options(), "--upload_existing"
    )
    program.until(r"sent +catalog\.csv")
    program.type("q")
    assert program.ended() == 0
    assert "1 sent" in program.output and "LOGS" not in program.output


def test_a_regular_expression_chooses_by_relative_path(site: Site) -> None:
    for name in ("keep/a.tmp", "keep/b.dat", "other/keep.dat"):
        path = site.source / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    regex = ["--upload_existing", "--upload_regex", r"keep/.*\.(tmp|dat)"]
    program = site.start("DataFileUploadDirectory", site.source, *site.options(), *regex)
    program.until("b.dat")
    program.until("a.tmp")
    program.type("q")
    assert program.ended() == 0
    assert "2 sent" in program.output and "other" not in program.output
    status = site.run("openmsi", "status", site.source)
    assert status.returncode == 0, f"what is not to be sent does not wait: {status.stdout}"


# -- heartbeats and logs -----------------------------------------------------------------------


def test_heartbeats_and_logs_go_to_their_topics(site: Site) -> None:
    hearts, logs = f"{site.topic}-hearts", f"{site.topic}-logs"
    for topic in (hearts, logs):
        site.create(topic, 1)
    (site.home / "configs" / "prod.config").write_text(
        CONFIG + "[heartbeat]\nlinger.ms = 1\nprefer.separate.producer = True\n[log]\n"
    )
    told = ["--heartbeat_topic_name", hearts, "--heartbeat_interval_secs", "1"]
    told += ["--log_topic_name", logs, "--log_interval_secs", "1", "--log_program_id", "sem3"]
    instrument_file(site, 600_000)
    up = site.start(
        "DataFileUploadDirectory",
        site.source,
        *[*site.options(), *told, "--heartbeat_program_id", "up", "--upload_existing"],
    )
    up.until(f"sent +{DATA_FILE}")
    up.type("q")
    assert up.ended() == 0, up.output
    down = site.start(
        "DataFileDownloadDirectory",
        *["out", *site.options(), *told, "--heartbeat_program_id", "down"],
    )
    down.until("successfully")
    down.type("q")
    assert down.ended() == 0, down.output
    beats = site.values(hearts)
    for key, value in beats:
        moment = str(value.pop("timestamp"))
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", moment)
        if key == "up_heartbeat":
            assert value.keys() == {"n_messages_produced", "n_bytes_produced"}
        else:
            names = {f"n_{what}_{how}" for what in ("messages", "bytes") for how in HOW}
            assert key == "down_heartbeat" and value.keys() == names
    assert total(beats, "n_messages_produced") == 2
    assert total(beats, "n_bytes_produced") == 600_000
    assert total(beats, "n_messages_read") == total(beats, "n_messages_processed") == 2
    lines = []
    for key, value in site.values(logs):
        assert key == "sem3_log" and value.keys() == {"timestamp", "messages"}
        assert isinstance(value["timestamp"], float) and isinstance(value["messages"], list)
        lines += value["messages"]
    assert any(each.startswith("Listening for files to upload") for each in lines)
    assert f"File {DATA_FILE} successfully reconstructed locally from stream" in lines


HOW = ("read", "processed")


def total(beats: list[tuple[str, dict[str, object]]], name: str) -> int:
    numbers = [value.get(name, 0) for _, value in beats]
    return sum(each for each in numbers if isinstance(each, int))


def test_a_topic_for_heartbeats_that_is_not_there_is_named_at_the_start(site: Site) -> None:
    told = ["--heartbeat_topic_name", f"{site.topic}-none"]
    answer = site.run("DataFileDownloadDirectory", "out", *site.options(), *told)
    assert answer.returncode == 6 and f"{site.topic}-none" in answer.stderr


def test_a_topic_for_heartbeats_that_goes_away_stops_nothing(site: Site) -> None:
    hearts = f"{site.topic}-hearts"
    site.create(hearts, 1)
    told = ["--heartbeat_topic_name", hearts, "--heartbeat_interval_secs", "0.5"]
    program = site.start("DataFileUploadDirectory", site.source, *site.options(), *told)
    program.until("Listening")
    site.admin.delete_topics([hearts])[hearts].result(30)
    site.topics.remove(hearts)
    time.sleep(2)
    instrument_file(site)
    program.until(f"sent +{DATA_FILE}")
    program.type("q")
    assert program.ended() == 0
    assert re.search(rf"\d+ messages did not reach topic '{hearts}'", program.output)


# -- options -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("DataFileDownloadDirectory", ["--download_regex", "x"]),
        ("DataFileDownloadDirectory", ["--consumer_topic_name", "x"]),
        ("DataFileDownloadDirectory", ["--producer_topic_name", "x"]),
        ("DataFileUploadDirectory", ["--treat_undecryptable_as_plaintext"]),
        ("DataFileUploadDirectory", ["--max_wait_per_decrypt", "3"]),
        ("DataFileUploadDirectory", ["--max_initial_wait_per_decrypt", "3"]),
    ],
)
def test_an_option_that_is_not_supported_is_refused_by_name(
    name: str, option: list[str], tmp_path: Path
) -> None:
    answer = subprocess.run(
        [script(name), str(tmp_path), *option], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 2
    assert answer.stderr.startswith(f"{name}: {option[0]}: ")
    assert answer.stderr.count("\n") == 2, "why, and what to do"


def test_options_that_change_nothing_are_named(site: Site) -> None:
    program = site.start(
        "DataFileUploadDirectory",
        site.source,
        *[*site.options(), "--n_threads", "7", "--queue_max_size", "9"],
        *("--use_polling_observer", "--consumer_group_id", "g", "--update_seconds", "-1"),
        *("--logger_stream_level", "warning", "--logger_file_path", "kept.log"),
        *("--logger_file_level", "20"),
    )
    kept = site.home / "kept.log"
    wait(lambda: kept.exists() and "7 threads" in kept.read_text(), lambda: program.output)
    program.type("q")
    assert program.ended() == 0
    lines = program.output.splitlines()
    options = ["--n_threads", "--queue_max_size", "--use_polling_observer", "--consumer_group_id"]
    assert [each.split("] ")[1].split()[0] for each in lines] == options
    assert "Listening" in kept.read_text() and "Listening" not in program.output


def test_without_their_serializer_the_native_format_is_written_and_said(site: Site) -> None:
    plain = CONFIG.replace("value.serializer = DataFileChunkSerializer\n", "").replace(
        "value.deserializer = DataFileChunkDeserializer\n", ""
    )
    (site.home / "configs" / "prod.config").write_text(plain)
    answer = site.run("UploadDataFile", instrument_file(site), *site.options())
    assert answer.returncode == 0
    assert "openmsi's own format" in answer.stdout


@pytest.mark.parametrize("name", ["upload_data_file", "UploadDataFile"])
def test_a_file_that_is_not_there(site: Site, name: str) -> None:
    answer = site.run(name, "none.dat", *site.options())
    assert answer.returncode == 7
    assert answer.stderr.startswith(f"{name}: none.dat: ")
    answer = site.run(name, site.source, *site.options())
    assert answer.returncode == 7 and "a file is needed" in answer.stderr
