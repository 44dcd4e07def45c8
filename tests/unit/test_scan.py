"""The scan: what is in a directory and not in the ledger, whatever the tree looks like."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmsi.send.files import identity_of
from openmsi.send.filters import Filter
from openmsi.send.ledger import BASELINE, FAILED, IN_FLIGHT, SENT, Entry, split
from openmsi.send.scan import Found, Skipped, Step, Unchanged, scan


def nothing_known(directory: str) -> Mapping[str, Entry]:
    return {}


def run(root: Path, start: str = "", keep: Filter | None = None) -> list[Step]:
    return list(scan(root, start, keep or Filter(), nothing_known))


def found(steps: list[Step]) -> list[str]:
    return [each.native for each in steps if isinstance(each, Found)]


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def entry(root: Path, native: str, state: str) -> Entry:
    return Entry(*split(native), state, *identity_of(os.lstat(root / native)).kept())


names = st.sampled_from(["a", "b", "c d", "-x", "é", "new\nline", "tab\t", "z.csv"])
trees = st.sets(st.lists(names, min_size=1, max_size=4).map(tuple), max_size=25)


@settings(max_examples=40, deadline=None)
@given(trees)
def test_every_file_of_any_tree_is_found_once(
    tmp_path_factory: pytest.TempPathFactory, tree: set[tuple[str, ...]]
) -> None:
    # A file cannot have the name of a directory: a path that begins another one is left out.
    files = {"/".join(each) for each in tree if not any(_begins(each, other) for other in tree)}
    root = tmp_path_factory.mktemp("tree")
    try:
        make(root, *files)
        steps = found(run(root))
        assert sorted(steps) == sorted(files)
    finally:
        shutil.rmtree(root)


def _begins(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    return one != other and other[: len(one)] == one


def test_a_file_is_found_with_its_identity(tmp_path: Path) -> None:
    make(tmp_path, "a")
    (step,) = run(tmp_path)
    assert step == Found("a", identity_of(os.lstat(tmp_path / "a")))


def test_a_scan_may_begin_anywhere(tmp_path: Path) -> None:
    make(tmp_path, "a/b/1", "a/b/c/2", "a/3", "4")
    assert sorted(found(run(tmp_path, "a/b"))) == ["a/b/1", "a/b/c/2"]


def test_what_was_sent_and_is_unchanged_passes(tmp_path: Path) -> None:
    make(tmp_path, "sent", "baseline", "failed", "in flight", "new")
    states = {"sent": SENT, "baseline": BASELINE, "failed": FAILED, "in flight": IN_FLIGHT}
    known = {name: entry(tmp_path, name, state) for name, state in states.items()}
    steps = list(scan(tmp_path, "", Filter(), lambda directory: known))
    assert sorted(found(steps)) == ["failed", "in flight", "new"]
    assert [each.entry.name for each in steps if isinstance(each, Unchanged)] == [
        "baseline",
        "sent",
    ]


@pytest.mark.parametrize("field", ["size", "mtime_ns", "inode"])
def test_any_difference_to_the_ledger_makes_a_file_new(tmp_path: Path, field: str) -> None:
    make(tmp_path, "a")
    known = entry(tmp_path, "a", SENT)
    other = msgspec.structs.replace(known, **{field: getattr(known, field) + 1})
    assert found(list(scan(tmp_path, "", Filter(), lambda directory: {"a": other}))) == ["a"]


def test_links_are_named_and_not_followed(tmp_path: Path) -> None:
    make(tmp_path, "real/file")
    (tmp_path / "link to file").symlink_to(tmp_path / "real/file")
    (tmp_path / "link to directory").symlink_to(tmp_path / "real")
    (tmp_path / "circle").symlink_to(tmp_path)
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    steps = run(tmp_path)
    assert found(steps) == ["real/file"]
    skipped = {each.native: each.reason for each in steps if isinstance(each, Skipped)}
    assert set(skipped) == {"link to file", "link to directory", "circle", "dangling"}
    assert all("symbolic link" in reason for reason in skipped.values())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names on this system")
def test_a_pipe_is_named_and_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert run(tmp_path) == [Skipped("fifo", "it is not a regular file")]


def test_what_is_filtered_out_is_not_even_looked_at(tmp_path: Path) -> None:
    make(tmp_path, ".hidden/x", "x.tmp", "raw/x", "kept")
    (tmp_path / ".link").symlink_to(tmp_path)
    steps = run(tmp_path, keep=Filter(exclude=["raw/"]))
    assert found(steps) == ["kept"]
    assert not any(isinstance(each, Skipped) for each in steps)


def test_a_directory_that_vanishes_during_the_scan_is_passed_over(tmp_path: Path) -> None:
    make(tmp_path, "a/1", "b/2", "c")
    steps = scan(tmp_path, "", Filter(), nothing_known)
    first = next(steps)
    shutil.rmtree(tmp_path / "a")
    shutil.rmtree(tmp_path / "b")
    assert first is None
    assert found(list(steps)) == ["c"]


def test_a_file_that_vanishes_during_the_scan_is_passed_over(tmp_path: Path) -> None:
    make(tmp_path, "a", "b")
    steps = scan(tmp_path, "", Filter(), nothing_known)
    assert isinstance(next(steps), Found)
    (tmp_path / "b").unlink()
    assert list(steps) == [None]


def test_a_root_that_is_gone_has_no_files(tmp_path: Path) -> None:
    assert run(tmp_path / "gone") == []


def test_a_file_that_becomes_a_directory_is_no_disaster(tmp_path: Path) -> None:
    make(tmp_path, "a/x")
    assert [type(each) for each in run(tmp_path, "a/x")] == [Skipped]


def test_a_directory_that_cannot_be_listed_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    make(tmp_path, "closed/1", "open/2")
    (tmp_path / "closed").chmod(0)
    if os.access(tmp_path / "closed", os.R_OK):
        pytest.skip("whoever runs this may read everything")
    try:
        steps = run(tmp_path)
    finally:
        (tmp_path / "closed").chmod(0o700)
    assert found(steps) == ["open/2"]
    (skipped,) = [each for each in steps if isinstance(each, Skipped)]
    assert skipped.native == "closed" and "cannot be listed" in skipped.reason


def test_a_scan_takes_one_step_for_each_entry_so_that_others_get_their_turn(
    tmp_path: Path,
) -> None:
    make(tmp_path, *(f"{number}.tmp" for number in range(50)))
    steps: Iterator[Step] = scan(tmp_path, "", Filter(), nothing_known)
    assert [next(steps) for _ in range(50)] == [None] * 50
    assert list(steps) == []
