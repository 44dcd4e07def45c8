"""--max-rate, --low-priority and --compression: easy on the line, the computer, and the disk."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import MB, Lab

from openmsi.broker import LocalBroker


@pytest.fixture
def lab(kafka_bootstrap: str, topic_name: str, tmp_path: Path) -> Iterator[Lab]:
    with Lab(kafka_bootstrap, topic_name, tmp_path) as lab:
        lab.create_topic(partitions=1)
        yield lab


def arrives_equal(lab: Lab) -> bool:
    lab.download_to_end()
    sent = {each.name: each.read_bytes() for each in lab.source.iterdir()}
    return sent == {name: (lab.target / name).read_bytes() for name in sent}


@pytest.mark.parametrize("options", [("--chunk-size", "100000"), ("--format", "openmsi-9")])
def test_no_more_than_the_maximal_rate_is_sent(lab: Lab, options: tuple[str, ...]) -> None:
    (lab.source / "large.bin").write_bytes(random.Random(1).randbytes(2 * MB))
    for number in range(20):
        (lab.source / f"{number}.bin").write_bytes(random.Random(number).randbytes(MB // 20))
    summary = lab.upload(lab.source, "--max-rate", "1", *options).wait().events("summary")[0]
    # 3 MB at 1 MB a second, of which the first second's worth, and one chunk, may go at once.
    assert 1.4 < summary["seconds"] < 6
    assert arrives_equal(lab)


def test_a_file_larger_than_the_rate_in_a_minute_is_still_acknowledged_all_the_time(
    lab: Lab,
) -> None:
    (lab.source / "a.bin").write_bytes(random.Random(1).randbytes(MB))
    program = lab.start("watch", lab.source, "--max-rate", "0.01", "--chunk-size", "5000")
    lab.wait_for_records(4)
    program.stop()
    assert lab.record_count() < 30
    fast = lab.upload().wait()
    assert fast.paths("sent") == ["a.bin"]
    assert arrives_equal(lab)


@pytest.mark.skipif(sys.platform == "win32", reason="it has classes instead")
def test_a_program_of_low_priority_has_it_in_every_thread(lab: Lab) -> None:
    program = lab.watch("--low-priority")
    assert os.getpriority(os.PRIO_PROCESS, program.process.pid) == 19
    tasks = Path(f"/proc/{program.process.pid}/task")
    if tasks.is_dir():
        each = [os.getpriority(os.PRIO_PROCESS, int(task.name)) for task in tasks.iterdir()]
        assert len(each) > 3
        assert set(each) == {19}
    program.stop()


@pytest.mark.skipif(sys.platform == "win32", reason="it has classes instead")
def test_an_agent_of_low_priority_sends_with_it(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    lines = [
        f'kafka.bootstrap_servers = "{lab.bootstrap}"',
        f'watch = [{{directory = "{lab.source}", topic = "{lab.topic}", max_rate = 50}}]',
        "agent.low_priority = true",
    ]
    file.write_text("\n".join(lines))
    (lab.source / "a.bin").write_bytes(b"data")
    command = [sys.executable, "-m", "openmsi", "run", str(file)]
    with subprocess.Popen(
        command, env={**os.environ, **lab.environment}, stdout=subprocess.DEVNULL
    ) as agent:
        try:
            lab.wait_for_records(1)
            for task in Path(f"/proc/{agent.pid}/task").glob("*"):
                assert os.getpriority(os.PRIO_PROCESS, int(task.name)) == 19
            assert os.getpriority(os.PRIO_PROCESS, agent.pid) == 19
        finally:
            agent.terminate()


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
def test_what_compresses_takes_less_room_in_the_topic_and_arrives_equal(
    lab: Lab, kafka_broker: LocalBroker, compression: str
) -> None:
    lines = [json.dumps({"channel": n % 8, "state": "ok"}) + "\n" for n in range(50_000)]
    text = "".join(lines).encode()
    (lab.source / "log.jsonl").write_bytes(text)
    (lab.source / "random.bin").write_bytes(random.Random(1).randbytes(MB))
    lab.upload(lab.source, "--compression", compression).wait()
    logs = kafka_broker.data_dir.rglob(f"{lab.topic}-0/*.log")
    size = sum(each.stat().st_size for each in logs)
    if compression == "none":
        assert size > len(text) + MB
    else:
        assert MB < size < MB + len(text) / 4
    assert arrives_equal(lab)


def test_a_compression_that_is_none_is_refused_by_name(lab: Lab) -> None:
    refused = lab.upload(lab.source, "--compression", "rar").wait(code=2)
    assert "--compression rar" in refused.stderr
    assert "none, lz4, zstd" in refused.stderr
