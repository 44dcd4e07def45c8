"""docs/agent.md says what the agent's settings, numbers and messages are."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from openmsi.agent.metrics import metrics_of
from openmsi.agent.status import AgentStatus
from openmsi.config import Download, Watch, read_agent
from openmsi.config.agent_settings import General
from openmsi.errors import ConfigError

PAGE = (Path(__file__).parents[2] / "docs" / "agent.md").read_text(encoding="utf-8")
TABLES: dict[str, type[msgspec.Struct]] = {
    "[[watch]]": Watch,
    "[[download]]": Download,
    "[agent]": General,
}


def rows(head: str) -> dict[str, list[str]]:
    """The table that begins with `head`: cells by the names in the first one."""
    _, _, rest = PAGE.partition(f"| {head} |")
    found = {}
    for line in rest.split("\n\n")[0].splitlines()[2:]:
        cells = [each.strip() for each in line.strip("|").split("|")]
        for name in re.findall(r"`([^`]+)`", cells[0]):
            found[name] = cells
    return found


@pytest.mark.parametrize("head", TABLES)
def test_every_setting_is_described_with_its_default(head: str) -> None:
    table = rows(f"`{head}`")
    fields = {each.name: each for each in msgspec.structs.fields(TABLES[head])}
    assert set(table) == set(fields)
    for name, field in fields.items():
        if field.required:
            assert table[name][-1] == "must be given"
        elif isinstance(field.default, (bool, int, float)):
            assert str(field.default).lower().removesuffix(".0") in table[name][-1], name


def test_every_number_is_described() -> None:
    status = AgentStatus("name", "host", "1", 1, "agent.toml", 0.0, 0.0, [])
    found = set()
    for each in metrics_of(status):
        suffix = {"counter": "_total", "info": "_info"}.get(each.type, "")
        found.add(each.name + suffix)
    assert set(rows("Name")) == found


def test_the_message_is_the_one_that_comes(tmp_path: Path) -> None:
    (example,) = re.findall(r"<!-- file: agent.toml -->\n```toml\n(.*?)```", PAGE, re.S)
    (message,) = re.findall(r"```text\n(.*?)```", PAGE, re.S)
    (tmp_path / "agent.toml").write_text(example.replace("exclude", "exclud"))
    with pytest.raises(ConfigError) as caught:
        read_agent(tmp_path / "agent.toml")
    told = f"openmsi: {caught.value}\n".replace(str(tmp_path / "agent.toml"), "agent.toml")
    assert told == message
