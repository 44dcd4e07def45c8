"""What users of the older programs suffer from when they send, and do not suffer here; what other
tests show already is listed in docs/compatibility.md."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import Lab

from interop.files import arrived, make_files, wait_for
from interop.peer import Peer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM kills at once there")
FORMATS = ["native", "openmsi-9"]


@pytest.mark.parametrize("form", FORMATS)
def test_a_topic_whose_name_begins_like_another_ones_gets_every_file(
    kafka_bootstrap: str, topic_name: str, tmp_path: Path, form: str
) -> None:
    with Lab(kafka_bootstrap, topic_name + "2", tmp_path) as second:
        second.create_topic(1)
        make_files(second.source, {"a.dat": 10, "sub/b.dat": 20})
        second.upload(second.source, "--format", form).wait()
        (tmp_path / "first").mkdir()
        with Lab(kafka_bootstrap, topic_name, tmp_path / "first") as first:
            first.create_topic(1)
            first.environment = second.environment
            again = first.upload(second.source, "--format", form).wait()
            assert again.paths("sent") == ["a.dat", "sub/b.dat"]
            assert first.record_count() == second.record_count() == 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when a file is closed")
@pytest.mark.parametrize("form", FORMATS)
def test_a_closed_file_is_sent_before_it_can_be_deleted_in_the_quiet_period(
    lab: Lab, form: str
) -> None:
    lab.create_topic(2)
    sender = lab.watch("--settle", "60", "--format", form)
    expected = make_files(lab.source, {"short-lived.dat": 300_000})
    sender.until("sent", path="short-lived.dat", seconds=20)
    (lab.source / "short-lived.dat").unlink()
    sender.stop()
    lab.download_to_end()
    assert arrived(lab.target) == expected


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_that_was_still_written_at_the_stop_is_sent_by_the_next_start(
    lab: Lab, form: str
) -> None:
    lab.create_topic(2)
    sender = lab.watch("--settle", "60", "--format", form)
    with open(lab.source / "open.dat", "wb") as file:
        file.write(b"begin, ")
        file.flush()
        make_files(lab.source, {"closed.dat": 5})
        sender.until("sent", path="closed.dat")
        sender.stop()
        file.write(b"end")
    assert lab.upload(lab.source, "--format", form).wait().paths("sent") == ["open.dat"]
    lab.download_to_end()
    assert (lab.target / "open.dat").read_bytes() == b"begin, end"


def test_a_killed_upload_in_the_older_format_goes_on_where_it_was(
    lab: Lab, peer: Peer, tmp_path: Path
) -> None:
    lab.create_topic(6)
    expected = make_files(lab.source, {"large.dat": 80_000_000, "small.dat": 1})
    older = ["--format", "openmsi-9", "--chunk-size", "16384"]
    whole = -(-80_000_000 // 16384) + 1
    first = lab.upload(lab.source, *older)
    while (records := sum(lab.ends().values())) < whole // 10:
        assert first.process.poll() is None, "it was done before it could be killed"
    time.sleep(0.3)  # the ledger is written five times a second
    first.process.kill()
    first.wait(code=None)
    before = lab.record_count()
    assert records <= before < whole
    lab.upload(lab.source, *older).wait()
    # What was on its way when it was killed is there twice, not all that was there before.
    assert lab.record_count() < whole + before
    # Then it arrives, here and at the peer.
    lab.download_to_end()
    assert arrived(lab.target) == expected
    with peer.download_directory(tmp_path / "peer") as program:
        wait_for(program, tmp_path / "peer", expected, 120)
        program.quit()


def test_delete_and_growing_are_refused_in_the_older_format(lab: Lab) -> None:
    lab.create_topic(1)
    make_files(lab.source, {"a.dat": 10})
    deleting = lab.upload(lab.source, "--format", "openmsi-9", "--after", "delete").wait(code=None)
    growing = lab.start("watch", lab.source, "--format", "openmsi-10", "--growing").wait(code=None)
    for each, option in ((deleting, "--after delete"), (growing, "--growing")):
        assert each.process.returncode == 2
        assert option in each.stderr
        assert "--format native" in each.stderr
    assert lab.record_count() == 0
    assert (lab.source / "a.dat").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_nothing_of_libsodium_is_needed() -> None:
    program = "import openmsi.cli as c; c.make_app(); print(open('/proc/self/maps').read())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert b"rdkafka" in done.stdout
    assert b"sodium" not in done.stdout
