"""docs/reference.md is what docs/generate.py makes of the code as it is."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from openmsi.broker import default_data_dir
from openmsi.cli import make_app
from openmsi.errors import OpenMSIError
from openmsi.state import default_state_dir

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def generate(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(DOCS)
    return importlib.import_module("generate")


def test_the_page_is_up_to_date(generate: ModuleType) -> None:
    committed = (DOCS / "reference.md").read_text(encoding="utf-8")
    assert generate.reference() == committed, "run: python docs/generate.py"


def test_a_field_that_nobody_describes_is_an_error(
    generate: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(generate.FIELDS, "mtime_equal")
    with pytest.raises(generate.Undocumented, match=r"Outcome\.mtime_equal"):
        generate.reference()


def test_a_field_that_is_gone_is_an_error(
    generate: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(generate.FIELDS, "former", "What was there.")
    with pytest.raises(generate.Undocumented, match="former"):
        generate.reference()


@pytest.mark.parametrize("table", ["REASONS", "JSON_OBJECTS"])
def test_a_name_that_nobody_describes_is_an_error(
    generate: ModuleType, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    texts = getattr(generate, table)
    name = next(iter(texts))
    monkeypatch.delitem(texts, name)
    with pytest.raises(generate.Undocumented, match=name):
        generate.reference()


def test_help_names_every_exit_code(generate: ModuleType) -> None:
    codes = {error.exit_code for error in generate._all_errors(OpenMSIError)} | {0, 130}
    epilog = make_app().info.epilog
    assert isinstance(epilog, str)
    assert {int(each) for each in re.findall(r"\b\d+\b", epilog)} == codes


@pytest.mark.skipif(sys.platform != "linux", reason="the column for Linux is compared")
def test_directories_are_those_of_the_table(
    generate: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    for directory in (default_state_dir(), default_data_dir()):
        shown = str(directory).replace("/home/me", "~")
        assert f"| `{shown}` |" in generate.DIRECTORIES
