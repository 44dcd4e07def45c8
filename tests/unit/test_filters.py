"""Which files are sent: patterns mean what they mean in .gitignore, with git itself as judge."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmsi.errors import UsageError
from openmsi.send.filters import DEFAULT_EXCLUDES, Filter

git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    return root


def ignored_by_git(repository: Path, patterns: list[str], paths: list[str]) -> set[str]:
    (repository / ".gitignore").write_text("\n".join(patterns) + "\n")
    # --no-index: the paths need not exist; core.excludesFile: nothing of the user's own.
    command = ["git", "-c", "core.excludesFile=", "check-ignore", "--no-index", "--stdin", "-z"]
    asked = "\0".join(paths)
    done = subprocess.run(
        command, input=asked, capture_output=True, text=True, cwd=repository, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    return {each for each in done.stdout.split("\0") if each}


names = st.sampled_from(["a", "b", "ab", "a.tmp", "b.csv", ".hidden", "x~", "data", "Thumbs.db"])
paths = st.lists(names, min_size=1, max_size=4).map("/".join)
parts = st.sampled_from(["a", "b", "*", "**", "?", "a*", "*.csv", "*.tmp", "[ab]", "data", ".*"])
patterns = st.builds(
    lambda bang, slash, body, end: f"{bang}{slash}{'/'.join(body)}{end}",
    st.sampled_from(["", "", "!"]),
    st.sampled_from(["", "/"]),
    st.lists(parts, min_size=1, max_size=3),
    st.sampled_from(["", "", "/"]),
).filter(lambda each: not each.endswith("**/"))  # pathspec takes that for files, too


@git
@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(patterns, max_size=4), st.lists(paths, min_size=1, max_size=20, unique=True))
def test_excludes_mean_what_git_means(
    repository: Path, exclude: list[str], asked: list[str]
) -> None:
    ignored = ignored_by_git(repository, [*DEFAULT_EXCLUDES, *exclude], asked)
    keep = Filter(exclude=exclude)
    left_out = {path for path in asked if not keep.takes_all(path)}
    assert left_out <= ignored
    # See the next test for what is taken back below a directory.
    assert left_out == ignored or any(each.startswith("!") for each in exclude)


@git
@pytest.mark.xfail(reason="pathspec lets !.config also take back the directories below it")
def test_taking_a_directory_back_takes_nothing_else_back(repository: Path) -> None:
    exclude = ["!.config"]
    asked = [".config/a", ".config/a.tmp", ".config/.hidden", ".config/.git/x", ".config/y~/x"]
    ignored = ignored_by_git(repository, [*DEFAULT_EXCLUDES, *exclude], asked)
    assert ignored == {*asked[1:]}
    keep = Filter(exclude=exclude)
    assert {path for path in asked if not keep.takes_all(path)} == ignored


@git
@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.lists(patterns, min_size=1, max_size=3),
    st.lists(paths, min_size=1, max_size=20, unique=True),
)
def test_includes_mean_what_git_means(
    repository: Path, include: list[str], asked: list[str]
) -> None:
    matched = ignored_by_git(repository, include, asked)
    keep = Filter(include=include, exclude=["!*"])  # nothing is left out by default
    taken = {path for path in asked if keep.takes_all(path)}
    # An include that is taken back below a directory stays taken back: the later pattern wins.
    assert taken == matched or any(each.startswith("!") for each in include)


@pytest.mark.parametrize(
    "path",
    [
        "catalog.csv",
        "cat.log",
        "data.dat",
        "with space",
        "a/b/c",
        "tmp",
        "temp/x",
        "part.csv",
        "README",
        "a.tmp.csv",
        "~x",
    ],
)
def test_ordinary_names_are_sent(path: str) -> None:
    assert Filter().takes_all(path)


@pytest.mark.parametrize(
    "path",
    [
        ".hidden",
        ".git/config",
        "a/.b/c",
        "x.tmp",
        "a/x.temp",
        "x.part",
        "x.partial",
        "x.crdownload",
        ".x.swp",
        "x.swp",
        "x~",
        "~$report.docx",
        "Thumbs.db",
        "a/desktop.ini",
    ],
)
def test_hidden_and_temporary_names_are_not_sent(path: str) -> None:
    assert not Filter().takes_all(path)


def test_a_default_can_be_taken_back() -> None:
    keep = Filter(exclude=["!*.tmp", "!.config"])
    assert keep.takes_all("x.tmp") and keep.takes_all(".config")
    assert not keep.takes_all(".other")


def test_only_what_is_included_is_sent_and_excludes_win() -> None:
    keep = Filter(include=["*.csv", "scans/"], exclude=["bad*"])
    assert keep.takes_all("a/b.csv") and keep.takes_all("scans/deep/x.dat")
    assert not keep.takes_all("a/b.dat")
    assert not keep.takes_all("bad.csv") and not keep.takes_all("bad directory/x.csv")


@pytest.mark.parametrize("exclude", [[], ["!.*"], ["!*"], ["!.openmsi"], ["!.openmsi/"]])
def test_a_receivers_spool_is_never_sent(exclude: list[str]) -> None:
    assert not Filter(exclude=exclude).takes_all(".openmsi/spool/0123")
    assert not Filter(exclude=exclude).enters("a/.openmsi")


def test_an_excluded_directory_is_not_entered() -> None:
    keep = Filter(exclude=["raw/", "!raw/keep.csv"])
    assert not keep.enters("raw") and not keep.enters("a/raw")
    assert keep.enters("rawer")
    assert not keep.takes_all("raw/keep.csv")  # as with git: its directory is not entered


@pytest.mark.parametrize("pattern", ["!", "/", "//"])
def test_a_pattern_without_meaning_is_an_error_or_matches_nothing(pattern: str) -> None:
    try:
        keep = Filter(exclude=[pattern])
    except UsageError as error:
        assert "gitignore" in error.cure
    else:
        assert keep.takes_all("a.txt")
