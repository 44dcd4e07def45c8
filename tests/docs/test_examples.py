"""The commands in README.md, docs/howto.md and docs/agent.md work as they stand there.

Each page is one story: its `sh` blocks run in order, in one directory with an instrument's files,
under a home of their own. A command that runs until it is stopped goes on in the background and is
stopped at the end of the page. A block that cannot run here says so above itself:

    <!-- not run: REASON -->

`<!-- file: NAME -->` above any other block makes it the content of that file.
The broker `kafka.example.org:9092` stands for the one of the test session.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from openmsi.config import load_settings
from openmsi.errors import TopicError
from openmsi.kafka import KafkaSettings, open_admin

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/howto.md", "docs/agent.md")
BROKER = "kafka.example.org:9092"
_BLOCK = re.compile(r"(?:<!-- ([^\n]*) -->\n)?^```(\w*)\n(.*?)^```$", re.M | re.S)
_RUNS_ON = re.compile(r"openmsi (watch|download|run)\b(?!.*--(until-end|status))")


class Block(NamedTuple):
    note: str
    language: str
    text: str


def blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [Block(*(part or "" for part in found)) for found in _BLOCK.findall(text)]


def is_run(block: Block) -> bool:
    return block.language == "sh" and not block.note.startswith("not run: ")


@pytest.fixture
def laboratory(tmp_path: Path, kafka_bootstrap: str) -> Iterator[tuple[Path, dict[str, str]]]:
    """A directory as the pages suppose it, and the environment to run commands in."""
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    for name in ("data/raw/map1.dat", "data/scan1.csv", "scans/a.csv", "scans/b.tmp", "notes.txt"):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(f"content of {name}\n" * 1000)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("OPENMSI", "XDG"))
    }
    environment |= {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "OPENMSI_BOOTSTRAP_SERVERS": kafka_bootstrap,
    }
    delete_topics(kafka_bootstrap)
    yield here, environment
    delete_topics(kafka_bootstrap)


def delete_topics(bootstrap: str) -> None:
    """The pages make these topics, at a broker that they share."""
    admin = open_admin(KafkaSettings(bootstrap))
    for name in ("ebsd", "heartbeats"):
        with contextlib.suppress(TopicError):
            admin.delete_topic(name)
    admin.close()


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_work(
    page: str, laboratory: tuple[Path, dict[str, str]], kafka_bootstrap: str
) -> None:
    here, environment = laboratory
    in_background: list[tuple[str, subprocess.Popen[str]]] = []
    try:
        for block in blocks(page):
            if block.note.startswith("file: "):
                text = block.text.replace(BROKER, kafka_bootstrap)
                (here / block.note.removeprefix("file: ")).write_text(text)
            if not is_run(block):
                continue
            for command in commands(block.text.replace(BROKER, kafka_bootstrap)):
                if _RUNS_ON.search(command):
                    in_background.append((command, start(command, here, environment)))
                else:
                    run(command, here, environment)
        time.sleep(2)  # a sender and a receiver may still be at work
    finally:
        for _, process in in_background:
            process.send_signal(signal.SIGTERM)
        ends = [(command, process.communicate(timeout=60)) for command, process in in_background]
    for (command, process), (_, words) in zip(in_background, ends, strict=True):
        assert process.returncode == 0, f"{command}: {words}"


def commands(text: str) -> Iterator[str]:
    """One command a line; a line that ends with a backslash goes on."""
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield line.strip()


def start(command: str, here: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        ["sh", "-c", f"exec {command}"],
        cwd=here,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    assert "started" in first, f"{command}: {first}{process.communicate()[0]}"
    return process


def run(command: str, here: Path, environment: dict[str, str]) -> None:
    if command.startswith("export "):
        name, _, value = command.removeprefix("export ").partition("=")
        environment[name] = value
        return
    allowed = {0}
    if found := re.search(r"# exit code (\d+)$", command):
        allowed = {int(found[1])}
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=here,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in allowed, f"{command}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("page", PAGES)
def test_what_is_not_run_says_why(page: str) -> None:
    for block in blocks(page):
        assert block.language, f"a block of {page} has no language: {block.text[:60]}"
        assert block.language != "bash", "write sh, so that it is run"
        if block.language == "sh" and not is_run(block):
            assert len(block.note) > len("not run: "), block.text


def test_client_configurations_are_accepted(tmp_path: Path) -> None:
    found = [each for each in blocks("docs/howto.md") if each.language == "ini"]
    assert found
    for block in found:
        assert block.note.startswith("file: ")
        (tmp_path / "client.properties").write_text(block.text)
        assert KafkaSettings(client=load_settings(tmp_path / "client.properties").sending()).client


def test_links_lead_somewhere() -> None:
    pages = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"]
    pages += [f"docs/{each.name}" for each in (ROOT / "docs").glob("*.md")]
    for page in pages:
        text = (ROOT / page).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            if not target.startswith("https://"):
                assert (ROOT / page).parent.joinpath(target).exists(), f"{page}: {target}"
