"""A command that sends one small file should not take longer to start than to send."""

from __future__ import annotations

import subprocess
import sys

_LOADED = """
import sys
from openmsi.cli import named_app
named_app(["upload", "a.csv"])
print(*sys.modules)
"""
# Of other verbs, for terminals, and of a later typer.
_NEEDLESS = {"openmsi.cli.demo", "openmsi.agent", "openmsi.doctor", "rich.console", "pydantic"}


def test_a_command_loads_only_what_it_needs() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LOADED], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = set(done.stdout.split())
    assert "openmsi.send.sender" in loaded
    assert not loaded & _NEEDLESS
