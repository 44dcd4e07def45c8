"""Records that are not ours, or not right: each is a dead letter, and the rest goes on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import Foreign, Lab, assert_same_tree, tree

Headers = list[tuple[str, bytes | None]]


@pytest.fixture
def lab(kafka_bootstrap: str, topic_name: str, tmp_path: Path) -> Iterator[Lab]:
    with Lab(kafka_bootstrap, topic_name, tmp_path) as lab:
        lab.create_topic(partitions=1)
        yield lab


def record(
    path: str | bytes,
    data: bytes = b"evil",
    *,
    version: int,
    index: int | str = 0,
    start: int | str = 0,
    size: int | str | None = None,
    total: int | str | None = None,
    chunks: int | str | None = None,
    digest: str | None = None,
    more: tuple[tuple[str, bytes | None], ...] = (),
) -> Foreign:
    """A record of the native format, written by hand; a `size` of None leaves the closing out."""
    key = path.encode() if isinstance(path, str) else path
    headers: Headers = [
        ("openmsi.format", b"1"),
        ("openmsi.version", b"%032x" % version),
        ("openmsi.index", str(index).encode()),
        ("openmsi.start", str(start).encode()),
    ]
    if index == 0:
        headers.append(("openmsi.path", key))
        headers += [("openmsi.size", str(size).encode())] * (size is not None)
    if total is not None:
        headers.append(("openmsi.total-size", str(total).encode()))
        headers.append(("openmsi.chunks", str(1 if chunks is None else chunks).encode()))
        headers.append(("openmsi.digest", (digest or sha256(data)).encode()))
    return Foreign(key, data, [*headers, *more])


def whole(path: str | bytes, data: bytes = b"evil", *, version: int) -> Foreign:
    """A right record of a whole small file, but for its path."""
    return record(path, data, version=version, size=len(data), total=len(data))


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def hostile_paths(outside: Path) -> list[str | bytes]:
    return [
        "../../etc/x",
        "../escaped.txt",
        "a/../../escaped.txt",
        "a/..",
        "..",
        ".",
        "",
        "a//b",
        "a/",
        "/etc/x",
        str(outside / "absolute.txt"),
        "\\\\server\\share\\x",
        "..\\escaped.txt",
        "C:\\Windows\\x",
        "C:/x",
        "c:x",
        "con",
        "NUL.txt",
        "a/com1",
        "LPT9.dat",
        "nul\0x",
        ".openmsi/spool/x",
        ".OpenMSI/x",
        "x" * 256,
        "d/" * 2048 + "too long",
        b"\xff\xfe not UTF-8",
        "decomposed e\u0301",
    ]


def one_record_letters(outside: Path) -> list[tuple[Foreign, str]]:
    """Records that are dead letters by themselves, with the reason of each."""
    none: Headers = []
    letters: list[tuple[Foreign, str]] = [
        (Foreign(value=os.urandom(1000)), "foreign"),
        (Foreign(key=b"a.txt", value=b"no headers", headers=none), "foreign"),
        (Foreign(), "foreign"),
        (Foreign(value=b'{"a": 1}', headers=[("content-type", b"json")]), "foreign"),
        (Foreign(b"a", b"", [("openmsi.format", b"\xff\x00")]), "unknown-format"),
        (Foreign(b"a", b"", [("openmsi.format", b"2")]), "unknown-format"),
        (Foreign(b"a", b"", [("openmsi.format", b"1")]), "bad-header"),
        (Foreign(b"a", b"", [("openmsi.format", None)]), "foreign"),
        (Foreign(None, b"", [("openmsi.format", b"1")]), "bad-path"),
        (record("a", version=1, start="-1"), "bad-header"),
        (record("a", version=2, start="1e3"), "bad-header"),
        (record("a", version=3, size="9" * 19), "bad-size"),
        (record("a", version=4, size="9" * 500), "bad-header"),
        (record("a", version=5, index="9" * 18, start=0), "bad-size"),
        (record("a", version=6, index=3, start=2**62), "bad-size"),
        (record("a", version=7, size=1), "bad-size"),
        (record("a", version=8, size=4, total=5), "bad-size"),
        (record("a", version=9, size=4, total=4, chunks=7), "bad-size"),
        (record("a", version=10, size=4, total=4, digest="md5:00"), "bad-digest"),
        (record("a", version=11, size=4, total=4, digest="blake3:00"), "bad-digest"),
        (record("a", version=12, more=(("openmsi.mtime-ns", b"yesterday"),)), "bad-header"),
        (record("a", version=13, more=(("openmsi.path", b"a"),)), "bad-header"),
        (record("a", version=14, more=(("openmsi.abort", b"\xff"),)), "bad-header"),
        (record("a", version=15, more=(("openmsi.source", b"x" * 5000),)), "bad-header"),
        (record("a", version=16, more=(("openmsi.attr. ", b"x"),)), "bad-header"),
    ]
    return letters + [
        (whole(path, version=100 + number), "bad-path")
        for number, path in enumerate(hostile_paths(outside))
    ]


def file_letters() -> list[tuple[list[Foreign], int, str]]:
    """Files that cannot be rebuilt: records, which of them is told first, and the reason."""
    wrong = sha256(b"something else")
    return [
        ([record("w", b"data", version=50, size=4, total=4, digest=wrong)], 0, "bad-digest"),
        (
            [
                record("g", b"first", version=51, size=15),
                record("g", b"third", version=51, index=2, start=10, total=15, chunks=3),
            ],
            0,
            "gap",
        ),
        (
            [
                record("h", b"first", version=52, size=15),
                record("h", b"third", version=52, index=1, start=10, total=15, chunks=2),
            ],
            0,
            "gap",
        ),
        (
            [record("half", b"second", version=53, index=1, start=6, total=12, chunks=2)],
            0,
            "no-beginning",
        ),
        (
            [
                record("s", b"first", version=54),
                record("s", b"second", version=54, index=1, start=5, total=99, chunks=2),
            ],
            0,
            "bad-size",
        ),
        (
            [
                record("m", b"first", version=55, size=11),
                record("other", b"second", version=55, index=1, start=5, total=11, chunks=2),
            ],
            0,
            "mixed-up",
        ),
        (
            [
                record("beyond", b"first", version=56, size=7),
                record("beyond", b"second", version=56, index=1, start=5),
            ],
            0,
            "bad-size",
        ),
    ]


def send_good(lab: Lab, name: str) -> None:
    (lab.source / name).parent.mkdir(parents=True, exist_ok=True)
    (lab.source / name).write_bytes(os.urandom(3000))
    assert name in lab.upload(lab.source, "--chunk-size", "1024").wait().paths("sent")


def everything_but(root: Path, *left_out: str) -> dict[str, int]:
    return {name: at for name, at in tree(root).items() if not name.startswith(left_out)}


def test_every_hostile_record_is_a_dead_letter_and_the_good_files_arrive(
    lab: Lab, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    send_good(lab, "before.bin")
    letters = one_record_letters(outside)
    half = len(letters) // 2
    offsets = lab.produce([each for each, _ in letters[:half]])
    send_good(lab, "between.bin")
    offsets += lab.produce([each for each, _ in letters[half:]])
    send_good(lab, "after.bin")
    before = everything_but(tmp_path, "target", "state")

    receiver = lab.download_to_end(code=3)

    told = {each["first_offset"]: each["reason"] for each in receiver.events("dead-letter")}
    expected = {at: reason for at, (_, reason) in zip(offsets, letters, strict=True)}
    assert told == expected
    assert all(each["detail"] for each in receiver.events("dead-letter"))
    assert receiver.paths("rebuilt") == ["after.bin", "before.bin", "between.bin"]
    assert receiver.events("summary")[0]["dead_letters"] == len(letters)
    assert_same_tree(lab.source, lab.target)
    assert everything_but(tmp_path, "target", "state") == before
    assert list(outside.iterdir()) == []


def test_every_broken_file_is_a_dead_letter_and_the_good_files_arrive(lab: Lab) -> None:
    send_good(lab, "before.bin")
    expected = {}
    for records, first, reason in file_letters():
        offsets = lab.produce(records)
        expected[offsets[first]] = reason
    send_good(lab, "after.bin")

    receiver = lab.download_to_end(code=3)

    told = {each["first_offset"]: each["reason"] for each in receiver.events("dead-letter")}
    assert told == expected
    assert receiver.paths("rebuilt") == ["after.bin", "before.bin"]
    assert_same_tree(lab.source, lab.target)


def test_records_of_broken_files_may_lie_among_those_of_good_ones(lab: Lab) -> None:
    def parts(path: str, version: int) -> list[Foreign]:
        data = os.urandom(30)
        cut = [data[:10], data[10:20], data[20:]]
        last = {"total": 30, "chunks": 3, "digest": sha256(data)}
        return [
            record(path, cut[0], version=version, size=30),
            record(path, cut[1], version=version, index=1, start=10),
            record(path, cut[2], version=version, index=2, start=20, **last),  # type: ignore[arg-type]
        ]

    good, bad = parts("good", 1), parts("bad", 2)
    # The bad one loses its middle; the good one has each record twice.
    lab.produce([good[0], bad[0], good[0], good[1], bad[2], good[1], good[2], good[2]])
    receiver = lab.download_to_end(code=3)
    assert receiver.paths("rebuilt") == ["good"]
    (letter,) = receiver.events("dead-letter")
    assert (letter["reason"], letter["path"]) == ("gap", "bad")
    assert (letter["first_offset"], letter["last_offset"]) == (1, 4)
    content = b"".join(each.value or b"" for each in good)
    assert (lab.target / "good").read_bytes() == content
    assert sorted(tree(lab.target)) == ["good"]


def test_what_is_in_the_way_at_the_destination_stays_and_is_named(lab: Lab, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("precious")
    lab.target.mkdir()
    (lab.target / "link").symlink_to(outside)
    (lab.target / "linked file").symlink_to(outside / "precious")
    send_good(lab, "taken/inner.bin")
    send_good(lab, "plain.bin")
    offsets = lab.produce(
        [
            whole("taken", version=1),
            whole("plain.bin/inner", version=2),
            whole("link/x", version=3),
            whole("link/precious", version=4),
            whole("link", b"a file replaces a link", version=5),
            whole("linked file", b"a file replaces a link", version=6),
        ]
    )
    send_good(lab, "after.bin")

    receiver = lab.download_to_end(code=3)

    told = {each["first_offset"]: each for each in receiver.events("dead-letter")}
    assert {at: each["reason"] for at, each in told.items()} == dict.fromkeys(
        offsets[:4], "in-the-way"
    )
    assert "directory" in told[offsets[0]]["detail"]
    assert "file" in told[offsets[1]]["detail"]
    assert "symbolic link" in told[offsets[2]]["detail"]
    for name in ("taken/inner.bin", "plain.bin", "after.bin"):
        assert (lab.target / name).read_bytes() == (lab.source / name).read_bytes()
    for name in ("link", "linked file"):
        assert (lab.target / name).read_bytes() == b"a file replaces a link"
        assert not (lab.target / name).is_symlink()
    assert [each.name for each in outside.iterdir()] == ["precious"]
    assert (outside / "precious").read_text() == "precious"


def test_a_file_that_is_not_complete_yet_is_named_and_arrives_when_it_is(lab: Lab) -> None:
    data = b"first second"
    last = {"total": 12, "chunks": 2, "digest": sha256(data)}
    lab.produce([record("slow.txt", data[:6], version=1, size=12)])
    receiver = lab.download_to_end(code=3)
    assert receiver.events("summary")[0]["incomplete"] == 1
    assert any("slow.txt" in each["text"] for each in receiver.events("notice"))
    assert tree(lab.target) == {}
    lab.produce([record("slow.txt", data[6:], version=1, index=1, start=6, **last)])  # type: ignore[arg-type]
    assert lab.download_to_end().paths("rebuilt") == ["slow.txt"]
    assert (lab.target / "slow.txt").read_bytes() == data
    assert os.listdir(lab.target) == ["slow.txt"]


def test_dead_letters_are_told_once_and_do_not_stop_a_receiver_that_runs(lab: Lab) -> None:
    receiver = lab.download()
    receiver.until("started")
    lab.produce([Foreign(value=b"garbage"), whole("../x", version=1)])
    send_good(lab, "a.bin")
    receiver.until("rebuilt", path="a.bin")
    assert len(receiver.events("dead-letter")) == 2
    receiver.stop()
    lab.produce([whole("good.txt", version=2)])
    again = lab.download_to_end()
    assert again.paths("rebuilt") == ["good.txt"]
    assert again.events("dead-letter") == []
