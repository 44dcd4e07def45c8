"""The agent under a real systemd, in a container that boots: pytest tests/service -m slow.

Needs root, debootstrap and systemd-nspawn, and fetches a Debian of 290 MB once.
"""

from __future__ import annotations

import hashlib
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.machine import OPENMSI, Machine, installed_machine, missing

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing() or "-")]

MIB = 2**20


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with (
        tempfile.TemporaryDirectory(prefix="openmsi-machine-", dir="/var/tmp") as directory,
        installed_machine(Path(directory)) as machine,
    ):
        yield machine


class Instrument:
    """One service on the machine, the directory that it watches, and its topic, from outside."""

    def __init__(self, machine: Machine, name: str, bootstrap: str, topic: str) -> None:
        self.machine = machine
        self.name = name
        self.topic = topic
        self.inside = f"/srv/Gerät {name}"
        self.drop = machine.disk / self.inside.removeprefix("/")
        self.drop.mkdir()
        self._bootstrap = bootstrap
        self._sent: dict[str, str] = {}
        self.config = machine.disk / f"root/{name}.toml"
        self.config.write_text(self.toml(self.inside))

    def toml(self, *directories: str, more: str = "") -> str:
        parts = [
            f"[[watch]]\ndirectory = {directory!r}\ntopic = '{self.topic}'\nprefix = 'p{i}'\n"
            for i, directory in enumerate(directories)
        ]
        return f"[kafka]\nbootstrap_servers = '{self._bootstrap}'\n{more}\n" + "\n".join(parts)

    def service(self, verb: str, *more: str) -> str:
        command = f"{OPENMSI} service {verb} --name {self.name} {' '.join(more)}"
        return self.machine.shell(command).stdout

    def install(self) -> None:
        self.service("install", f"--config /root/{self.name}.toml")
        self.service("start")

    def drop_files(self, *sizes: int) -> None:
        """The instrument writes files. They are readable by all, and owned by root."""
        for size in sizes:
            name = f"Messung {len(self._sent)}.dat"
            content = random.Random(f"{self.name}{len(self._sent)}").randbytes(min(size, MIB))
            content = content * (size // max(1, len(content)))
            (self.drop / name).write_bytes(content)
            self._sent[f"p0/{name}"] = hashlib.sha256(content).hexdigest()

    def show(self, property: str) -> str:
        command = f"systemctl show --value --property {property} {self.name}.service"
        return self.machine.shell(command).stdout.strip()

    @property
    def pid(self) -> int:
        return int(self.show("MainPID"))

    def waiting(self) -> list[str]:
        """What has not arrived at a broker outside, or not as it was."""
        with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
            out = Path(directory, "out")
            where = ["--topic", self.topic, "--bootstrap-servers", self._bootstrap]
            state = ["--until-end", "--state-dir", str(Path(directory, "state"))]
            done = subprocess.run(
                [sys.executable, "-m", "openmsi", "download", str(out), *where, *state],
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            assert done.returncode in (0, 3), done.stderr  # 3: a file is incomplete as yet
            return [path for path, digest in self._sent.items() if _digest(out / path) != digest]

    def check_all_arrive(self, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while left := self.waiting():
            log = self.machine.shell(f"journalctl --no-pager -u {self.name} -n 60").stdout
            assert time.monotonic() < deadline, f"not there: {left}\n{log}"
            time.sleep(1)


def _digest(path: Path) -> str:
    if not path.is_file():
        return ""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


New = Callable[[str], Instrument]


@pytest.fixture
def new(machine: Machine, kafka_bootstrap: str, topic_name: str) -> Iterator[New]:
    made: list[Instrument] = []

    def make(name: str) -> Instrument:
        arguments = ["topic", "create", topic_name, "--bootstrap-servers", kafka_bootstrap]
        subprocess.run([sys.executable, "-m", "openmsi", *arguments], check=True)
        made.append(Instrument(machine, name, kafka_bootstrap, topic_name))
        return made[-1]

    yield make
    for each in made:
        machine.shell(f"{OPENMSI} service remove --name {each.name}", check=False)


def wait_until(true: Callable[[], object], seconds: float, what: str) -> float:
    """How many seconds it took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() < began + seconds, f"{what} did not come true in {seconds} s"
        time.sleep(0.1)
    return time.monotonic() - began


def test_dropped_files_arrive_from_a_locked_in_service_of_its_own_user(new: New) -> None:
    ebsd = new("ebsd")
    ebsd.drop_files(100, 3 * MIB)
    ebsd.install()
    ebsd.drop_files(0, 5000)
    ebsd.check_all_arrive()

    status = ebsd.machine.shell(f"ps -o user= -p {ebsd.pid} || stat -c %U /proc/{ebsd.pid}")
    assert status.stdout.strip() == "openmsi"
    judged = ebsd.machine.shell("systemd-analyze security --no-pager ebsd.service", check=False)
    exposure = re.search(r"Overall exposure level for \S+ ([\d.]+)", judged.stdout)
    assert exposure and float(exposure[1]) < 3.0
    assert "running" in ebsd.service("status") and "from boot    yes" in ebsd.service("status")
    assert "Messung 0.dat" in ebsd.service("logs", "-n 50")


def test_after_kill_9_it_is_back_within_5_s_and_nothing_is_lost(new: New) -> None:
    sem = new("sem")
    sem.install()
    for _ in range(3):
        sem.drop_files(*[200_000] * 20)
        killed = sem.pid
        sem.machine.shell(f"kill -9 {killed}")
        sem.drop_files(1000)
        took = wait_until(lambda killed=killed: sem.pid not in (0, killed), 5, "a new process")  # type: ignore[misc]
        wait_until(lambda: sem.show("ActiveState") == "active", 5 - took, "active again")
    sem.check_all_arrive()
    assert "3 after a crash" in sem.service("status")


def test_after_a_reboot_it_sends_what_was_dropped_meanwhile(new: New) -> None:
    afm = new("afm")
    afm.install()
    afm.drop_files(1000)
    afm.check_all_arrive()
    afm.machine.switch_off()
    afm.drop_files(2000, MIB)
    afm.machine.boot()
    afm.check_all_arrive()
    assert afm.show("ActiveState") == "active"


def test_stop_takes_at_most_10_s_within_a_large_file_and_start_resumes_it(
    new: New, kafka_bootstrap: str
) -> None:
    tem = new("tem")
    tem.install()
    tem.drop_files(1024 * MIB)
    wait_until(lambda: _bytes_in_topic(tem.topic, kafka_bootstrap) > 50 * MIB, 60, "50 MiB sent")
    began = time.monotonic()
    tem.service("stop")
    assert time.monotonic() - began < 10
    assert tem.show("Result") == "success"
    sent = _bytes_in_topic(tem.topic, kafka_bootstrap)
    assert sent < 1000 * MIB, "it was stopped too late to show anything"

    tem.service("start")
    tem.check_all_arrive(240)
    again = _bytes_in_topic(tem.topic, kafka_bootstrap) - 1024 * MIB
    assert again < 64 * MIB, f"{again / MIB:.0f} MiB were sent twice"


def _bytes_in_topic(topic: str, bootstrap: str) -> int:
    """The bytes of files in a topic's records: what a plain Kafka consumer counts."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "count"})
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        total = 0
        for number in partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)
            # Records hold the same number of bytes, but for the last one of a file.
            total += (high - low) * _bytes_in_record(consumer, topic, number, low, high)
        return total
    finally:
        consumer.close()


def _bytes_in_record(consumer: object, topic: str, number: int, low: int, high: int) -> int:
    from confluent_kafka import Consumer, TopicPartition

    assert isinstance(consumer, Consumer)
    if high == low:
        return 0
    consumer.assign([TopicPartition(topic, number, low)])
    record = consumer.poll(10)
    assert record is not None and record.error() is None
    return len(record.value() or b"")


def test_the_watchdog_restarts_an_agent_that_hangs(new: New) -> None:
    xrd = new("xrd")
    xrd.install()
    hung = xrd.pid
    xrd.machine.shell(f"kill -STOP {hung}")
    xrd.drop_files(3000)
    wait_until(lambda: xrd.pid not in (0, hung), 60, "a new process")
    xrd.check_all_arrive()
    assert "watchdog" in xrd.machine.shell("journalctl --no-pager -u xrd").stdout.lower()


def test_reload_takes_up_another_directory_without_a_restart(new: New) -> None:
    icp = new("icp")
    icp.install()
    before = icp.pid
    other = icp.machine.disk / "srv/other"
    other.mkdir()
    (icp.machine.disk / "etc/openmsi/icp.toml").write_text(icp.toml(icp.inside, "/srv/other"))
    icp.service("reload")
    content = b"from the other directory"
    (other / "x.txt").write_bytes(content)
    icp._sent["p1/x.txt"] = hashlib.sha256(content).hexdigest()
    icp.check_all_arrive()
    assert icp.pid == before


def test_a_secret_reaches_the_service_and_nobody_else(new: New) -> None:
    gc = new("gc")
    secret = "a\"b$c\\d %h 'e"
    # A setting that is never used without a login, and is a secret all the same.
    login = '[kafka.client]\n"sasl.password" = "$GC_PASSWORD"\n'
    gc.config.write_text(gc.toml(gc.inside, more=login))
    (gc.machine.disk / "root/secret.sh").write_text(
        "export GC_PASSWORD=$(cat /root/secret.txt)\n"
        f"{OPENMSI} service install --dry-run --name gc --config /root/gc.toml\n"
        f"exec {OPENMSI} service install --name gc --config /root/gc.toml\n"
    )
    (gc.machine.disk / "root/secret.txt").write_text(secret)
    said = gc.machine.shell("sh /root/secret.sh")
    assert secret not in said.stdout + said.stderr and "(not shown)" in said.stdout
    gc.service("start")

    environment = gc.machine.shell(f"cat /proc/{gc.pid}/environ").stdout.split("\0")
    assert f"GC_PASSWORD={secret}" in environment
    files = "find /etc /var/lib/openmsi -type f -perm /o+r -exec grep -l 'a.*b$c' {} +"
    assert gc.machine.shell(files, check=False).stdout == ""
    assert "systemctl show" not in said.stdout
    assert "a\\" not in gc.machine.shell("systemctl show --property Environment gc").stdout


def test_remove_leaves_nothing_but_the_data(machine: Machine, new: New) -> None:
    nmr = new("nmr")
    before = _files(machine)
    nmr.install()
    nmr.drop_files(1000)
    nmr.check_all_arrive()
    machine.shell("mkdir -p /etc/systemd/system/nmr.service.d")
    (machine.disk / "etc/systemd/system/nmr.service.d/override.conf").write_text("[Service]\n")
    said = nmr.service("remove")
    assert "/var/lib/openmsi/nmr" in said

    new_files = _files(machine) - before
    assert {each for each in new_files if not each.startswith("/var/lib/openmsi/nmr/")} <= {
        "/srv/Gerät nmr/Messung 0.dat"
    }
    assert (
        machine.shell("systemctl list-unit-files nmr.service", check=False).stdout.count("nmr") == 0
    )
    assert machine.shell(f"{OPENMSI} service status --name nmr", check=False).returncode == 3


def _files(machine: Machine) -> set[str]:
    skip = "-path /proc -o -path /sys -o -path /run -o -path /dev -o -path /var/log -o -path /tmp"
    # The accounts' backups and Python's own cache come and go with any use of the machine.
    skip += " -o -name __pycache__ -o -name 'passwd*' -o -name 'group*' -o -name '*shadow*'"
    skip += " -o -name 'sub?id*' -o -path /var/lib/systemd -o -path /var/tmp"
    found = machine.shell(f"find / \\( {skip} \\) -prune -o -type f -print").stdout
    return set(found.splitlines())


def test_who_has_not_the_rights_is_told_the_command_that_has_them(machine: Machine) -> None:
    done = machine.shell(
        f"setpriv --reuid 65534 --clear-groups {OPENMSI} service start", check=False
    )
    assert done.returncode == 12
    assert "only root" in done.stderr and "sudo /opt/openmsi/bin/python" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_name_that_belongs_to_the_system_is_not_taken(machine: Machine, new: New) -> None:
    other = new("other")
    command = f"{OPENMSI} service install --name dbus --config /root/{other.name}.toml"
    done = machine.shell(command, check=False)
    assert done.returncode == 12 and "was not made by openmsi" in done.stderr


def test_manage_service_of_2021_does_what_its_users_were_shown(
    machine: Machine, kafka_bootstrap: str, topic_name: str
) -> None:
    inside = machine.disk / "srv/oxford_ebsd_streaming_directory"
    inside.mkdir()
    (machine.disk / "root/oxford_ebsd_streaming_directory_configs.config").write_text(
        "[openmsi_directory_stream_service]\n"
        "file_directory = /srv/oxford_ebsd_streaming_directory\n"
        f"topic_name = {topic_name}\nnew_files_only = False\nn_threads = 5\n"
        f"[cluster]\nbootstrap.servers = {kafka_bootstrap}\nsasl.password = never shown\n"
        "[producer]\nkey.serializer = StringSerializer\n"
        "value.serializer = DataFileChunkSerializer\n"
    )
    command = [sys.executable, "-m", "openmsi", "topic", "create", topic_name]
    subprocess.run([*command, "--bootstrap-servers", kafka_bootstrap], check=True)
    manage = "cd /root; PATH=/opt/openmsi/bin:$PATH; manage_service"
    said = machine.shell(
        f"{manage} install_and_start --config ./oxford_ebsd_streaming_directory_configs.config"
    )
    assert said.stdout == (
        "Testing Service code to check for errors...\n"
        "Done testing code.\n"
        "Installing OpenMSIDirectoryStreamService...\n"
        "Done\n"
        "Starting OpenMSIDirectoryStreamService...\n"
        "Done\n"
    )
    (inside / "1a0ceb89.dat").write_bytes(b"a pattern" * 1000)
    wait_until(lambda: _topic_has_records(topic_name, kafka_bootstrap), 30, "the file's records")
    assert "running" in machine.shell(f"{manage} status").stdout
    unit = machine.shell("cat /etc/systemd/system/OpenMSIDirectoryStreamService.service").stdout
    readable = machine.shell("setpriv --reuid 65534 --clear-groups cat /etc/openmsi/*", check=False)
    assert "never shown" not in unit + readable.stdout
    said = machine.shell(f"{manage} stop_and_remove")
    assert said.stdout.startswith(
        "Stopping OpenMSIDirectoryStreamService...\nDone\n"
        "Removing OpenMSIDirectoryStreamService...\n"
    )
    assert machine.shell(f"{manage} status", check=False).returncode == 3


def _topic_has_records(topic: str, bootstrap: str) -> bool:
    return _bytes_in_topic(topic, bootstrap) > 0


def test_a_service_of_ones_own_account_needs_no_root(
    machine: Machine, kafka_bootstrap: str, topic_name: str
) -> None:
    command = [sys.executable, "-m", "openmsi", "topic", "create", topic_name]
    subprocess.run([*command, "--bootstrap-servers", kafka_bootstrap], check=True)
    machine.shell("useradd --create-home anna && loginctl enable-linger anna")
    anna = "runuser -u anna -- env HOME=/home/anna XDG_RUNTIME_DIR=/run/user/$(id -u anna)"
    up = f"{anna} systemctl --user is-system-running"
    wait_until(lambda: "running" in machine.shell(up, check=False).stdout, 30, "anna's manager")
    machine.shell(f"{anna} mkdir /home/anna/data")
    (machine.disk / "home/anna/agent.toml").write_text(
        f"[kafka]\nbootstrap_servers = '{kafka_bootstrap}'\n"
        f"[[watch]]\ndirectory = '/home/anna/data'\ntopic = '{topic_name}'\n"
    )
    service = f"{anna} {OPENMSI} service"
    machine.shell(f"{service} install --user --config /home/anna/agent.toml")
    machine.shell(f"{service} start --user")
    machine.shell(f"{anna} sh -c 'echo mine > /home/anna/data/a.txt'")
    wait_until(lambda: _topic_has_records(topic_name, kafka_bootstrap), 30, "the file's record")
    said = machine.shell(f"{service} status --user").stdout
    assert "running" in said and "watch /home/anna/data" in said
    machine.shell(f"{service} remove --user")
    assert not list((machine.disk / "home/anna/.config/openmsi").glob("*"))
