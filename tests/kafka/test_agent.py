"""`openmsi run agent.toml` with a real Kafka: many parts in one program, whatever happens."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer
from helpers import MIB, Lab, Program, digest_of, random_file, wait_until

from crash.proxy import Proxy, proxied_broker

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them"),
]


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    """Of a broker that clients reach through it only."""
    with proxied_broker() as (_, proxy):
        yield proxy


class Site:
    """A topic, an agent.toml, and the agent that runs it."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        self.folder = folder
        self.file = folder / "agent.toml"
        self.running: list[Program] = []

    def write(self, *parts: str, agent: str = "") -> None:
        """The parts are the bodies of [[watch]] or [[download]]."""
        lines = [f"[kafka]\nbootstrap_servers = '{self.lab.bootstrap}'"]
        lines += [f"[[{each.partition(' ')[0]}]]\n{each.partition(' ')[2]}" for each in parts]
        self.file.write_text("\n".join([*lines, f"[agent]\n{agent}"]), encoding="utf-8")

    def watch(self, name: str, more: str = "") -> str:
        folder = self.folder / name
        return f"watch directory = '{folder}'\ntopic = '{self.lab.topic}'\n{more}"

    def download(self, name: str) -> str:
        return f"download directory = '{self.folder / name}'\ntopic = '{self.lab.topic}'\n"

    def start(self) -> Program:
        program = Program(["run", str(self.file), "--json"], self.lab.environment)
        self.running.append(program)
        return program

    def status(self) -> dict[str, Any]:
        """What `openmsi run --status` says."""
        arguments = ["run", str(self.file), "--status", "--json"]
        program = Program(arguments, self.lab.environment).wait(20, code=None)
        (found,) = (each for _, each in program._events)
        program.close()
        return found


def part(status: dict[str, Any], name: str) -> dict[str, Any]:
    """The one part whose title has this name in it."""
    (found,) = (each for each in status["parts"] if name in each["part"])
    return dict(found)


@pytest.fixture
def site(proxy: Proxy, topic_name: str, tmp_path: Path) -> Iterator[Site]:
    proxy.heal()
    with Lab(proxy.address, topic_name, tmp_path) as lab:
        lab.create_topic(partitions=2)
        site = Site(lab, tmp_path)
        yield site
        for each in site.running:
            each.close()
        proxy.heal()


def drop(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


def test_parts_go_on_while_another_fails_and_is_started_again(site: Site) -> None:
    drop(site.folder / "one", "a.csv", "a" * 1000)
    site.write(
        site.watch("one", "prefix = 'one'"),
        site.watch("two", "prefix = 'two'"),
        site.download("repository"),
    )
    agent = site.start()
    failed = agent.until("restarting")
    assert failed["part"].startswith(f"watch {site.folder / 'two'}")
    assert "there is none" in failed["reason"] and failed["level"] == "error"
    agent.until("rebuilt", path="one/a.csv")
    status = site.status()
    assert status["agent"] and part(status, "/one ")["state"] == "running"
    broken = part(status, "/two ")
    assert broken["state"] == "restarting" and broken["restarts"] >= 1
    assert "there is none" in broken["reason"]
    # It is written down when a part's state changes, and every ten seconds.
    wait_until(
        lambda: part(site.status(), "download")["files"] == {"rebuilt": 1}, 20, "the count of files"
    )
    # It is made, works, goes away, and is made again.
    drop(site.folder / "two", "b.csv", "b" * 1000)
    agent.until("rebuilt", path="two/b.csv")
    (site.folder / "two" / "b.csv").unlink()
    (site.folder / "two").rmdir()
    wait_until(lambda: len(agent.events("restarting")) >= 2, 30, "the loss to be noticed")
    drop(site.folder / "two", "c.csv", "c" * 1000)
    drop(site.folder / "one", "d.csv", "d" * 1000)
    agent.until("rebuilt", path="one/d.csv")
    agent.until("rebuilt", path="two/c.csv", seconds=60)
    agent.stop()
    assert len(agent.events("stopped")) == 3
    assert site.status()["agent"] == ""


def test_the_same_failure_is_told_once_and_its_restarts_are_further_and_further_apart(
    site: Site,
) -> None:
    site.write(site.watch("none"))
    agent = site.start()
    agent.until("restarting")
    time.sleep(8)
    restarts = part(site.status(), "none")["restarts"]
    assert 3 <= restarts <= 5, "after 1, 2 and 4 seconds"
    assert len(agent.events("restarting")) == 1
    began = time.monotonic()
    agent.stop()
    assert time.monotonic() - began < 3


def test_an_agent_waits_for_brokers_that_are_not_there_at_its_start(
    site: Site, proxy: Proxy
) -> None:
    drop(site.folder / "one", "a.csv", "a" * 1000)
    site.write(site.watch("one"), site.download("repository"))
    proxy.cut(stay_away=True)
    agent = site.start()
    agent.until("waiting", 2, seconds=40)
    states = {each["state"] for each in site.status()["parts"]}
    assert states == {"waiting"}
    proxy.heal()
    agent.until("rebuilt", path="a.csv", seconds=60)
    wait_until(
        lambda: {each["state"] for each in site.status()["parts"]} == {"running"}, 20, "all at work"
    )
    agent.stop()


def test_a_changed_file_is_read_again_and_what_is_in_flight_goes_on(
    site: Site, proxy: Proxy
) -> None:
    big = random_file(site.folder / "one" / "big.dat", 40 * MIB)
    drop(site.folder / "two", "b.csv", "b")
    site.write(site.watch("one"), site.download("repository"))
    proxy.rate = 8.0 * MIB
    agent = site.start()
    agent.until("started", 2)
    site.lab.wait_for_records(3)
    site.write(site.watch("one"), site.watch("two"), site.download("repository"))
    agent.process.send_signal(signal.SIGHUP)
    agent.until("notice", text=f"{site.file} was read again")
    agent.until("started", directory=str(site.folder / "two"))
    assert not agent.events("sent", path="big.dat"), "the file was not in flight any more"
    # A wrong file is refused, and all goes on as it was.
    site.file.write_text(site.file.read_text().replace("[[watch]]", "[[wach]]", 1))
    agent.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(agent.events("notice")) >= 2, 10, "the refusal")
    refusal = agent.events("notice")[1]["text"]
    assert "the changed file is not used" in refusal and "Did you mean 'watch'?" in refusal
    proxy.rate = 0.0
    agent.until("rebuilt", path="big.dat", seconds=60)
    agent.until("rebuilt", path="b.csv")
    assert digest_of(site.folder / "repository" / "big.dat") == digest_of(big)
    assert site.lab.record_count() < 40 * MIB // 1_000_000 + 5, "big.dat was sent once"
    assert len(agent.events("started")) == 3 and not agent.events("stopped")
    # A part that is taken out stops, one that changed starts again, the third knows of nothing.
    site.write(site.watch("two", "settle = 1"), site.download("repository"))
    agent.process.send_signal(signal.SIGHUP)
    agent.until("stopped", 2)
    agent.until("started", 2, directory=str(site.folder / "two"))
    status = site.status()
    assert len(status["parts"]) == 2 and status["problem"] == ""
    assert part(status, "/two ")["files"] == {"sent": 1}, "what was counted stays"
    drop(site.folder / "one", "late.csv", "x")
    drop(site.folder / "two", "late2.csv", "x")
    agent.until("rebuilt", path="late2.csv")
    agent.stop()
    assert not agent.events("rebuilt", path="late.csv")


@pytest.mark.parametrize("size", [64 * MIB, pytest.param(1024 * MIB, marks=pytest.mark.slow)])
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_file_that_was_cut_in_the_middle_goes_on_and_nothing_is_lost(
    site: Site, proxy: Proxy, size: int, end: str
) -> None:
    big = random_file(site.folder / "one" / "big.dat", size)
    for number in range(50):
        drop(site.folder / "one", f"{number}.csv", f"{number}\n" * 100)
    site.write(site.watch("one"), site.download("repository"))
    proxy.rate = 8.0 * MIB
    agent = site.start()
    agent.until("started", 2)
    agent.until("sent", 50)
    site.lab.wait_for_records(60)
    began = time.monotonic()
    if end == "stop":
        agent.stop(seconds=10)
    else:
        agent.process.kill()
        agent.wait(code=-signal.SIGKILL)
    took = time.monotonic() - began
    assert took < 10 and not agent.events("sent", path="big.dat")
    drop(site.folder / "one", "meanwhile.csv", "x")
    proxy.rate = 0.0
    before = site.lab.record_count()
    agent = site.start()
    agent.until("rebuilt", path="big.dat", seconds=120)
    agent.until("rebuilt", path="meanwhile.csv")
    whole = -(-size // 1_000_000)
    assert site.lab.record_count() - before < whole - 5, "it was sent from the beginning"
    agent.stop()
    rebuilt = site.folder / "repository"
    assert digest_of(rebuilt / "big.dat") == digest_of(big)
    assert len(list(rebuilt.glob("*.csv"))) == 51


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def scraped(port: int) -> dict[str, float]:
    """Numbers by name and, where there are labels, the label `part` or what tells them apart."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def number(port: int, name: str, *labels: str) -> float:
    (found,) = (
        value
        for key, value in scraped(port).items()
        if key.startswith(name + "{") and all(each in key for each in labels)
    )
    return found


def test_numbers_for_prometheus_at_a_port_of_this_computer(site: Site) -> None:
    port = free_port()
    drop(site.folder / "one", "a.csv", "a" * 1000)
    site.write(site.watch("one"), site.download("repository"), agent=f"metrics_port = {port}")
    agent = site.start()
    agent.until("rebuilt")
    sent = ('kind="watch"', 'state="sent"', f'topic="{site.lab.topic}"')
    assert number(port, "openmsi_files_total", *sent) == 1
    assert number(port, "openmsi_bytes_total", 'kind="watch"') == 1000
    assert number(port, "openmsi_files_total", 'state="rebuilt"') == 1
    assert number(port, "openmsi_part_up", 'kind="download"') == 1
    assert number(port, "openmsi_files_waiting", 'kind="watch"') == 0
    success = number(port, "openmsi_last_success_timestamp_seconds", 'kind="watch"')
    assert abs(success - time.time()) < 60
    with pytest.raises(OSError), socket.create_connection((own_address(), port), 2):
        pass
    # Another port, then none.
    other = free_port()
    site.write(site.watch("one"), site.download("repository"), agent=f"metrics_port = {other}")
    agent.process.send_signal(signal.SIGHUP)
    wait_until(lambda: answers(other) and not answers(port), 10, "the other port")
    site.write(site.watch("one"), site.download("repository"))
    agent.process.send_signal(signal.SIGHUP)
    wait_until(lambda: not answers(other), 10, "no port")
    agent.stop()


def own_address() -> str:
    """An address of this computer that others can reach, or one that nobody answers at."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.2"


def answers(port: int) -> bool:
    try:
        scraped(port)
    except OSError:
        return False
    return True


def test_a_port_that_is_taken_stops_nothing(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        drop(site.folder / "one", "a.csv", "a")
        site.write(site.watch("one"), agent=f"metrics_port = {port}")
        agent = site.start()
        agent.until("sent")
        (notice,) = agent.events("notice")
        assert f"no metrics at port {port}" in notice["text"]
    agent.stop()


def test_heartbeats_on_a_topic(site: Site) -> None:
    drop(site.folder / "one", "a.csv", "a" * 10)
    (site.folder / "beats").mkdir()
    beats = Lab(site.lab.bootstrap, f"{site.lab.topic}-beats", site.folder / "beats")
    with beats:
        beats.create_topic(partitions=1)
        more = f"name = 'sem 3'\nheartbeat_topic = '{beats.topic}'\nheartbeat_seconds = 1"
        site.write(site.watch("one"), agent=more)
        agent = site.start()
        agent.until("sent")
        beats.wait_for_records(3)
        agent.stop()
        found = heartbeats(beats)
    assert {key for key, _ in found} == {b"sem 3"}
    last = found[-1][1]
    assert last["name"] == "sem 3" and last["host"] == socket.gethostname()
    assert part(last, "watch")["files"] == {"sent": 1}
    assert {each["state"] for each in last["parts"]} <= {"stopping", "stopped"}
    assert part(found[1][1], "watch")["state"] == "running"


def heartbeats(lab: Lab) -> list[tuple[bytes | None, dict[str, Any]]]:
    count = lab.record_count()
    consumer = Consumer(
        {
            "bootstrap.servers": lab.bootstrap,
            "group.id": lab.topic,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([lab.topic])
    found: list[tuple[bytes | None, dict[str, Any]]] = []
    try:
        while len(found) < count:
            record = consumer.poll(20)
            assert record is not None and record.error() is None
            found.append((record.key(), json.loads(record.value() or b"")))
    finally:
        consumer.close()
    return found


def test_one_file_has_one_agent(site: Site) -> None:
    (site.folder / "one").mkdir()
    site.write(site.watch("one"))
    agent = site.start()
    agent.until("started")
    second = Program(["run", str(site.file)], site.lab.environment)
    second.wait(20, code=8)
    assert f"process {agent.process.pid}" in second.stderr
    second.close()
    agent.stop()


def test_a_secret_is_in_no_log_and_no_list_of_processes(site: Site) -> None:
    (site.folder / "one").mkdir()
    site.write(site.watch("one"))
    secret = site.folder / "password.txt"
    secret.write_text("hunter2")
    secret.chmod(0o600)
    text = site.file.read_text()
    password = "[kafka.client]\nsasl.password = { file = 'password.txt' }\n[[watch]]"
    site.file.write_text(text.replace("[[watch]]", password))
    agent = Program(["run", str(site.file), "--json", "--debug"], site.lab.environment)
    site.running.append(agent)
    agent.until("started")
    command = Path(f"/proc/{agent.process.pid}/cmdline")
    if command.exists():
        assert b"hunter2" not in command.read_bytes()
    status = site.status()
    agent.stop()
    told = json.dumps([status, *agent.events()]) + agent.stderr
    assert "hunter2" not in told and len(agent.stderr) > 100
    state = Path(site.lab.environment["OPENMSI_STATE_DIR"])
    for directory, _, files in os.walk(state):
        for each in files:
            assert b"hunter2" not in Path(directory, each).read_bytes()


def test_files_that_do_not_get_away_are_seen_in_the_numbers(site: Site, proxy: Proxy) -> None:
    port = free_port()
    drop(site.folder / "one", "a.csv", "a")
    site.write(site.watch("one"), site.download("repository"), agent=f"metrics_port = {port}")
    agent = site.start()
    agent.until("rebuilt", path="a.csv")
    wait_until(
        lambda: number(port, "openmsi_lag_records", 'kind="download"') == 0, 10, "all received"
    )
    proxy.cut(stay_away=True)
    drop(site.folder / "one", "b.csv", "b")
    wait_until(
        lambda: any(
            key.startswith("openmsi_oldest_waiting_seconds{") and value > 3
            for key, value in scraped(port).items()
        ),
        30,
        "the age of the file that waits",
    )
    agent.until("waiting", 2, seconds=30)
    assert number(port, "openmsi_part_up", 'kind="watch"') == 0
    proxy.heal()
    agent.until("rebuilt", path="b.csv", seconds=60)
    wait_until(lambda: number(port, "openmsi_part_up", 'kind="watch"') == 1, 10, "work again")
    wait_until(
        lambda: not any(each.startswith("openmsi_oldest_waiting") for each in scraped(port)),
        10,
        "nothing waiting",
    )
    agent.stop()
