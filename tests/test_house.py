"""The house rules that a program can check: style, types, imports, and the heart's coverage."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
LINT_IMPORTS = "import importlinter.cli; importlinter.cli.lint_imports_command()"

# Tests that use neither network nor disk, and what they alone must cover.
PURE_TESTS = ["commit", "digests", "native", "paths", "legacy*", "transfer", "assembly", "spread"]
HEART = [
    "src/openmsi/protocol/*",
    "src/openmsi/send/transfer.py",
    "src/openmsi/receive/assembly.py",
    "src/openmsi/receive/progress.py",
]


def run(*arguments: str, **environment: str) -> None:
    """Run Python with these arguments at the root; all that it says is shown if it fails."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_ruff_finds_nothing() -> None:
    run("-m", "ruff", "check")


def test_every_file_is_formatted() -> None:
    run("-m", "ruff", "format", "--check")


def test_every_type_is_right() -> None:
    run("-m", "mypy")


def test_imports_go_one_way() -> None:
    run("-c", LINT_IMPORTS)


def test_every_branch_of_the_heart_is_taken_by_tests_without_network_or_disk(
    tmp_path: Path,
) -> None:
    files = [each for name in PURE_TESTS for each in ROOT.glob(f"tests/unit/test_{name}.py")]
    assert len(files) >= len(PURE_TESTS) - 1
    data = {"COVERAGE_FILE": str(tmp_path / "coverage")}
    measure = ["-m", "coverage", "run", "--branch", "--source=openmsi", "-m", "pytest", "-q"]
    run(*measure, "-p", "no:cacheprovider", *map(str, files), **data)
    run(
        "-m", "coverage", "report", "-m", f"--include={','.join(HEART)}", "--fail-under=100", **data
    )


def test_continuous_integration_runs_what_the_readme_says() -> None:
    command = 'pip install -e ".[dev]" && pytest'
    assert f"\n{command}\n" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert f" {command};" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
